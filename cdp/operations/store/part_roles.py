"""SQL of the database roles of the parts: made by the owner where it may, marked, and recorded."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from psycopg import errors, sql
from sqlalchemy.exc import DBAPIError

from cdp.kit.db import Transaction

_RESERVED: Final = "pg_use_reserved_connections"


class FoundRole(NamedTuple):
    """A role of the server: whether it may log in, whether it may more than a part, and what is written about it."""

    can_login: bool
    is_elevated: bool
    comment: str | None


def database_and_owner(tx: Transaction) -> tuple[str, str]:
    """The name of this database, and of the role of this connection."""
    ((database, owner),) = tx.execute("SELECT current_database()::text, current_user::text")
    return database, owner


def lock_part_roles(tx: Transaction) -> None:
    """Let one process at a time create roles and grant them anything."""
    tx.execute("LOCK TABLE operations.part_role IN EXCLUSIVE MODE")


def recorded_roles(tx: Transaction) -> dict[str, str]:
    """By part, the role that was recorded."""
    return dict(tx.execute("SELECT part, role_name FROM operations.part_role"))


def record_roles(tx: Transaction, roles: Mapping[str, str]) -> None:
    """Record the roles of the parts, in place of earlier ones."""
    tx.execute("DELETE FROM operations.part_role")
    tx.execute(
        """
        INSERT INTO operations.part_role (part, role_name)
        SELECT part, role_name FROM unnest(%(parts)s::text[], %(roles)s::text[]) AS listed (part, role_name)
        """,
        {"parts": list(roles), "roles": list(roles.values())},
    )


def find_role(tx: Transaction, name: str) -> FoundRole | None:
    """A role of the server, None if there is none; one that is a member of others may more than a part."""
    rows = tx.execute(
        """
        SELECT r.rolcanlogin,
               r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls OR EXISTS (
                   SELECT FROM pg_auth_members AS m JOIN pg_roles AS g ON g.oid = m.roleid
                   WHERE m.member = r.oid AND g.rolname <> %(reserved)s
               ),
               shobj_description(r.oid, 'pg_authid')
        FROM pg_roles AS r
        WHERE r.rolname = %(name)s
        """,
        {"name": name, "reserved": _RESERVED},
    )
    return next((FoundRole(*row) for row in rows), None)


def may_create_roles(tx: Transaction) -> bool:
    """Whether this role may create others."""
    ((may,),) = tx.execute("SELECT rolcreaterole OR rolsuper FROM pg_roles WHERE rolname = current_user")
    return bool(may)


def make_role(tx: Transaction, name: str, password: str, *, comment: str) -> bool:
    """Create the role of a part, or give the one that there is this password; False where this role may not.

    Only a verifier of the password is sent, so that no log of the server has it.
    """
    return _try(tx, *_making(tx, name, password, comment=comment))


def statements_for(tx: Transaction, name: str, password: str, *, comment: str) -> list[str]:
    """What an administrator runs to make the role of a part where this role may not."""
    database, _ = database_and_owner(tx)
    connect = sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(database), sql.Identifier(name))
    return [f"{made.as_string(tx.raw)};" for made in (*_making(tx, name, password, comment=comment), connect)]


def admit(tx: Transaction, name: str) -> None:
    """Let a part connect, also when readers have taken all other connections, and let the owner see its sessions.

    Each as far as this role may; what it may not, an administrator does.
    """
    role = sql.Identifier(name)
    ((database, may_connect, may_reserve, is_seen),) = tx.execute(
        """
        SELECT current_database()::text, has_database_privilege(%(name)s, current_database(), 'CONNECT'),
               NOT EXISTS (SELECT FROM pg_roles WHERE rolname = %(reserved)s) OR EXISTS (
                   SELECT FROM pg_auth_members AS m
                   WHERE m.roleid = to_regrole(%(reserved)s) AND m.member = to_regrole(quote_ident(%(name)s))
               ),
               pg_has_role(current_user, %(name)s, 'USAGE')
        """,
        {"name": name, "reserved": _RESERVED},
    )
    if not may_connect:
        _try(tx, sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(database), role))
    if not may_reserve:
        _try(tx, sql.SQL("GRANT {} TO {}").format(sql.Identifier(_RESERVED), role))
    if not is_seen:
        _try(tx, sql.SQL("GRANT {} TO CURRENT_USER").format(role))


def _making(tx: Transaction, name: str, password: str, *, comment: str) -> list[sql.Composed]:
    role = sql.Identifier(name)
    verb = sql.SQL("CREATE") if find_role(tx, name) is None else sql.SQL("ALTER")
    verifier = tx.raw.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
    return [
        sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(verb, role, sql.Literal(verifier)),
        sql.SQL("COMMENT ON ROLE {} IS {}").format(role, sql.Literal(comment)),
    ]


def _try(tx: Transaction, *statements: sql.Composed) -> bool:
    """Run statements that this role may lack the rights for; False, and none of them done, if it does."""
    try:
        with tx.savepoint():
            for statement in statements:
                tx.execute(statement)
    except (errors.InsufficientPrivilege, DBAPIError) as error:
        if isinstance(error, errors.InsufficientPrivilege) or isinstance(error.orig, errors.InsufficientPrivilege):
            return False
        raise
    return True
