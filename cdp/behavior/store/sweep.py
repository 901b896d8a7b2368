"""SQL of the sweep: expired months are dropped as partitions, other expired rows are deleted in chunks."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from psycopg import sql

from cdp.behavior.model import Term
from cdp.behavior.retention import Month, first_counted_day
from cdp.behavior.store.terms import find_terms
from cdp.behavior.traits import TraitPlan
from cdp.kit.db import Transaction

_CLASS_BOUND: Final = re.compile(r"FOR VALUES IN \('([a-z0-9_]+)'\)")
_EVENT_COLUMNS: Final = ("anchor_id", "event_id", "occurred_at", "retention_class", "name_id", "plain", "sealed")


@dataclass(frozen=True, slots=True)
class MonthPartition:
    """One month of one class; `parent` is the table of the class, both within schema `behavior`."""

    retention_class: str
    month: Month
    table: str
    parent: str


@dataclass(frozen=True, slots=True)
class KeptProperty:
    """A property of a planned event that survives severing; numbers are rounded, terms and booleans are kept."""

    name_id: int
    property: str
    is_number: bool


def partitions(tx: Transaction) -> list[MonthPartition]:
    """Every month partition of behavior.event, oldest first."""
    rows = tx.execute(
        """
        SELECT pg_get_expr(parent.relpartbound, parent.oid), child.relname::text, parent.relname::text
        FROM pg_inherits root
        JOIN pg_class parent ON parent.oid = root.inhrelid
        JOIN pg_inherits leaf ON leaf.inhparent = parent.oid
        JOIN pg_class child ON child.oid = leaf.inhrelid
        WHERE root.inhparent = 'behavior.event'::regclass
        """
    )
    found = []
    for bound, table, parent in rows:
        matched = _CLASS_BOUND.fullmatch(bound)
        if matched:
            month = Month(int(table[-7:-3]), int(table[-2:]))
            found.append(MonthPartition(matched.group(1), month, table, parent))
    return sorted(found, key=lambda partition: (partition.month, partition.retention_class))


def count_events(tx: Transaction, partition: MonthPartition) -> int:
    """How many events a partition holds."""
    return int(tx.execute(sql.SQL("SELECT count(*) FROM {}").format(_table(partition.table)))[0][0])


def delete_and_return_events(tx: Transaction, partition: MonthPartition, rows_max: int) -> list[dict[str, Any]]:
    """Delete up to `rows_max` events of a partition and return them, for a legal hold; event ids as text."""
    rows = tx.execute(
        sql.SQL(
            "DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} LIMIT %(rows_max)s)) "
            "RETURNING anchor_id, event_id::text, occurred_at, retention_class, name_id, plain, sealed"
        ).format(table=_table(partition.table)),
        {"rows_max": rows_max},
    )
    return [dict(zip(_EVENT_COLUMNS, row, strict=True)) for row in rows]


def drop_partition(tx: Transaction, partition: MonthPartition) -> None:
    """Detach and drop a month; waits at most three seconds for transactions that read the class."""
    tx.execute("SET LOCAL lock_timeout = '3s'")
    parent, table = _table(partition.parent), _table(partition.table)
    tx.execute(sql.SQL("ALTER TABLE {} DETACH PARTITION {}").format(parent, table))
    tx.execute(sql.SQL("DROP TABLE {}").format(table))


def sever_events(tx: Transaction, partition: MonthPartition, kept: Sequence[KeptProperty], *, share_min: int) -> int:
    """Copy a month without its people, as counts; returns how many events are counted.

    Instants become months, numbers keep two significant digits, lists and values that are not plain and planned are
    omitted. A combination of values of fewer than `share_min` anchors is counted without values, or not at all if still too few.
    """
    rows = tx.execute(
        sql.SQL(_SEVER).format(_table(partition.table)),
        {
            "names": [kept_property.name_id for kept_property in kept],
            "properties": [kept_property.property for kept_property in kept],
            "numbers": [kept_property.is_number for kept_property in kept],
            "class": partition.retention_class,
            "month": partition.month.start.date(),
            "share_min": share_min,
        },
    )
    return sum(events for (events,) in rows)


_SEVER: Final = """
    WITH kept AS (
        SELECT * FROM unnest(%(names)s::int[], %(properties)s::text[], %(numbers)s::bool[]) AS k(name_id, property, is_number)
    ), coarse AS (
        -- One row per event: kept properties only, numbers rounded to two significant digits.
        SELECT e.anchor_id, e.event_id, e.name_id, coalesce(
            jsonb_object_agg(k.property, CASE
                WHEN NOT k.is_number THEN p.value
                WHEN jsonb_typeof(p.value) <> 'number' OR p.value = '0' THEN p.value
                ELSE to_jsonb(trim_scale(round((p.value)::numeric, 1 - floor(log(abs((p.value)::numeric)))::int)))
            END) FILTER (WHERE k.property IS NOT NULL), '{{}}'
        ) AS plain
        FROM {} e
        LEFT JOIN LATERAL jsonb_each(e.plain) AS p(property, value) ON jsonb_typeof(p.value) <> 'array'
        -- A value that was stored when its property had another type is left out.
        LEFT JOIN kept k ON k.name_id = e.name_id AND k.property = p.property
          AND (NOT k.is_number OR jsonb_typeof(p.value) = 'number')
        GROUP BY e.anchor_id, e.occurred_at, e.event_id, e.name_id
    ), shared AS (
        -- Whether enough anchors have a combination of values.
        SELECT c.name_id, c.plain, count(DISTINCT c.anchor_id) >= %(share_min)s AS is_shared
        FROM coarse c GROUP BY c.name_id, c.plain
    ), hidden AS (
        -- Rare combinations lose their values.
        SELECT c.anchor_id, c.name_id, CASE WHEN s.is_shared THEN c.plain ELSE '{{}}' END AS plain
        FROM coarse c JOIN shared s USING (name_id, plain)
    )
    INSERT INTO behavior.severed (retention_class, name_id, month, plain, events)
    SELECT %(class)s, name_id, %(month)s, plain, count(*)
    FROM hidden
    GROUP BY name_id, plain
    HAVING count(DISTINCT anchor_id) >= %(share_min)s
    RETURNING events
