"""SQL of the projections: one partition of consent.permitted per purpose, and the read access to it.

A marketer's database role reads a partition directly, but only the columns with the pseudonym, the days on which the
permission began and ends, and the traits. The partition contains no profiles without permission.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Final

from psycopg import sql

from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.schema.consent import projection_of
from cdp.schema.part_grants import grant_partition

MARKETER: Final = "cdp_marketer"
"""The database role of marketers, which reads projections; an administrator grants it to logins."""
ROLE_PREFIX: Final = "cdp_reader_"
"""How the database roles of the other reader roles begin."""

READABLE: Final = ("reader_pseudonym", "since_on", "until_on", "traits")
"""The columns of a projection that are made for readers."""
_BITS: Final = 63


def prepare_purposes(tx: Transaction, purposes: Collection[str], now: datetime) -> dict[str, int]:
    """Create a bit and a projection for every new purpose, and end the permissions of purposes no longer declared.

    A purpose keeps its bit permanently. Returns the mask of every purpose ever declared; safe to repeat. Raises the
    fault `too_many_purposes`.
    """
    known = _bits(tx)
    added = [purpose for purpose in purposes if purpose not in known]
    if added:
        _add(tx, added, max(known.values(), default=-1) + 1, now=now)
    _empty_projections_except(tx, purposes, now)
    return bits_of(tx)


def bits_of(tx: Transaction) -> dict[str, int]:
    """The bit mask of every purpose ever declared."""
    return {purpose: 1 << bit for purpose, bit in _bits(tx).items()}


def grant_reading(tx: Transaction, readable: Collection[str]) -> bool:
    """Let the marketer role read the projections of these purposes, and nothing else; False if the role does not exist."""
    return let_read(tx, MARKETER, [projection_of(purpose) for purpose in readable])


def let_read(tx: Transaction, database_role: str, tables: Collection[str]) -> bool:
    """Let a database role read these tables of the schema `consent`, and no other projection; False without the role.

    It reads the columns that are made for readers, of rows that have not ended.
    """
    if not tx.execute("SELECT 1 FROM pg_roles WHERE rolname = %(role)s", {"role": database_role}):
        return False
    differing = _projections_to_grant(tx, database_role, sorted(tables))
    if not differing:
        return True
    role = sql.Identifier(database_role)
    tx.execute(sql.SQL("GRANT USAGE ON SCHEMA consent TO {}").format(role))
    tx.execute(sql.SQL("GRANT EXECUTE ON FUNCTION consent.present_instant() TO {}").format(role))
    columns = sql.SQL(", ").join(map(sql.Identifier, READABLE))
    for name in differing:
        table = sql.Identifier("consent", name)
        tx.execute(sql.SQL("REVOKE ALL ON {} FROM PUBLIC, {}").format(table, role))
        tx.execute(sql.SQL("ALTER TABLE {} ENABLE ROW LEVEL SECURITY").format(table))
        if name in tables:
            tx.execute(sql.SQL("DROP POLICY IF EXISTS unended ON {}").format(table))
            tx.execute(sql.SQL("GRANT SELECT ({}) ON {} TO {}").format(columns, table, role))
            tx.execute(
                sql.SQL(
                    "CREATE POLICY unended ON {} FOR SELECT TO {} "
                    "USING (until IS NULL OR until > (SELECT consent.present_instant()))"
                ).format(table, role)
            )
    return True


def end_reading(tx: Transaction, database_role: str) -> None:
    """Take from a database role, if it exists, what the schema `consent` as a whole lets it do."""
    if tx.execute("SELECT 1 FROM pg_roles WHERE rolname = %(role)s", {"role": database_role}):
        role = sql.Identifier(database_role)
        tx.execute(sql.SQL("REVOKE ALL ON SCHEMA consent FROM {}").format(role))
        tx.execute(sql.SQL("REVOKE ALL ON FUNCTION consent.present_instant() FROM {}").format(role))


def _bits(tx: Transaction) -> dict[str, int]:
    return {purpose: int(bit) for purpose, bit in tx.execute("SELECT purpose, bit FROM consent.purpose")}


def _projections_to_grant(tx: Transaction, database_role: str, readable: Collection[str]) -> list[str]:
    """The projections to which a database role does not have exactly the access that it should have.

    The tables of marketers are judged for marketers, those of the other roles for each of these, which read no others.
    """
    rows = tx.execute(
        """
        SELECT projection
        FROM (
            SELECT child.relname::text AS projection,
                   child.relrowsecurity AS is_secured,
                   EXISTS (SELECT FROM pg_policy AS p WHERE p.polrelid = child.oid AND p.polname = 'unended') AS has_policy,
                   ARRAY(
                       SELECT a.attname::text
                       FROM pg_attribute AS a
                       WHERE a.attrelid = child.oid AND a.attnum > 0 AND NOT a.attisdropped
                         AND has_column_privilege(%(role)s, child.oid, a.attnum, 'SELECT')
                       ORDER BY a.attname
                   ) AS columns
            FROM pg_class AS child
            WHERE child.relkind = 'r'
              AND child.oid IN (SELECT relid FROM pg_partition_tree('consent.permitted')
                                UNION ALL SELECT relid FROM pg_partition_tree('consent.projection'))
              AND (child.relname = ANY(%(readable)s::text[])
                   OR has_any_column_privilege(%(role)s, child.oid, 'SELECT')
                   OR child.oid IN (SELECT relid FROM pg_partition_tree('consent.permitted')) AND %(role)s = %(marketer)s)
        ) AS found
        WHERE (is_secured, has_policy OR projection <> ALL(%(readable)s::text[]), columns) IS DISTINCT FROM (
            true,
            true,
            CASE WHEN projection = ANY(%(readable)s::text[]) THEN %(columns)s::text[] ELSE '{}' END
        )
        ORDER BY projection
        """,
        {
            "role": database_role,
            "marketer": MARKETER,
            "readable": list(readable),
            "columns": sorted(READABLE),
        },
    )
    return [projection for (projection,) in rows]


def _add(tx: Transaction, purposes: list[str], first_bit: int, *, now: datetime) -> None:
    if first_bit + len(purposes) > _BITS:
        raise Fault(
            "too_many_purposes",
            "Too many purposes were declared",
            f"There can be at most {_BITS} purposes, including former ones; reuse the key of a former purpose.",
            status=422,
        )
    tx.execute(
        """
        INSERT INTO consent.purpose (purpose, bit, added_at)
        SELECT purpose, bit, %(now)s FROM unnest(%(purposes)s::text[], %(bits)s::smallint[]) AS p (purpose, bit)
        """,
        {"purposes": purposes, "bits": list(range(first_bit, first_bit + len(purposes))), "now": now},
    )
    for purpose in purposes:
        table = sql.Identifier("consent", projection_of(purpose))
        tx.execute(
            sql.SQL("CREATE TABLE {} PARTITION OF consent.permitted FOR VALUES IN ({})").format(
                table, sql.Literal(purpose)
            )
        )
        # A pseudonym in pg_statistic would outlast its row; partitions do not inherit this setting.
        tx.execute(sql.SQL("ALTER TABLE {} ALTER COLUMN reader_pseudonym SET STATISTICS 0").format(table))
        grant_partition(tx, table, "consent.permitted")


def _empty_projections_except(tx: Transaction, purposes: Collection[str], now: datetime) -> None:
    """End all permissions of purposes that the policy no longer declares."""
    tx.execute(
        """
        WITH ended AS (  -- their data is cleared like that of a withdrawal
            DELETE FROM consent.permitted WHERE purpose <> ALL(%(purposes)s::text[]) RETURNING profile_id, purpose
        ), unrefused AS (
            DELETE FROM consent.refused WHERE purpose <> ALL(%(purposes)s::text[])
        )
        INSERT INTO consent.withdrawal (profile_id, purpose, withdrawn_at)
        SELECT profile_id, purpose, %(now)s::timestamptz FROM ended
        """,
        {"purposes": list(purposes), "now": now},
    )
