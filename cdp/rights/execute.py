"""Execution of an erasure plan: counting the rows it affects, and erasing them in chunks.

The statements are computed from the plan as SQLAlchemy expressions over the declared tables; ids are passed as array
parameters. Each statement finds the rows of the person through an indexed column, so that no erasure reads a whole table.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    ColumnElement,
    DateTime,
    Delete,
    Select,
    Table,
    Update,
    any_,
    bindparam,
    delete,
    func,
    literal_column,
    or_,
    select,
    update,
)

from cdp.kit.db import Transaction
from cdp.rights.model import Scope, Verb
from cdp.rights.plan import PlanStep, Section, Space, Tie
from cdp.schema.all import tables

CHUNK_ROWS_MAX: Final = 10_000

_TABLES: Final = {table.fullname: table for table in tables()}
_EVENT: Final = _TABLES["behavior.event"]
EVENT_TABLES: Final = ("behavior.event", "behavior.restricted_event")
"""The tables of events: those in use, and those that a restriction keeps past their retention."""

_ROW_KEYS: Final = frozenset({"anchor_id", "identifier_id", "event_id", "profile_id"})


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows of a step."""

    step: PlanStep
    condition: ColumnElement[bool]


def row_counts(
    tx: Transaction, steps: Sequence[PlanStep], scope: Scope, *, rows_max: int | None = None
) -> dict[int, int]:
    """How many rows each step affects, by position, counted up to `rows_max` + 1; one statement.

    Tables that are kept count as 0 here: what remains in them is written, not found. With `rows_max`, digests of message ids
    are not counted; there are assumed to be as many as events.
    """
    counted = [
        step for step in steps if step.verb is not Verb.KEEP and (rows_max is None or not is_duplicate_digest(step))
    ]
    if not counted:
        return dict.fromkeys((step.position for step in steps), 0)
    queries = []
    for step in counted:
        table = _TABLES[step.table]
        rows: Select[Any] = select(literal_column("1")).select_from(table).where(_tied(table, step.ties))
        if rows_max is not None:
            rows = rows.limit(rows_max + 1)
        queries.append(select(func.count()).select_from(rows.subquery()).scalar_subquery())
    counts = tx.one_or_none(select(*queries), _params(scope)) or ()
    by_step = {step.position: int(count) for step, count in zip(counted, counts, strict=True)}
    events = sum(by_step.get(step.position, 0) for step in steps if step.table == _EVENT.fullname)
    return {step.position: by_step.get(step.position, events if is_duplicate_digest(step) else 0) for step in steps}


def next_chunk(tx: Transaction, step: PlanStep, scope: Scope, *, size: int, rows_max: int) -> Chunk:
    """The next rows to erase of a step with `size` rows left: about `rows_max` of them at most.

    A partitioned table is divided at a value of the next column of its key, which prunes partitions; rows with the same
    value are erased together. An ordinary table is divided by the physical location (ctid) of its rows.
    """
    table = _TABLES[step.table]
    tied, params = _tied(table, step.ties), _params(scope)
    if size <= rows_max:
        return Chunk(step, tied)
    unbound = [column for column in table.primary_key.columns if column.name not in {tie.column for tie in step.ties}]
    if _is_partitioned(table) and unbound:
        bound = select(unbound[0]).where(tied).order_by(unbound[0]).offset(rows_max - 1).limit(1)
        return Chunk(step, tied & (unbound[0] <= tx.scalar(bound, params)))
    location = table.c[step.ties[0].column] if _is_partitioned(table) else literal_column("ctid")
    chosen = select(location).select_from(table).where(tied).limit(rows_max)
    return Chunk(step, location == _any_of(chosen))


def erase_chunk(tx: Transaction, chunk: Chunk, scope: Scope) -> int:
    """Delete or sever the rows of a chunk; returns how many. Repeating it affects no rows."""
    return tx.execute_core(_erase_statement(chunk.step, chunk.condition), _params(scope))


def erase_whole(tx: Transaction, steps: Sequence[PlanStep], scope: Scope) -> dict[int, int]:
    """Delete or sever all rows of these steps in one statement; returns how many, by position.

    Every part sees the rows as they were before the statement, so references between the tables are still intact.
    """
    if not steps:
        return {}
    erased = {
        step.position: _erase_statement(step, _tied(_TABLES[step.table], step.ties))
        .returning(literal_column("1").label("row"))
        .cte(f"step_{step.position}")
        for step in steps
    }
    counts = select(*(select(func.count()).select_from(rows).scalar_subquery() for rows in erased.values()))
    return dict(zip(erased, tx.all(counts, _params(scope))[0], strict=True))


