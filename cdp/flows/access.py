"""The journeys of access: sources that may send, and tokens of the people who work with the store. Each act is logged.

A write key or a token is given out once and kept only as a hash.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cdp.access import store
from cdp.access.keys import hash_secret, new_token, new_write_key
from cdp.access.model import Role, Source, SourceId, SourceKind
from cdp.access.records import SourceEntry, Token, TokenId
from cdp.access.store_accounting import accounting, notices
from cdp.audit import store as audit_store
from cdp.flows.house import House
from cdp.kit.errors import Fault
from cdp.policy.jurisdictions import UNKNOWN

INGEST: Final = "ingest"
CONSENT: Final = "consent"
SCOPES: Final = (INGEST, CONSENT)
REQUEST_BYTES_DEFAULT: Final = 500 * 1024
REQUEST_BYTES_MAX: Final = 4 * 1024 * 1024
NAME_MAX: Final = 100
FIRST_ADMIN: Final = "first start"


@dataclass(frozen=True, slots=True)
class NewSource:
    """A source with the write key that is shown this once."""

    entry: SourceEntry
    write_key: str


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token with the secret that is shown this once."""

    token: Token
    secret: str


@dataclass(frozen=True, slots=True)
class Count:
    """How many messages of a source ended in a state, for a reason, in an hour."""

    source: str
    hour: datetime
    state: str
    reason: str
    messages: int


@dataclass(frozen=True, slots=True)
class Oddity:
    """How often something odd was seen in messages of a source in an hour; `subject` is a name from policy or `other`."""

    source: str
    hour: datetime
    kind: str
    subject: str
    messages: int


@dataclass(frozen=True, slots=True)
class Accounting:
    """What became of every message of a period: `received` is the sum of all states."""

    received: int
    by_state: dict[str, int]
    counts: tuple[Count, ...]
    oddities: tuple[Oddity, ...]


def create_source(
    house: House,
    name: str,
    *,
    kind: SourceKind = SourceKind.BROWSER,
    jurisdiction: str = UNKNOWN,
    scopes: Collection[str] = (INGEST,),
    request_bytes_max: int = REQUEST_BYTES_DEFAULT,
    actor: str = "operator",
) -> NewSource:
    """Create a source. Faults: `invalid_name`, `unknown_scope`, `unknown_jurisdiction`, `source_exists` (409)."""
    _check_name(name)
    if not scopes or set(scopes) - set(SCOPES):
        raise Fault("unknown_scope", "There is no such scope", f"Give one or more of {', '.join(SCOPES)}.", status=422)
    if jurisdiction not in house.policy.jurisdictions.jurisdictions and jurisdiction != UNKNOWN:
        known = ", ".join([*house.policy.jurisdictions.jurisdictions, UNKNOWN])
        raise Fault(
            "unknown_jurisdiction", "There is no such jurisdiction", f"The policy declares {known}.", status=422
        )
    now = house.clock.now()
    write_key = new_write_key()
    draft = Source(SourceId(0), name, kind, frozenset(scopes), jurisdiction, request_bytes_max)
    with house.database.transaction() as tx:
        source = store.add_source(tx, draft, hash_secret(write_key), now)
        if source is None:
            raise Fault("source_exists", "That name is taken", "Another source has this name: choose one.", status=409)
        fact = {"kind": "source.created", "actor": actor, "source": int(source.source_id)}
        audit_store.append(tx, fact, now)
    return NewSource(SourceEntry(source, now, None), write_key)


def list_sources(house: House) -> list[SourceEntry]:
    """Every source, disabled ones included, by name."""
    with house.database.transaction(read_only=True) as tx:
        return store.sources(tx)


def replace_write_key(house: House, name: str, *, actor: str = "operator") -> str:
    """Give a source another write key and return it; the old one stops. Raises the fault `unknown_source` (404)."""
    now = house.clock.now()
    write_key = new_write_key()
    with house.database.transaction() as tx:
        source = store.source_named(tx, name)
        if source is None or not store.replace_write_key(tx, source.source_id, hash_secret(write_key)):
            raise unknown_source()
        fact = {"kind": "source.key_replaced", "actor": actor, "source": int(source.source_id)}
        audit_store.append(tx, fact, now)
    return write_key