"""


def delete_uncounted_buckets(tx: Transaction, plan: TraitPlan, now: datetime, *, rows_max: int) -> int:
    """Delete up to `rows_max` buckets of days that no window counts any more, and of traits that no longer exist."""
    rows = tx.execute(
        """
        WITH d AS (
            SELECT * FROM unnest(%(traits)s::text[], %(days)s::date[]) AS d(trait, first_day)
        ), deleted AS (
            DELETE FROM behavior.bucket WHERE ctid = ANY(ARRAY(
                SELECT b.ctid FROM behavior.bucket b LEFT JOIN d USING (trait)
                WHERE d.trait IS NULL OR b.day < d.first_day LIMIT %(rows_max)s
            )) RETURNING 1
        ) SELECT count(*) FROM deleted
        """,
        {**_first_days(plan, now), "rows_max": rows_max},
    )
    return next(int(count) for (count,) in rows)


def count_uncounted_buckets(tx: Transaction, plan: TraitPlan, now: datetime) -> int:
    """How many buckets `delete_uncounted_buckets` would delete in all."""
    rows = tx.execute(
        "SELECT count(*) FROM behavior.bucket b "
        "LEFT JOIN unnest(%(traits)s::text[], %(days)s::date[]) AS d(trait, first_day) USING (trait) "
        "WHERE d.trait IS NULL OR b.day < d.first_day",
        _first_days(plan, now),
    )
    return next(int(count) for (count,) in rows)


def delete_expired_traits(
    tx: Transaction, expired_at: datetime, rows_max: int, *, without: Collection[int] = ()
) -> list[int]:
    """Delete up to `rows_max` stated traits that occurred at or before an instant, `without` those of some anchors.

    Returns the anchor of each. Of a corrected age, the period in which it counted is left.
    """
    rows = tx.execute(
        """
        WITH deleted AS (
            DELETE FROM behavior.trait WHERE ctid = ANY(ARRAY(
                SELECT ctid FROM behavior.trait
                WHERE occurred_at <= %(expired_at)s AND anchor_id <> ALL(%(without)s::bigint[]) LIMIT %(rows_max)s
            ))
            RETURNING anchor_id, name, is_rectified, received_at
        ), periods AS (
            INSERT INTO behavior.former_age (anchor_id, bits, since, until)
            SELECT anchor_id, 0, received_at, present.at
            FROM deleted CROSS JOIN (
                SELECT coalesce(nullif(current_setting('cdp.instant', true), '')::timestamptz, statement_timestamp()) AS at
            ) AS present
            WHERE name = 'age' AND is_rectified AND received_at < present.at
        )
        SELECT anchor_id FROM deleted
        """,
        {"expired_at": expired_at, "rows_max": rows_max, "without": list(without)},
    )
    return [anchor_id for (anchor_id,) in rows]


def count_expired_traits(tx: Transaction, expired_at: datetime, *, without: Collection[int] = ()) -> int:
    """How many stated traits have expired, `without` those of some anchors."""
    rows = tx.execute(
        "SELECT count(*) FROM behavior.trait "
        "WHERE occurred_at <= %(expired_at)s AND anchor_id <> ALL(%(without)s::bigint[])",
        {"expired_at": expired_at, "without": list(without)},
    )
    return next(int(count) for (count,) in rows)


def delete_expired_messages(tx: Transaction, today: date, rows_max: int) -> int:
    """Delete up to `rows_max` stored message ids whose retries would be refused as expired."""
    rows = tx.execute(
        """
        WITH aged AS (
            SELECT event_id FROM behavior.duplicate WHERE keep_until < %(today)s LIMIT %(rows_max)s
        ), deleted AS (
            DELETE FROM behavior.duplicate d USING aged WHERE d.event_id = aged.event_id RETURNING 1
        ) SELECT count(*) FROM deleted
        """,
        {"today": today, "rows_max": rows_max},
    )
    return next(int(count) for (count,) in rows)


def count_expired_messages(tx: Transaction, today: date) -> int:
    """How many stored message ids are past their last day."""
    rows = tx.execute("SELECT count(*) FROM behavior.duplicate WHERE keep_until < %(today)s", {"today": today})
    return next(int(count) for (count,) in rows)


def profiles_of_anchors(tx: Transaction, anchor_ids: Sequence[int]) -> list[int]:
    """The profiles to which these anchors belong now."""
    rows = tx.execute(
        "SELECT DISTINCT profile_id FROM identity.canonical WHERE anchor_id = ANY(%(anchors)s)",
        {"anchors": list(anchor_ids)},
    )
    return [profile_id for (profile_id,) in rows]


def kept_of(tx: Transaction, properties: Mapping[Term, Mapping[str, bool]]) -> list[KeptProperty]:
    """What severing keeps, by event name: properties, and whether each is a number to be rounded."""
    ids = find_terms(tx, list(properties))
    return [
        KeptProperty(ids[name], key, is_number)
        for name, kinds in properties.items()
        if name in ids
        for key, is_number in kinds.items()
    ]


def _first_days(plan: TraitPlan, now: datetime) -> dict[str, Any]:
    traits = list(plan.by_key.values())
    return {
        "traits": [trait.key for trait in traits],
        "days": [first_counted_day(now, trait.window_days) for trait in traits],
    }


def _table(name: str) -> sql.Identifier:
    return sql.Identifier("behavior", name)


def anchors_with_rows(tx: Transaction, anchor_ids: Collection[int]) -> set[int]:
    """Those of these anchors that still have events, stated traits or computed traits."""
    rows = tx.execute(
        """
        SELECT requested.id FROM unnest(%(ids)s::bigint[]) AS requested (id)
        WHERE EXISTS (SELECT FROM behavior.event AS e WHERE e.anchor_id = requested.id)
           OR EXISTS (SELECT FROM behavior.restricted_event AS r WHERE r.anchor_id = requested.id)
           OR EXISTS (SELECT FROM behavior.trait AS t WHERE t.anchor_id = requested.id)
           OR EXISTS (SELECT FROM behavior.stated_age AS a WHERE a.anchor_id = requested.id)
           OR EXISTS (SELECT FROM behavior.bucket AS b WHERE b.anchor_id = requested.id)
        """,
        {"ids": list(anchor_ids)},
    )
    return {anchor_id for (anchor_id,) in rows}
