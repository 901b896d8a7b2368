"""SQL of what further reader roles read: a partition of consent.projection per role and purpose, and its readers.

Marketers read consent.permitted itself. The tables of the other roles follow it in the acting transaction, with random ids
of their own, so that two roles have no key in common.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from psycopg import sql

from cdp.consent.store.projection import ROLE_PREFIX, end_reading, let_read
from cdp.kit.db import Transaction

_FOLLOWS: Final = "follow_verdicts"


def table_of(role: str, purpose: str) -> str:
    """The name of the table that a role reads for a purpose, in the schema `consent`."""
    return f"projection_{role}_{purpose}"


def prepare_roles(tx: Transaction, readable: Mapping[str, Collection[str]]) -> None:
    """Make the tables of the further reader roles exactly those of `readable`, by role; safe to repeat.

    A new table is filled with everybody who is permitted, in random order; one that the policy no longer names is
    dropped with its ids. The caller holds the exclusive lock.
    """
    wanted = {(role, purpose) for role, purposes in readable.items() for purpose in purposes}
    current = set(tx.execute("SELECT role, purpose FROM consent.reader_purpose"))
    for role, purpose in sorted(current - wanted):
        _drop(tx, role, purpose)
    for role in sorted({role for role, _ in current} - set(readable)):
        tx.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier("consent", f"projection_{role}")))
        end_reading(tx, ROLE_PREFIX + role)
    if wanted and not current:
        tx.execute(
            sql.SQL(
                "CREATE TRIGGER {} AFTER INSERT OR UPDATE OR DELETE ON consent.permitted "
                "FOR EACH ROW EXECUTE FUNCTION consent.follow_verdicts()"
            ).format(sql.Identifier(_FOLLOWS))
        )
    for role, purpose in sorted(wanted - current):
        _add(tx, role, purpose)
    if current and not wanted:
        tx.execute(sql.SQL("DROP TRIGGER {} ON consent.permitted").format(sql.Identifier(_FOLLOWS)))
    for role, purposes in readable.items():
        _create_role(tx, ROLE_PREFIX + role)
        let_read(tx, ROLE_PREFIX + role, [table_of(role, purpose) for purpose in purposes])


def pseudonyms_of(tx: Transaction, role: str, purpose: str, *, profile_ids: Sequence[int]) -> list[str]:
    """The ids under which a further role knows these profiles for a purpose, sorted; others are skipped."""
    rows = tx.execute(
        """
        SELECT reader_pseudonym FROM consent.projection
        WHERE role = %(role)s AND purpose = %(purpose)s AND profile_id = ANY(%(ids)s::bigint[])
        ORDER BY reader_pseudonym
        """,
        {"role": role, "purpose": purpose, "ids": list(profile_ids)},
    )
    return [pseudonym for (pseudonym,) in rows]


def _add(tx: Transaction, role: str, purpose: str) -> None:
    parent, table = sql.Identifier("consent", f"projection_{role}"), sql.Identifier("consent", table_of(role, purpose))
    tx.execute(
        sql.SQL(
            "CREATE TABLE IF NOT EXISTS {} PARTITION OF consent.projection FOR VALUES IN ({}) PARTITION BY LIST (purpose)"
        ).format(parent, sql.Literal(role))
    )
    tx.execute(
        sql.SQL("CREATE TABLE {} PARTITION OF {} FOR VALUES IN ({})").format(table, parent, sql.Literal(purpose))
    )
    # An id in pg_statistic would outlast its row; partitions do not inherit this setting.
    tx.execute(sql.SQL("ALTER TABLE {} ALTER COLUMN reader_pseudonym SET STATISTICS 0").format(table))
    tx.execute(
        "INSERT INTO consent.reader_purpose (role, purpose) VALUES (%(role)s, %(purpose)s)",
        {"role": role, "purpose": purpose},
    )
    tx.execute(
        """
        INSERT INTO consent.projection (profile_id, role, purpose, until, since_on, until_on, traits)
        SELECT profile_id, %(role)s, purpose, until, since_on, until_on, traits
        FROM consent.permitted
        WHERE purpose = %(purpose)s
        ORDER BY random()
        """,
        {"role": role, "purpose": purpose},
    )


def _drop(tx: Transaction, role: str, purpose: str) -> None:
    tx.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier("consent", table_of(role, purpose))))
    tx.execute(
        "DELETE FROM consent.reader_purpose WHERE role = %(role)s AND purpose = %(purpose)s",
        {"role": role, "purpose": purpose},
    )


def _create_role(tx: Transaction, name: str) -> None:
    """Create the database role unless it exists; where this role may not, an administrator has to."""
    tx.execute(
        sql.SQL(
            """
            DO $do$
            BEGIN
                IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {name}) THEN
                    CREATE ROLE {role} NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE;
                END IF;
            EXCEPTION
                WHEN insufficient_privilege THEN
                    RAISE NOTICE 'role {role} was not created: ask an administrator to create it (NOLOGIN)';
                WHEN unique_violation OR duplicate_object THEN
                    NULL;
            END
            $do$
            """
        ).format(name=sql.Literal(name), role=sql.Identifier(name))
    )
