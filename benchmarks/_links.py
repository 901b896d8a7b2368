"""A link table compared with scipy: the cost of numbering identifiers, and of storing and permitting on top of it."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from random import Random
from threading import Event, Thread
from typing import Any, Final

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from benchmarks._shop import Shop, understood
from benchmarks._stage import Stopwatch, median, table
from cdp.accounting.model import State
from cdp.flows.context import Context
from cdp.flows.identity.link_table.table import PART_ROWS, LinkTableResult, Row, import_links
from cdp.flows.ingest.batch import Ingest
from cdp.sources.model import Source

Pair = tuple[int, int]
Baseline = Callable[[Sequence[Pair]], Callable[[], int]]
"""Prepares what is not measured, and returns what is measured, which returns the number of people."""

_MUST: Final = 30
_GOAL: Final = 10
_MESSAGE_EVERY: Final = 0.05
_TABLES: Final = (
    "identity.identifier",
    "vault.subject_key",
    "identity.edge",
    "identity.evidence",
    "identity.profile",
    "identity.link",
    "consent.permitted",
)


def draw(count: int, seed: int) -> list[Pair]:
    """People with up to five devices each, within every limit; some pairs are repeated."""
    random = Random(seed)
    return [(random.randrange(count // 2), random.randrange(5)) for _ in range(count)]


def rows_of(drawn: Sequence[Pair]) -> list[Row]:
    """The pairs as a file has them: two strings."""
    return [("user_id", f"u{one}", "anonymous_id", f"a{one}-{other}") for one, other in drawn]


class Import:
    """One import into an empty store: the time of each phase, and of the longest part, during which others wait."""

    def __init__(self, context: Context, source: Source, rows: Sequence[Row]) -> None:
        watches = _watches(context)
        self.phases: dict[str, float] = {}
        self.longest_part = 0.0
        self._last = time.perf_counter()
        self.linked: LinkTableResult = import_links(context, source, rows, progress=self._measure)
        spent = [watch.read() for watch in watches]
        self.wall, self.here = spent[0].wall, spent[0].here
        self.database = sum(part.database for part in spent)
        with context.database.transaction(read_only=True) as tx:
            self.rows_written = sum(tx.execute(f"SELECT count(*) FROM {name}")[0][0] for name in _TABLES)

    def _measure(self, what: str, _done: int, _whole: int) -> None:
        now = time.perf_counter()
        spent = now - self._last
        self._last = now
        if what == "linking":
            self.longest_part = max(self.longest_part, spent)
        self.phases[what] = self.phases.get(what, 0.0) + spent


def _watches(context: Context) -> list[Stopwatch]:
    """Stopwatches of both connections that an import uses: one writes, the other prepares."""
    with ExitStack() as stack:
        opened = [stack.enter_context(context.database.transaction()) for _ in range(2)]
        pids = [tx.raw.info.backend_pid for tx in opened]
    return [Stopwatch(pid) for pid in pids]


def compared(runs: Sequence[Import], drawn: Sequence[Pair]) -> str:
    """The medians of the imports, compared with scipy from three starting points."""
    first = runs[0].linked
    wall = median([run.wall for run in runs])
    processor = median([run.here + run.database for run in runs])
    rounds = max(3, len(runs))
    baselines = [
        ("the graph alone: numbers in arrays, in memory", _medians_of(_from_arrays, drawn, rounds, first.profiles)),
        ("numbered pairs in memory", _medians_of(_from_pairs, drawn, rounds, first.profiles)),
        ("the same rows: identifiers are numbered first", _medians_of(_from_rows, drawn, rounds, first.profiles)),
    ]
    summary = (
        f"{len(drawn):,} rows, {sum(first.states.values()):,} accounted, {first.identifiers:,} identifiers, "
        f"{first.profiles:,} people; {runs[0].rows_written:,} table rows durable in PostgreSQL. Median of {len(runs)}: {wall:.1f} s "
        f"elapsed, {median([run.here for run in runs]):.1f} s of processor time in this process and "
        f"{median([run.database for run in runs]):.1f} s in the database. The longest of the parts of {PART_ROWS:,} rows, "
        f"during which others wait, took {max(run.longest_part for run in runs):.1f} s. The budget is {_MUST} and the goal {_GOAL} "
        "times numbered pairs in memory."
    )
    heads = (
        "scipy's connected components from",
        "seconds",
        "processor seconds",
        "ratio of elapsed time",
        "ratio of processor time",
    )
    rows = [
        (name, f"{theirs:.2f}", f"{ran:.2f}", f"{wall / theirs:,.0f}", f"{processor / ran:,.0f}")
        for name, (theirs, ran) in baselines
    ]
    parts = [
        (what, f"{median([run.phases[what] for run in runs]):.1f}", f"{runs[0].phases[what] / runs[0].wall:.0%}")
        for what in runs[0].phases
    ]
    return f"{summary}\n\n{table(heads, rows)}\n\n{table(('part', 'seconds', 'share'), parts)}"


def beside_ingest(context: Context, source: Source, rows: Sequence[Row]) -> str:
    """How long single messages take while a table is imported."""
    ingest = Ingest(context.database, context.vault, context.policy, clock=context.clock, replay=context.replay)
    is_over = Event()
    waits: list[float] = []

    def send() -> None:
        for call in iter(lambda: next(calls), None):
            started = time.perf_counter()
            (outcome,) = ingest.process(understood([call], source))
            assert outcome.state is State.STORED
            waits.append((time.perf_counter() - started) * 1e3)
            if is_over.wait(_MESSAGE_EVERY):
                break

    calls = iter(Shop(500, seed=7).calls(100_000))
    sender = Thread(target=send)
    sender.start()
    try:
        import_links(context, source, rows)
    finally:
        is_over.set()
        sender.join()
    waits.sort()
    return (
        f"While {len(rows):,} rows were imported, {len(waits):,} single messages were stored one after another: half of them "
        f"within {median(waits):.0f} ms, all within {waits[-1]:,.0f} ms."
    )


def _medians_of(baseline: Baseline, drawn: Sequence[Pair], rounds: int, people: int) -> tuple[float, float]:
    """Elapsed seconds and processor seconds, as medians."""
    run = baseline(drawn)
    walls, processors = [], []
    for _ in range(rounds):
        started, ran = time.perf_counter(), time.process_time()
        found = run()
        walls.append(time.perf_counter() - started)
        processors.append(time.process_time() - ran)
        assert found == people
    return median(walls), median(processors)


def _from_arrays(drawn: Sequence[Pair]) -> Callable[[], int]:
    pairs = np.array(drawn)
    count = len(drawn)
    people, devices = pairs[:, 0], count // 2 + pairs[:, 0] * 5 + pairs[:, 1]
    return lambda: _components(people, devices, count // 2 * 6)


def _from_pairs(drawn: Sequence[Pair]) -> Callable[[], int]:
    def run() -> int:
        return _from_arrays(drawn)()

    return run


def _from_rows(drawn: Sequence[Pair]) -> Callable[[], int]:
    rows = rows_of(drawn)

    def run() -> int:
        numbers: dict[tuple[str, object], int] = {}
        ones = [numbers.setdefault(row[:2], len(numbers)) for row in rows]
        others = [numbers.setdefault(row[2:], len(numbers)) for row in rows]
        return _components(np.array(ones), np.array(others), len(numbers))

    return run


def _components(ones: "np.ndarray[Any, Any]", others: "np.ndarray[Any, Any]", size: int) -> int:
    """The number of components with an edge."""
    graph = coo_matrix((np.ones(len(ones), dtype=np.int8), (ones, others)), shape=(size, size))
    _, labels = connected_components(graph, directed=False)
    return len(np.unique(labels[ones]))
