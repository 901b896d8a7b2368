"""The journey of a link table: many pairs of identifiers, resolved by parts.

A part is some ten thousand rows, whole groups of what hangs together in the table; it lands in one transaction, which
holds the lock only for itself, so messages get their turn between parts. While one part lands, the next is hashed,
looked up and sealed. Groups share nothing, so the table ends where it would end in one transaction, whatever the parts.
A row that was taken before, in this table or an earlier one, is not taken again.
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
from cdp.flows.identity.link_table.identifiers import GenerationLog, PreparedPart, prepare
from cdp.flows.identity.link_table.part import PartResult, process_part
from cdp.flows.identity.link_table.rows import Row, Table, cut, part_of, read_rows
from cdp.identity.components import Component
from cdp.identity.normalize import IdentifierReader
from cdp.kit.db import Transaction, is_conflict
from cdp.kit.gc import collector_paused
from cdp.sources.model import Source

__all__ = ["PART_ROWS", "LinkTableResult", "PartResult", "Row", "import_links"]

Progress = Callable[[str, int, int], None]
"""Called with the work under way, how much of it is done, and how much there is (0: not known)."""

PART_ROWS: Final = 20_000
_TRIES: Final = 3


class LinkTableJob(Protocol):
    """What an import of a file keeps of its progress, so that another run can go on.

    `note` is called in the transaction of each part, with how many edges of the table are done once it commits, and
    `finish` in the last one, with what was no link. `edges_done` are left out.
    """

    @property
    def import_job_id(self) -> int: ...

    @property
    def edges_done(self) -> int: ...

    def note(self, tx: Transaction, edges_done: int, landed: PartResult) -> None: ...

    def finish(self, tx: Transaction, invalid: Mapping[tuple[State, str], int]) -> None: ...


@dataclass(frozen=True, slots=True)
class LinkTableResult:
    """What a link table came to.

    `states` counts its rows, `reasons` those that were not taken, `rows` gives the first numbers of what could not
    be read; `plain` and `bounded` count groups of what hangs together, by the road that they took.
    """

    states: Mapping[str, int]
    reasons: Mapping[str, int]
    rows: Mapping[str, Sequence[int]]
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
    """Take a link table part by part; each part lands whole or not at all.

    A row that is a text is one that could not be read, and the text is the reason. A row whose people no purpose
    permits is counted and not stored, like a message; a row that was taken before is a duplicate. What is returned is
    about the rows that no earlier run of the job had landed.
    """
    tell = progress or (lambda _what, _done, _total: None)
    with collector_paused():
        table = read_rows(IdentifierReader(context.policy.identifiers), rows)
        tell("reading", 1, 1)
        groups = table.groups()
        tell("joining", 1, 1)
        trail = GenerationLog()
        landings: list[PartResult] = []
        for prepared in _prepared(
            context, table, groups, part_rows=part_rows, skip=job.edges_done if job is not None else 0
        ):
            landings.append(_land(context, source, prepared, trail=trail, job=job, actor=actor))
            tell("linking", prepared.part.edges_after, len(table.ones))
        invalid = {(State.INVALID, reason): count for reason, count in table.invalid.items()}
        with context.database.transaction() as tx:
            _finish(tx, context, source, invalid=invalid, actor=actor)
            if job is not None:
                job.finish(tx, invalid)
        return _linked(table, landings, invalid)


def _prepared(
    context: Context, table: Table, groups: Sequence[Component], *, part_rows: int, skip: int
) -> Iterator[PreparedPart]:
    """The parts in order, each made ready while its predecessor lands."""

    def ready(first: int, last: int, before: int) -> PreparedPart:
        return prepare(context, part_of(table, groups[first:last], before))

    cuts = list(cut(groups, part_rows, skip=skip))
    with ThreadPoolExecutor(1, "links") as pool:
        waiting = [pool.submit(ready, *each) for each in cuts[:1]]
        for each in cuts[1:]:
            prepared = waiting.pop().result()
            waiting.append(pool.submit(ready, *each))
            yield prepared
        for last in waiting:
            yield last.result()


def _land(
    context: Context,
    source: Source,
    prepared: PreparedPart,
    *,
    trail: GenerationLog,
    job: LinkTableJob | None,
    actor: str,
) -> PartResult:
    """Take a part; a race that was lost is run again, and what was seen before is looked at again."""
    import_job_id = None if job is None else job.import_job_id
    for left in reversed(range(_TRIES)):
        try:
            with context.database.transaction() as tx:
                landed = process_part(
                    tx,
                    context,
                    source,
                    prepared=prepared,
                    trail=trail,
                    import_job_id=import_job_id,
                    actor=actor,
                    look_again=left < _TRIES - 1,
                )
                if job is not None:
                    job.note(tx, prepared.part.edges_after, landed)
                return landed
        except Exception as error:
            if not left or not is_conflict(error):
                raise
    raise AssertionError


def _finish(
    tx: Transaction, context: Context, source: Source, *, invalid: Mapping[tuple[State, str], int], actor: str
) -> None:
    if invalid:
        now = context.clock.now()
        counts = {(source.source_id, state, reason): number for (state, reason), number in invalid.items()}
        add_accounting(tx, hour_of(now), counts)
        states = {State.INVALID.value: sum(invalid.values())}
        fact_store.append(tx, {"kind": "ingest.batch", "actor": actor, "states": states}, now)


def _linked(table: Table, landings: Sequence[PartResult], invalid: Mapping[tuple[State, str], int]) -> LinkTableResult:
    ended: Counter[tuple[State, str]] = Counter(invalid)
    for landed in landings:
        ended.update(landed.states)
    states: Counter[str] = Counter()
    for (state, _), count in ended.items():
        states[state.value] += count
    return LinkTableResult(
        dict(states),
        {f"{state.value}: {reason}": count for (state, reason), count in ended.items() if reason},
        table.named,
        sum(landed.identifiers for landed in landings),
        sum(landed.profiles for landed in landings),
        sum(landed.plain for landed in landings),
        sum(landed.bounded for landed in landings),
    )
