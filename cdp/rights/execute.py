"""Carrying out an erasure plan: counting what it would touch, and doing it in chunks. The only SQL built at run time.

Statements are SQLAlchemy expressions over the declared tables; ids travel as array parameters. Each ties a row to the
person through an indexed column, so that no erasure reads a whole table.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
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

_ROW_KEYS: Final = frozenset({"anchor_id", "identifier_id", "event_id", "profile_id"})


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows of a step, or, when `is_last`, all that are left of it."""

    step: PlanStep
    condition: ColumnElement[bool]
    is_last: bool


def sizes(tx: Transaction, steps: Sequence[PlanStep], scope: Scope, *, rows_max: int | None = None) -> dict[int, int]:
    """How many rows each step is about, by position, counted no further than `rows_max` + 1; one statement.

    Kept tables count as none: what stays of them names nobody. With `rows_max`, the memory of message ids is not counted
    but taken to be as long as the events that it remembers.
    """
    counted = [step for step in steps if step.verb is not Verb.KEEP and (rows_max is None or not _is_memory(step))]
    if not counted:
        return dict.fromkeys((step.position for step in steps), 0)
    queries = []
    for step in counted:
        table = _TABLES[step.table]
        rows: Select[Any] = select(literal_column("1")).select_from(table).where(_tied(table, step.ties))
        if rows_max is not None:
            rows = rows.limit(rows_max + 1)
        queries.append(select(func.count()).select_from(rows.subquery()).scalar_subquery())
    found = tx.one_or_none(select(*queries), _params(scope)) or ()
    by_step = {step.position: int(count) for step, count in zip(counted, found, strict=True)}
    events = sum(by_step.get(step.position, 0) for step in steps if step.table == _EVENT.fullname)
    return {step.position: by_step.get(step.position, events if _is_memory(step) else 0) for step in steps}


def next_chunk(tx: Transaction, step: PlanStep, scope: Scope, *, size: int, rows_max: int) -> Chunk:
    """The next rows to erase of a step that has `size` left: about `rows_max` of them at most.

    A partitioned table is cut at a value of the next column of its key, which prunes partitions; rows of one value go
    together. An ordinary table is cut by the places of its rows.
    """
    table = _TABLES[step.table]
    tied, params = _tied(table, step.ties), _params(scope)
    if size <= rows_max:
        return Chunk(step, tied, is_last=True)
    free = [column for column in table.primary_key.columns if column.name not in {tie.column for tie in step.ties}]
    if _is_partitioned(table) and free:
        bound = select(free[0]).where(tied).order_by(free[0]).offset(rows_max - 1).limit(1)
        return Chunk(step, tied & (free[0] <= tx.scalar(bound, params)), is_last=False)
    place = table.c[step.ties[0].column] if _is_partitioned(table) else literal_column("ctid")
    chosen = select(place).select_from(table).where(tied).limit(rows_max)
    return Chunk(step, place == _any_of(chosen), is_last=False)


def erase_chunk(tx: Transaction, chunk: Chunk, scope: Scope) -> int:
    """Delete or sever the rows of a chunk; how many there were. Doing it again touches nothing."""
    return tx.execute_core(_erasing(chunk.step, chunk.condition), _params(scope))


def erase_whole(tx: Transaction, steps: Sequence[PlanStep], scope: Scope) -> dict[int, int]:
    """Delete or sever every row of these steps in one statement; how many there were, by position.

    All of it sees the rows as they were before, so what leads from one table to another still leads there.
    """
    if not steps:
        return {}
    gone = {
        step.position: _erasing(step, _tied(_TABLES[step.table], step.ties))
        .returning(literal_column("1").label("row"))
        .cte(f"step_{step.position}")
        for step in steps
    }
    counts = select(*(select(func.count()).select_from(each).scalar_subquery() for each in gone.values()))
    return dict(zip(gone, tx.all(counts, _params(scope))[0], strict=True))


def events_in(tx: Transaction, chunk: Chunk, scope: Scope, *, classes: Collection[str]) -> list[dict[str, Any]]:
    """The events of a chunk that belong to these retention classes."""
    query = select(_EVENT).where(chunk.condition & _EVENT.c.retention_class.in_(sorted(classes)))
    names = [column.name for column in _EVENT.columns]
    return [dict(zip(names, row, strict=True)) for row in tx.all(query, _params(scope))]


def rows_of(tx: Transaction, section: Section, scope: Scope) -> list[Mapping[str, Any]]:
    """The person's rows of an export section in order of time, with the columns that say in which row a sealed value lies."""
    table = _TABLES[section.table]
    shown = {column.column for column in section.columns}
    wanted = [
        column for column in table.columns if column.name in shown or column.primary_key or column.name in _ROW_KEYS
    ]
    instants = [column for column in table.columns if isinstance(column.type, DateTime)]
    query = select(*wanted).where(_tied(table, section.ties)).order_by(*instants, *table.primary_key.columns)
    names = [column.name for column in wanted]
    return [dict(zip(names, row, strict=True)) for row in tx.all(query, _params(scope))]


def _erasing(step: PlanStep, condition: ColumnElement[bool]) -> Delete | Update:
    """Delete the rows, or cut off the columns that lead to the person where they still do."""
    table = _TABLES[step.table]
    if step.verb is Verb.SEVER:
        whole = or_(*(table.c[column].is_not(None) for column in step.columns))
        return update(table).where(condition & whole).values(dict.fromkeys(step.columns))
    return delete(table).where(condition)


def _is_memory(step: PlanStep) -> bool:
    return any(tie.space is Space.EVENT for tie in step.ties)


def _is_partitioned(table: Table) -> bool:
    return table.dialect_options["postgresql"]["partition_by"] is not None


def _tied(table: Table, ties: Sequence[Tie]) -> ColumnElement[bool]:
    return or_(*(_leads(table.c[tie.column], tie.space) for tie in ties))


def _leads(column: Column[Any], space: Space) -> ColumnElement[bool]:
    if space is Space.EVENT:
        # Fetched first and then looked up one by one, each in the one partition that can hold it.
        events = select(_EVENT.c.event_id).where(_EVENT.c.anchor_id == any_(_ids(Space.ANCHOR)))
        return column.in_(select(func.unnest(func.array(events.correlate(None).scalar_subquery()))))
    leads: ColumnElement[bool] = column == any_(_ids(space))
    return leads


def _any_of(query: Select[Any]) -> Any:
    """Compare with the rows of a query as one array, fetched first: an index serves each, whatever the estimates."""
    return any_(func.array(query.correlate(None).scalar_subquery()))


def _ids(space: Space) -> Any:
    return bindparam(space.value, type_=ARRAY(BigInteger))


def _params(scope: Scope) -> dict[str, list[int]]:
    return {
        Space.IDENTIFIER.value: list(scope.identifiers),
        Space.ANCHOR.value: list(scope.anchors),
        Space.PROFILE.value: list(scope.profiles),
        Space.SUBJECT.value: list(scope.subjects),
        Space.REQUEST.value: [scope.request_id] if scope.request_id else [],  # 0 marks standing suppressions
    }