def disable_source(house: House, name: str, *, actor: str = "operator") -> None:
    """Stop the write key of a source. Raises the fault `unknown_source` (404)."""
    now = house.clock.now()
    with house.database.transaction() as tx:
        source = store.source_named(tx, name)
        if source is None or not store.disable_source(tx, source.source_id, now):
            raise unknown_source()
        fact = {"kind": "source.disabled", "actor": actor, "source": int(source.source_id)}
        audit_store.append(tx, fact, now)


def create_token(house: House, name: str, role: Role, *, actor: str = "operator") -> NewToken:
    """Create a bearer token for one person. Raises the fault `invalid_name`."""
    _check_name(name)
    now = house.clock.now()
    secret = new_token()
    with house.database.transaction() as tx:
        token = store.add_token(tx, name, role, hash_secret(secret), now)
        audit_store.append(
            tx, {"kind": "token.created", "actor": actor, "token": int(token.token_id), "role": role.value}, now
        )
    return NewToken(token, secret)


def list_tokens(house: House) -> list[Token]:
    """Every token, revoked ones included, oldest first; never a secret."""
    with house.database.transaction(read_only=True) as tx:
        return store.tokens(tx)


def revoke_token(house: House, token_id: int, *, actor: str = "operator") -> None:
    """Stop a token. Raises the fault `unknown_token` (404)."""
    now = house.clock.now()
    with house.database.transaction() as tx:
        if not store.revoke_token(tx, TokenId(token_id), now):
            raise Fault("unknown_token", "There is no such token", "No working token has this number.", status=404)
        audit_store.append(tx, {"kind": "token.revoked", "actor": actor, "token": token_id}, now)


def find_token(house: House, secret: str) -> Token | None:
    """The working token with this secret."""
    with house.database.transaction(read_only=True) as tx:
        return store.token_of(tx, hash_secret(secret))


def has_admin(house: House) -> bool:
    """Whether any working token is an administrator's."""
    return any(each.role is Role.ADMIN and each.revoked_at is None for each in list_tokens(house))


def count_messages(
    house: House, since: datetime, until: datetime, source: str | None = None, *, actor: str
) -> Accounting:
    """What became of the messages received in the hours that begin in [since, until). Raises `unknown_source` (404)."""
    with house.database.transaction() as tx:
        names = {each.source.source_id: each.source.name for each in store.sources(tx)}
        wanted = None if source is None else [each for each, name in names.items() if name == source]
        if wanted == []:
            raise unknown_source()
        found = accounting(tx, since, until, wanted)
        odd = notices(tx, since, until, wanted)
        read: dict[str, Any] = {"kind": "data.read", "actor": actor, "read": "accounting", "count": len(found)}
        audit_store.append(tx, read, house.clock.now())
    by_state: dict[str, int] = {}
    for each in found:
        by_state[each.state.value] = by_state.get(each.state.value, 0) + each.messages
    return Accounting(
        received=sum(by_state.values()),
        by_state=by_state,
        counts=tuple(
            Count(names.get(each.source_id, "?"), each.hour, each.state.value, each.reason, each.messages)
            for each in found
        ),
        oddities=tuple(
            Oddity(names.get(each.source_id, "?"), each.hour, each.kind.value, each.subject, each.messages)
            for each in odd
        ),
    )


def unknown_source() -> Fault:
    """Nobody sends under this name."""
    return Fault("unknown_source", "There is no such source", "`cdp source list` shows all.", status=404)


def _check_name(name: str) -> None:
    if not name.strip() or len(name) > NAME_MAX or not name.isprintable():
        raise Fault(
            "invalid_name",
            "That is no name",
            f"A name has 1 to {NAME_MAX} printable characters, such as web-shop.",
            status=422,
        )
