"""SQL for policy changes: the definitions under which rows were stored, and the classes of stored events."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from psycopg import sql

from cdp.behavior.model import EVENT_NAMES, NO_NAME, Term
from cdp.behavior.retention import Month
from cdp.behavior.store.sweep import MonthPartition
from cdp.behavior.store.terms import find_terms
from cdp.kit.db import Transaction


class Filing(NamedTuple):
    """The classes of events by `name_id`, and the class of events that the plan does not name."""

    classes: Mapping[int, str]
    unknown_class: str


def outdated(tx: Transaction, definitions: Mapping[str, str]) -> set[str]:
    """The subjects whose stored rows were computed under another definition."""
    rows = tx.execute("SELECT subject, definition FROM behavior.definition")
    stored = {str(subject): definition for subject, definition in rows}
    return {subject for subject, definition in definitions.items() if stored.get(subject) != definition}


def delete_definitions_except(tx: Transaction, subjects: Collection[str]) -> None:
    """Delete the definitions of all other subjects: one that comes back is computed like a new one."""
    tx.execute("DELETE FROM behavior.definition WHERE subject <> ALL(%(subjects)s)", {"subjects": list(subjects)})


def remember_definitions(tx: Transaction, definitions: Mapping[str, str]) -> None:
    """Record the definitions under which rows are stored from now on."""
    params = {"subjects": list(definitions), "definitions": list(definitions.values())}
    tx.execute(
        "INSERT INTO behavior.definition (subject, definition) "
        "SELECT * FROM unnest(%(subjects)s::text[], %(definitions)s::text[]) "
        "ON CONFLICT (subject) DO UPDATE SET definition = excluded.definition",
        params,
    )


def anchors_after(tx: Transaction, after: int, anchors_max: int) -> list[int]:
    """Up to `anchors_max` anchors with ids beyond `after`, in order."""
    rows = tx.execute(
        "SELECT anchor_id FROM identity.canonical WHERE anchor_id > %(after)s ORDER BY anchor_id LIMIT %(anchors_max)s",
        {"after": after, "anchors_max": anchors_max},
    )
    return [anchor_id for (anchor_id,) in rows]


def filing_of(tx: Transaction, classes: Mapping[str, str], unknown_class: str) -> Filing:
    """The classes of planned events by the ids of their names."""
    ids = find_terms(tx, [Term(EVENT_NAMES, name) for name in classes])
    return Filing({number: classes[term.text] for term, number in ids.items()}, unknown_class)


def misfiled(tx: Transaction, partition: MonthPartition, filing: Filing) -> set[tuple[str, Month]]:
    """The other partitions in which events of this one belong."""
    rows = tx.execute(
        sql.SQL(_WANTED + "SELECT DISTINCT wanted FROM belongs WHERE wanted <> %(class)s").format(_table(partition)),
        _params(partition, filing),
    )
    return {(wanted, partition.month) for (wanted,) in rows}


def refile(tx: Transaction, partition: MonthPartition, filing: Filing) -> int:
    """Move events of a partition to their classes, whose partitions exist; returns how many were moved."""
    rows = tx.execute(
        sql.SQL(
            _WANTED
            + """, moved AS (
                UPDATE behavior.event e SET retention_class = b.wanted
                FROM belongs b
                WHERE b.wanted <> %(class)s AND e.name_id = b.name_id AND e.retention_class = %(class)s
                  AND e.occurred_at >= %(start)s AND e.occurred_at < %(end)s
                RETURNING 1
            ) SELECT count(*) FROM moved"""
        ).format(_table(partition)),
        _params(partition, filing),
    )
    return next(int(count) for (count,) in rows)


def remember_longer(tx: Transaction, partition: MonthPartition, keep_for_days: int) -> int:
    """Keep the message ids of a partition's events as long as the events are kept; returns how many were extended."""
    rows = tx.execute(
        sql.SQL(
            """
            WITH changed AS (
                UPDATE behavior.duplicate d SET keep_until = (e.occurred_at AT TIME ZONE 'UTC')::date + %(days)s
                FROM {} e
                WHERE d.event_id = e.event_id AND d.keep_until < (e.occurred_at AT TIME ZONE 'UTC')::date + %(days)s
                RETURNING 1
            ) SELECT count(*) FROM changed
            """
        ).format(_table(partition)),
        {"days": keep_for_days + 1},
    )
    return next(int(count) for (count,) in rows)


_WANTED = """
    WITH filed AS (
        SELECT * FROM unnest(%(names)s::int[], %(classes)s::text[]) AS f(name_id, wanted)
    ), belongs AS (
        SELECT DISTINCT e.name_id, CASE WHEN e.name_id = %(no_name)s THEN %(unknown)s ELSE coalesce(f.wanted, %(unknown)s) END
               AS wanted
        FROM {} e LEFT JOIN filed f USING (name_id)
    )
"""


def _params(partition: MonthPartition, filing: Filing) -> dict[str, object]:
    return {
        "names": list(filing.classes),
        "classes": list(filing.classes.values()),
        "unknown": filing.unknown_class,
        "no_name": NO_NAME,
        "class": partition.retention_class,
        "start": partition.month.start,
        "end": partition.month.end,
    }


def _table(partition: MonthPartition) -> sql.Identifier:
    return sql.Identifier("behavior", partition.table)