def events_in(tx: Transaction, chunk: Chunk, scope: Scope, *, classes: Collection[str]) -> list[dict[str, Any]]:
    """The events of a chunk of a table of events in these retention classes, as dictionaries by column."""
    table = _TABLES[chunk.step.table]
    query = select(table).where(chunk.condition & table.c.retention_class.in_(sorted(classes)))
    names = [column.name for column in table.columns]
    return [dict(zip(names, row, strict=True)) for row in tx.all(query, _params(scope))]


def count_events(tx: Transaction, scope: Scope, *, occurred_after: Mapping[str, datetime]) -> int:
    """How many events of the person, in each retention class, occurred after the instant given for the class."""
    if not occurred_after:
        return 0
    total = 0
    for table in (_TABLES[name] for name in EVENT_TABLES):
        is_counted = or_(
            *(
                (table.c.retention_class == retention_class) & (table.c.occurred_at > instant)
                for retention_class, instant in sorted(occurred_after.items())
            )
        )
        is_of_person = table.c.anchor_id == any_(_ids(Space.ANCHOR))
        query = select(func.count()).select_from(table).where(is_of_person & is_counted)
        total += int(tx.scalar(query, _params(scope)))
    return total


def rows_of(tx: Transaction, section: Section, scope: Scope) -> list[Mapping[str, Any]]:
    """The person's rows of an export section in chronological order, with the columns that identify the
    row of a sealed value.
    """
    table = _TABLES[section.table]
    exported = {column.column for column in section.columns}
    wanted = [
        column for column in table.columns if column.name in exported or column.primary_key or column.name in _ROW_KEYS
    ]
    instants = [column for column in table.columns if isinstance(column.type, DateTime)]
    query = select(*wanted).where(_tied(table, section.ties)).order_by(*instants, *table.primary_key.columns)
    names = [column.name for column in wanted]
    return [dict(zip(names, row, strict=True)) for row in tx.all(query, _params(scope))]


def _erase_statement(step: PlanStep, condition: ColumnElement[bool]) -> Delete | Update:
    """Delete the rows, or set the columns that lead to the person to NULL where they are not yet."""
    table = _TABLES[step.table]
    if step.verb is Verb.SEVER:
        is_unsevered = or_(*(table.c[column].is_not(None) for column in step.columns))
        return update(table).where(condition & is_unsevered).values(dict.fromkeys(step.columns))
    return delete(table).where(condition)


def is_duplicate_digest(step: PlanStep) -> bool:
    """Whether the step erases digests of message ids, whose number is assumed and not counted."""
    return any(tie.space is Space.EVENT for tie in step.ties)


def _is_partitioned(table: Table) -> bool:
    return table.dialect_options["postgresql"]["partition_by"] is not None


def _tied(table: Table, ties: Sequence[Tie]) -> ColumnElement[bool]:
    return or_(*(_leads_to_person(table.c[tie.column], tie.space) for tie in ties))


def _leads_to_person(column: Column[Any], space: Space) -> ColumnElement[bool]:
    if space is Space.EVENT:
        # Fetched as one array first: each id is then looked up in the one partition that can contain it.
        events = select(_EVENT.c.event_id).where(_EVENT.c.anchor_id == any_(_ids(Space.ANCHOR)))
        return column.in_(select(func.unnest(func.array(events.correlate(None).scalar_subquery()))))
    leads: ColumnElement[bool] = column == any_(_ids(space))
    return leads


def _any_of(query: Select[Any]) -> Any:
    """Any of the rows of a query, fetched first as one array, so that an index is used whatever the row estimates are."""
    return any_(func.array(query.correlate(None).scalar_subquery()))


def _ids(space: Space) -> Any:
    return bindparam(space.value, type_=ARRAY(BigInteger))


def _params(scope: Scope) -> dict[str, list[int]]:
    return {
        Space.IDENTIFIER.value: list(scope.identifiers),
        Space.ANCHOR.value: list(scope.anchors),
        Space.PROFILE.value: list(scope.profiles),
        Space.SUBJECT.value: list(scope.subjects),
        Space.DEFERRED.value: list(scope.deferred),
        Space.REQUEST.value: [scope.request_id] if scope.request_id else [],  # 0 marks permanent suppressions
    }
