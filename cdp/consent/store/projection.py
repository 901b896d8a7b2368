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

MARKETER: Final = "cdp_marketer"
"""The database role that reads projections; an administrator grants it to logins."""

_READABLE: Final = ("reader_pseudonym", "since_on", "until_on", "traits")
_BITS: Final = 63


def projection_of(purpose: str) -> str:
    """The name of a purpose's projection in the schema `consent`."""
    return f"permitted_{purpose}"


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
    if not tx.execute("SELECT 1 FROM pg_roles WHERE rolname = %(role)s", {"role": MARKETER}):
        return False
    readable_names = sorted(map(projection_of, readable))
    differing = _projections_to_grant(tx, readable_names)
    if not differing:
        return True
    role = sql.Identifier(MARKETER)
    tx.execute(sql.SQL("GRANT USAGE ON SCHEMA consent TO {}").format(role))
    tx.execute(sql.SQL("GRANT EXECUTE ON FUNCTION consent.present_instant() TO {}").format(role))
    columns = sql.SQL(", ").join(map(sql.Identifier, _READABLE))
    for name in differing:
        table = sql.Identifier("consent", name)
        tx.execute(sql.SQL("REVOKE ALL ON {} FROM PUBLIC, {}").format(table, role))
        tx.execute(sql.SQL("ALTER TABLE {} ENABLE ROW LEVEL SECURITY").format(table))
        tx.execute(sql.SQL("DROP POLICY IF EXISTS unended ON {}").format(table))
        if name in readable_names:
            tx.execute(sql.SQL("GRANT SELECT ({}) ON {} TO {}").format(columns, table, role))
            tx.execute(
                sql.SQL(
                    "CREATE POLICY unended ON {} FOR SELECT TO {} "
                    "USING (until IS NULL OR until > (SELECT consent.present_instant()))"
                ).format(table, role)
            )
    return True


def end_older_readers(tx: Transaction) -> int | None:
    """End the sessions of marketers whose snapshot is older than a withdrawal that is not yet cleared.

    Returns how many; None if this role may not see or end them (it needs the roles pg_read_all_stats and
    pg_signal_backend). To be called within five seconds of the response to a withdrawal.
    """
    ((may_end_sessions,),) = tx.execute(
        """
        SELECT pg_has_role('pg_read_all_stats', 'USAGE') AND pg_has_role('pg_signal_backend', 'USAGE')
           AND EXISTS (SELECT FROM pg_roles WHERE rolname = %(role)s)
        """,
        {"role": MARKETER},
    )
    if not may_end_sessions:
        return None
    rows = tx.execute(
        """
        -- a snapshot taken before a withdrawal has an older xmin than the withdrawal
        SELECT pg_terminate_backend(a.pid)
        FROM pg_stat_activity AS a
        WHERE a.backend_xmin IS NOT NULL
          AND a.usename IS NOT NULL
          AND pg_has_role(a.usesysid, %(role)s, 'MEMBER')
          AND NOT (SELECT rolsuper FROM pg_roles WHERE oid = a.usesysid)
          AND a.usesysid <> current_user::regrole
          AND age(a.backend_xmin) >= (SELECT min(age(w.xmin)) FROM consent.withdrawal AS w)
        """,
        {"role": MARKETER},
    )
    return len(rows)


def _bits(tx: Transaction) -> dict[str, int]:
    return {purpose: int(bit) for purpose, bit in tx.execute("SELECT purpose, bit FROM consent.purpose")}


def _projections_to_grant(tx: Transaction, readable: Collection[str]) -> list[str]:
    """The projections to which the marketer role does not have exactly the access that it should have."""
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
            FROM pg_inherits AS i
            JOIN pg_class AS child ON child.oid = i.inhrelid
            WHERE i.inhparent = 'consent.permitted'::regclass
        ) AS found
        WHERE (is_secured, has_policy, columns) IS DISTINCT FROM (
            true,
            projection = ANY(%(readable)s::text[]),
            CASE WHEN projection = ANY(%(readable)s::text[]) THEN %(columns)s::text[] ELSE '{}' END
        )
        ORDER BY projection
        """,
        {"role": MARKETER, "readable": list(readable), "columns": sorted(_READABLE)},
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
        tx.execute(
            sql.SQL("CREATE TABLE {} PARTITION OF consent.permitted FOR VALUES IN ({})").format(
                sql.Identifier("consent", projection_of(purpose)), sql.Literal(purpose)
            )
        )
        # A pseudonym in pg_statistic would outlast its row; partitions do not inherit this setting.
        tx.execute(
            sql.SQL("ALTER TABLE {} ALTER COLUMN reader_pseudonym SET STATISTICS 0").format(
                sql.Identifier("consent", projection_of(purpose))
            )
        )


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
