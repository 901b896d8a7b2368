"""Use case of the parts: each is given a login of its own with the rights of `cdp.schema.database_roles`, where the server lets it.

A role that a session took with SET ROLE could be left with RESET ROLE, so a part logs in. Its password is derived from that of
the owner: every process that has the one has the other, and none is stored.
"""

import hmac
import logging
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from cdp.kit.db import APPLICATION, Database, Transaction
from cdp.kit.errors import Fault
from cdp.operations.readiness import CheckState, ReadinessCheck, ReadinessFinding, failed
from cdp.operations.store import part_roles as role_store
from cdp.schema import part_grants
from cdp.schema.database_roles import DatabaseRole

_NAME_BYTES_MAX: Final = 63
_MARKS: Final = ("cdp: part of the database ", "cdp: made for a restore of the database ")
_log = logging.getLogger(__name__)


class LoginGap(StrEnum):
    """Why a part has no login of its own, and uses that of the owner."""

    NO_PASSWORD = "no_password"  # noqa: S105 - a reason
    ROLE_MISSING = "role_missing"
    ROLE_FOREIGN = "role_foreign"
    ROLE_ELEVATED = "role_elevated"
    LOGIN_REFUSED = "login_refused"


_MEANINGS: Final[Mapping[LoginGap, str]] = {
    LoginGap.NO_PASSWORD: "the URL of the database has no password of the owner, from which those of the parts are derived",
    LoginGap.ROLE_MISSING: "its role does not exist, and the owner may not create roles (CREATEROLE)",
    LoginGap.ROLE_FOREIGN: "a role of that name exists that was made for something else (its comment does not name this part)",
    LoginGap.ROLE_ELEVATED: "its role is a superuser, may create roles or databases, or is a member of other roles",
    LoginGap.LOGIN_REFUSED: "the server does not let its role log in, and the owner may not set its password",
}


@dataclass(frozen=True, slots=True)
class PartLogins:
    """The URLs of the parts that have a login of their own, and why the others have none."""

    urls: Mapping[DatabaseRole, str]
    gaps: Mapping[DatabaseRole, LoginGap]


def open_logins(owner: Database) -> PartLogins:
    """Make the roles and rights of the parts what they should be, and log in with each once; repeated, it changes nothing.

    A part that cannot have a login uses that of the owner, which is logged as `login_not_separate`. Raises the faults of the
    database.
    """
    password = _password_in(owner.url)
    urls: dict[DatabaseRole, str] = {}
    if password is None:
        gaps = dict.fromkeys(DatabaseRole, LoginGap.NO_PASSWORD)
    else:
        with owner.transaction() as tx:
            role_store.lock_part_roles(tx)
            roles = _roles_of(tx)
            gaps = _prepare(tx, roles, password)
        for part in [part for part in DatabaseRole if part not in gaps]:
            url = _url_as(owner.url, roles[part], _derived(password, roles[part]))
            if _may_log_in(url) or _renew_password(owner, roles[part], password, url=url):
                urls[part] = url
            else:
                gaps[part] = LoginGap.LOGIN_REFUSED
    for part, gap in gaps.items():
        _log.warning("login_not_separate", extra={"part": part.value, "reason": gap.value})
    return PartLogins(urls, gaps)


def judge_logins(owner: Database) -> ReadinessFinding:
    """The finding about the parts; changes nothing. A role that the next start of a service makes is not missing."""
    password = _password_in(owner.url)
    if password is None:
        return _finding(dict.fromkeys(DatabaseRole, LoginGap.NO_PASSWORD), [])
    gaps: dict[DatabaseRole, LoginGap] = {}
    statements: list[str] = []
    with owner.transaction(read_only=True) as tx:
        may_create = role_store.may_create_roles(tx)
        database, _ = role_store.database_and_owner(tx)
        roles = _roles_of(tx)
        recorded = role_store.recorded_roles(tx)
        for part, role in roles.items():
            found = role_store.find_role(tx, role)
            gap = _gap_of(found, role, database)
            if found is None and may_create:
                continue
            if gap is None and recorded.get(part) == role:
                is_usable = _may_log_in(_url_as(owner.url, role, _derived(password, role)))
                gap = None if is_usable or may_create else LoginGap.LOGIN_REFUSED
            if gap is not None:
                gaps[part] = gap
                derived = _derived(password, role)
                statements += role_store.statements_for(tx, role, derived, comment=f"{_MARKS[0]}{database}")
    return _finding(gaps, statements)


