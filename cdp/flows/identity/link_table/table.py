"""Import a link table: many pairs of identifiers, resolved part by part.

A part has some ten thousand rows: whole connected groups of the table. It is processed in one transaction, and the lock
is held for one part only, so that messages are processed between parts. While one part is processed, the next one is
prepared. Groups have no identifier in common, so the result does not depend on the division into parts.
A row that is recorded already, from this table or an earlier one, is a duplicate.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Protocol

from cdp.accounting.model import State
from cdp.accounting.store.messages import add_accounting, hour_of
from cdp.audit.store import facts as fact_store
from cdp.flows.context import Context
from cdp.flows.identity.link_table.identifiers import (
    GenerationLog,
    LinkTableSnapshot,
    PreparedPart,
    load_snapshot,
    name_identifiers,
)
from cdp.flows.identity.link_table.part import PartResult, process_part
from cdp.flows.identity.link_table.rows import ROWS_LISTED_MAX, Part, Row, Table, divide, part_of, read_rows
from cdp.identity.components import Component
from cdp.identity.normalize import IdentifierReader
from cdp.identity.store import generation as generation_store
from cdp.kit.db import Transaction
from cdp.kit.db_faults import is_conflict
from cdp.kit.errors import Fault
from cdp.kit.gc import collector_paused
from cdp.sources.model import Source

__all__ = ["PART_ROWS", "LinkTableResult", "PartResult", "Row", "import_links"]

Progress = Callable[[str, int, int], None]
"""Called with the current stage, how much of it is done, and the total (0 if unknown)."""

PART_ROWS: Final = 20_000
_TRIES: Final = 3


class LinkTableJob(Protocol):
    """The recorded progress of the import of a file, from which another run can resume.

    The first `edges_done` edges are skipped. `note` is called in the transaction of each part, with the number of edges
    that are done once it commits, and `finish` in the last one, with the counts of invalid rows.
    """

    @property
    def import_job_id(self) -> int: ...

    @property
    def edges_done(self) -> int: ...

    def note(self, tx: Transaction, edges_done: int, result: PartResult) -> None: ...

    def finish(self, tx: Transaction, invalid: Mapping[tuple[State, str], int]) -> None: ...


@dataclass(frozen=True, slots=True)
class LinkTableResult:
    """The result of the import of a link table.

    `states` counts its rows by state, `reasons` those that were not stored; `rows` has the first numbers of invalid
    and of refused rows by reason. `identifiers` and `profiles` count those of the stored groups. `plain` counts the groups in which no
    rule could break, `bounded` those that went through the sequential rules.
    """

    states: Mapping[str, int]
    reasons: Mapping[str, int]
    rows: dict[str, Sequence[int]]
    identifiers: int
    profiles: int
    plain: int
    bounded: int


def import_links(
    context: Context,
    source: Source,
    rows: Iterable[Row | str],
    *,
    actor: str = "operator",
    part_rows: int = PART_ROWS,
    job: LinkTableJob | None = None,
    progress: Progress | None = None,
) -> LinkTableResult:
    """Import a link table part by part; each part is stored completely or not at all.

    A row that is a string could not be read, and the string is the reason. A row of a group that no purpose permits is
    counted and not stored, like a message; one that a rule refused is recorded and links nothing; a row that is recorded
    already is a duplicate. The result covers the rows
    that earlier runs of the job have not processed.
    """
    report = progress or (lambda _what, _done, _total: None)
    with collector_paused():
        table = read_rows(IdentifierReader(context.policy.identifiers), rows)
        report("reading", 1, 1)
        groups = table.groups()
        report("joining", 1, 1)
        log = GenerationLog()
        results: list[PartResult] = []
        for prepared in _prepared(
            context, table, groups, part_rows=part_rows, skip=job.edges_done if job is not None else 0
        ):
            results.append(_process(context, source, prepared, log=log, job=job, actor=actor))
            report("linking", prepared.part.edges_after, len(table.ones))
        invalid = {(State.INVALID, reason): count for reason, count in table.invalid.items()}
        with context.database.transaction() as tx:
            _finish(tx, context, source, invalid=invalid, actor=actor)
            if job is not None:
                job.finish(tx, invalid)
        return _combined(table, results, invalid)


def _prepared(
    context: Context, table: Table, groups: Sequence[Component], *, part_rows: int, skip: int
) -> Iterator[PreparedPart]:
    """The parts in order, each prepared while its predecessor is processed."""

    def prepare(first: int, last: int, before: int) -> PreparedPart:
        return _prepare(context, part_of(table, groups[first:last], before))

    cuts = list(divide(groups, part_rows, skip=skip))
    with ThreadPoolExecutor(1, "links") as pool:
        waiting = [pool.submit(prepare, *bounds) for bounds in cuts[:1]]
        for bounds in cuts[1:]:
            prepared = waiting.pop().result()
            waiting.append(pool.submit(prepare, *bounds))
            yield prepared
        for last in waiting:
            yield last.result()


def _prepare(context: Context, part: Part) -> PreparedPart:
    """Load the snapshot of a part, and create ids, keys and sealed values for identifiers that are not stored."""
    try:
        snapshot, epoch_id = _snapshot(context, part)
    except Fault:  # a rotation may just have destroyed a version of the key; a new transaction sees the active ones
        snapshot, epoch_id = _snapshot(context, part)
    positions = snapshot.unknown_positions(part)
    return PreparedPart(part, snapshot, name_identifiers(context.vault, epoch_id, part, positions=positions))


def _snapshot(context: Context, part: Part) -> tuple[LinkTableSnapshot, int]:
    with context.database.transaction(read_only=True) as tx:
        generation = generation_store.generation(tx)
        snapshot = load_snapshot(tx, context, part, generation=generation, now=context.clock.now())
        return snapshot, context.vault.epochs.active(tx)


def _process(
    context: Context,
    source: Source,
    prepared: PreparedPart,
    *,
    log: GenerationLog,
    job: LinkTableJob | None,
    actor: str,
) -> PartResult:
    """Process a part in one transaction; after a conflict, try again with a new snapshot, up to three times in all."""
    import_job_id = None if job is None else job.import_job_id
    for left in reversed(range(_TRIES)):
        try:
            with context.database.transaction() as tx:
                result = process_part(
                    tx,
                    context,
                    source,
                    prepared=prepared,
                    log=log,
                    import_job_id=import_job_id,
                    actor=actor,
                    reload=left < _TRIES - 1,
                )
                if job is not None:
                    job.note(tx, prepared.part.edges_after, result)
                return result
        except Exception as error:
            if not left or not is_conflict(error):
                raise
    raise AssertionError("the last try returns or raises")


def _finish(
    tx: Transaction, context: Context, source: Source, *, invalid: Mapping[tuple[State, str], int], actor: str
) -> None:
    if invalid:
        now = context.clock.now()
        counts = {(source.source_id, state, reason): number for (state, reason), number in invalid.items()}
        add_accounting(tx, hour_of(now), counts)
        states = {State.INVALID.value: sum(invalid.values())}
        fact_store.append(tx, {"kind": "ingest.batch", "actor": actor, "states": states}, now)


def _combined(table: Table, results: Sequence[PartResult], invalid: Mapping[tuple[State, str], int]) -> LinkTableResult:
    counts: Counter[tuple[State, str]] = Counter(invalid)
    for result in results:
        counts.update(result.states)
    states: Counter[str] = Counter()
    for (state, _), count in counts.items():
        states[state.value] += count
    return LinkTableResult(
        dict(states),
        {f"{state.value}: {reason}": count for (state, reason), count in counts.items() if reason},
        {**table.listed, **_refused_rows(results)},
        sum(result.identifiers for result in results),
        sum(result.profiles for result in results),
        sum(result.plain for result in results),
        sum(result.bounded for result in results),
    )


def _refused_rows(results: Sequence[PartResult]) -> dict[str, list[int]]:
    """The first numbers of the rows that a rule refused, by reason."""
    rows: dict[str, list[int]] = {}
    for result in results:
        for rule, numbers in result.refused.items():
            rows.setdefault(f"{State.REFUSED.value}: {rule.value}", []).extend(numbers)
    return {reason: sorted(numbers)[:ROWS_LISTED_MAX] for reason, numbers in rows.items()}
