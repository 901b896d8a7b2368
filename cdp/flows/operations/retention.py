"""Use case of retention: months of expired events are dropped, other expired rows are deleted in chunks.

Reads ignore a row from its expiry on; the sweep removes it within 31 days. Each month and each chunk is a separate
transaction, so a killed sweep leaves nothing inconsistent, and the next one continues.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from cdp.audit.store import facts as fact_store
from cdp.behavior.model import EVENT_NAMES, Term
from cdp.behavior.retention import is_month_over
from cdp.behavior.store import restricted as restricted_store
from cdp.behavior.store import sweep as behavior_sweep_store
from cdp.behavior.store.sweep import MonthPartition
from cdp.flows.context import Context
from cdp.flows.operations.retention_restricted import KEEP_REASON, RESTRICTED_EVENTS, restricted_anchors
from cdp.flows.operations.retention_tasks import SweepTask, sweep_tasks
from cdp.flows.rights.legal_hold import hold_events
from cdp.kit.db import Transaction
from cdp.kit.db_faults import is_conflict
from cdp.policy.model import After, Policy, PropertyType, RetentionClass

CHUNK_ROWS_MAX = 10_000

EVENTS = "behavior.event"


@dataclass(frozen=True, slots=True)
class SweepLine:
    """One line of a sweep: how many rows of a table expired.

    `verb` is `delete`, `sever` or `keep`; `reason` is stated by the policy. `part` is the class and month of events.
    What is kept is of people whose processing is restricted.
    """

    table: str
    verb: str
    rows: int
    reason: str
    part: str = ""


@dataclass(frozen=True, slots=True)
class _MonthRows:
    """How many events of a month end, and how many are kept for a restriction."""

    ended: int
    kept: int


@dataclass(frozen=True, slots=True)
class SweepResult:
    """The result of a sweep, or its preview.

    `postponed` are months whose table was in use; the next sweep drops them. `without_rule` are classes with events that the
    policy no longer declares, so that their retention period is undefined.
    """

    lines: tuple[SweepLine, ...]
    postponed: tuple[str, ...]
    without_rule: tuple[str, ...]
    is_dry_run: bool


def sweep(context: Context, now: datetime, *, dry_run: bool = False, rows_max: int = CHUNK_ROWS_MAX) -> SweepResult:
    """Delete or sever everything that has expired. A dry run counts the same rows and changes nothing."""
    with context.database.transaction(read_only=True) as tx:
        partitions = behavior_sweep_store.partitions(tx)
        due = [partition for partition in partitions if _is_over(context.policy, partition, now)]
        restricted = restricted_anchors(tx) if due else frozenset()
        counted = {partition: _count_month(tx, partition, restricted) for partition in due}
        lines = _rows_due(tx, context, now) if dry_run else []
    classes = context.policy.retention.classes
    without_rule = tuple(sorted({partition.retention_class for partition in partitions} - classes.keys()))
    if dry_run:
        months = _month_lines(context.policy, counted)
        return SweepResult((*months, *lines), (), without_rule, is_dry_run=True)
    done = {partition: _sweep_month(context, partition, now=now, rows_max=rows_max) for partition in due}
    months = _month_lines(context.policy, {partition: rows for partition, rows in done.items() if rows is not None})
    postponed = tuple(_month_name(partition) for partition, rows in done.items() if rows is None)
    return SweepResult((*months, *_sweep_rows(context, now, rows_max)), postponed, without_rule, is_dry_run=False)


def _count_month(tx: Transaction, partition: MonthPartition, restricted: Collection[int]) -> _MonthRows:
    kept = restricted_store.count_restricted(tx, partition, restricted) if restricted else 0
    return _MonthRows(behavior_sweep_store.count_events(tx, partition) - kept, kept)


def _is_over(policy: Policy, partition: MonthPartition, now: datetime) -> bool:
    rule = policy.retention.classes.get(partition.retention_class)
    return rule is not None and is_month_over(partition.month, rule.keep_for_days, now)


def _sweep_month(context: Context, partition: MonthPartition, *, now: datetime, rows_max: int) -> _MonthRows | None:
    """Sever and hold what the policy requires of a month, then drop it; None if its table was in use.

    Events of people whose processing is restricted are kept apart.
    """
    rule = context.policy.retention.classes[partition.retention_class]
    try:
        with context.database.transaction() as tx:
            restricted = restricted_anchors(tx)
            kept = restricted_store.keep_restricted(tx, partition, restricted) if restricted else 0
            rows = behavior_sweep_store.count_events(tx, partition)
            if rule.after is After.SEVER:
                share_min = context.policy.jurisdictions.minimum_disclosure_size
                behavior_sweep_store.sever_events(
                    tx,
                    partition,
                    behavior_sweep_store.kept_of(tx, _properties_kept(context.policy)),
                    share_min=share_min,
                )
            if rule.hold is not None:
                while events := behavior_sweep_store.delete_and_return_events(tx, partition, rows_max):
                    hold_events(tx, context, events, now=now)
            behavior_sweep_store.drop_partition(tx, partition)
            fact = {
                "kind": "retention.dropped",
                "actor": "system",
                "retention_class": partition.retention_class,
                "month": partition.month.start.date().isoformat(),
                "rows": rows,
                **({"tally": {RESTRICTED_EVENTS: kept}} if kept else {}),
            }
            fact_store.append(tx, fact, now)
    except Exception as error:
        if is_conflict(error):
            return None
        raise
    return _MonthRows(rows, kept)


def _sweep_rows(context: Context, now: datetime, rows_max: int) -> list[SweepLine]:
    """Delete expired rows in chunks, and log how many."""
    lines = [
        SweepLine(task.table, "delete", sum(_chunks(context, task, rows_max)), task.reason)
        for task in sweep_tasks(context, now)
    ]
    tally = {line.table: line.rows for line in lines if line.rows}
    if tally:
        with context.database.transaction() as tx:
            fact_store.append(tx, {"kind": "sweep.run", "actor": "system", "tally": tally}, now)
    return lines


def _rows_due(tx: Transaction, context: Context, now: datetime) -> list[SweepLine]:
    """What `_sweep_rows` would delete."""
    return [SweepLine(task.table, "delete", task.count(tx), task.reason) for task in sweep_tasks(context, now)]


def _chunks(context: Context, task: SweepTask, rows_max: int) -> Iterator[int]:
    """The number of rows of each chunk, one transaction each, until one is not full."""
    size = min(rows_max, task.rows_max)
    rows = size
    while rows >= size:
        with context.database.transaction() as tx:
            rows = task.delete(tx, size)
        yield rows


def _month_lines(policy: Policy, months: Mapping[MonthPartition, _MonthRows]) -> list[SweepLine]:
    lines = []
    for partition, rows in months.items():
        rule: RetentionClass = policy.retention.classes[partition.retention_class]
        lines.append(SweepLine(EVENTS, rule.after.value, rows.ended, rule.reason, _month_name(partition)))
        if rows.kept:
            lines.append(SweepLine(RESTRICTED_EVENTS, "keep", rows.kept, KEEP_REASON, _month_name(partition)))
    return lines


def _month_name(partition: MonthPartition) -> str:
    return f"{partition.retention_class} {partition.month.year:04d}-{partition.month.month:02d}"


def _properties_kept(policy: Policy) -> dict[Term, dict[str, bool]]:
    """The properties that severed copies keep: numbers (rounded), booleans and terms of planned events; no instants."""
    coarse = {PropertyType.NUMBER: True, PropertyType.BOOLEAN: False, PropertyType.STRING: False}
    return {
        Term(EVENT_NAMES, name): {
            key: coarse[rule.type]
            for key, rule in plan.properties.items()
            if rule.keep.value == "plain" and rule.type in coarse
        }
        for name, plan in policy.events.events.items()
    }