def role_name(database: str, part: DatabaseRole) -> str:
    """The name of the role of a part: roles belong to a server, on which the name of a database is unique."""
    name = f"{database}_{part.value}"
    if len(name.encode()) <= _NAME_BYTES_MAX:
        return name
    return f"cdp_{sha256(database.encode()).hexdigest()[:16]}_{part.value}"


def _roles_of(tx: Transaction) -> dict[DatabaseRole, str]:
    database, _ = role_store.database_and_owner(tx)
    return {part: role_name(database, part) for part in DatabaseRole}


def _prepare(tx: Transaction, roles: Mapping[DatabaseRole, str], password: str) -> dict[DatabaseRole, LoginGap]:
    """Create roles that are missing, and give all of them exactly their rights; those of a copied database lose theirs."""
    gaps: dict[DatabaseRole, LoginGap] = {}
    database, _ = role_store.database_and_owner(tx)
    for part, role in roles.items():
        found = role_store.find_role(tx, role)
        gap = _gap_of(found, role, database)
        if found is None or (gap is None and not found.can_login):
            is_made = role_store.make_role(tx, role, _derived(password, role), comment=f"{_MARKS[0]}{database}")
            gap = None if is_made else LoginGap.ROLE_MISSING
        if gap is not None:
            gaps[part] = gap
            continue
        role_store.admit(tx, role)
        part_grants.grant(tx, part, role)
    recorded = role_store.recorded_roles(tx)
    usable = {part.value: role for part, role in roles.items() if part not in gaps}
    for role in sorted(set(recorded.values()) - set(usable.values())):
        part_grants.revoke_all(tx, role)
    if recorded != usable:
        role_store.record_roles(tx, usable)
    return gaps


def _gap_of(found: role_store.FoundRole | None, role: str, database: str) -> LoginGap | None:
    """Why a role cannot be that of a part. One without our mark may be somebody's, and is left as it is."""
    if found is None:
        return LoginGap.ROLE_MISSING
    if found.comment not in [f"{mark}{database}" for mark in _MARKS] and found.comment != f"{_MARKS[1]}{role}":
        return LoginGap.ROLE_FOREIGN
    return LoginGap.ROLE_ELEVATED if found.is_elevated else None


def _renew_password(owner: Database, role: str, password: str, *, url: str) -> bool:
    """Set the password of a role to the one that follows from the owner's, which was changed; whether it then logs in."""
    with owner.transaction() as tx:
        role_store.lock_part_roles(tx)
        database, _ = role_store.database_and_owner(tx)
        is_set = role_store.make_role(tx, role, _derived(password, role), comment=f"{_MARKS[0]}{database}")
    return is_set and _may_log_in(url)


def _may_log_in(url: str) -> bool:
    with closing(Database(url, pool_size=1, application_name=f"{APPLICATION}-start")) as database:
        try:
            with database.transaction(read_only=True) as tx:
                role_store.database_and_owner(tx)
        except Fault as fault:
            if fault.code != "database_refused":
                raise
            return False
    return True


def _password_in(url: str) -> str | None:
    login, _, password = urlsplit(url).netloc.rpartition("@")[0].partition(":")
    return unquote(password) if login and password else None


def _derived(password: str, role: str) -> str:
    """The password of a role: anyone who has that of the owner can derive it, and not the other way round."""
    return hmac.new(password.encode(), f"cdp part {role}".encode(), sha256).hexdigest()


def _url_as(url: str, role: str, password: str) -> str:
    """The URL with another user and password."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    login = f"{quote(role, safe='')}:{password}@"
    return url.replace(f"//{parts.netloc}", f"//{login}{host}", 1)


def _finding(gaps: Mapping[DatabaseRole, LoginGap], statements: list[str]) -> ReadinessFinding:
    if not gaps:
        return ReadinessFinding(ReadinessCheck.LOGINS, CheckState.OK)
    listed = "; ".join(f"{part.value}: {_MEANINGS[gap]}" for part, gap in gaps.items())
    remedy = (
        "As an administrator of the server, run these statements in its database, then restart the services:\n"
        + "\n".join(statements)
        if statements
        else "Put the password into CDP_DATABASE_URL."
    )
    return failed(
        ReadinessCheck.LOGINS,
        f"These parts of the service use the login of the owner, so that PostgreSQL does not limit what they may do ({listed}). {remedy}",
        "login_not_separate",
    )
