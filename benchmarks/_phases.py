"""Where the time of the pipeline goes, by the parts that its journey is made of."""

import cProfile
import pstats
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from cdp.flows.ingest import batch
from cdp.flows.ingest.write import BatchWriter

_PARTS = (
    ("read: normalize and classify", "ingest.py", "_read"),
    ("pseudonyms and suppression", "ingest_load.py", "name_people"),
    ("find duplicates", "ingest_load.py", "find_duplicates"),
    ("find identifiers, anchors and groups", "ingest_load.py", "load_scene"),
    ("find records and verdicts", "ingest_load.py", "load_known"),
    ("remember who was met", "ingest_meet.py", "met_in"),
    ("resolve and judge", "resolve.py", "run"),
    ("write: new identifiers", "ingest_write.py", "_new_identifiers"),
    ("write: keys of subjects", "ingest_write.py", "_load_keys"),
    ("write: map and anchors", "ingest_write.py", "_write_map"),
    ("write: who was seen from where", "ingest_write.py", "_write_seen"),
    ("write: evidence", "ingest_write.py", "_write_evidence"),
    ("write: records and verdicts", "ingest_write.py", "_write_consent"),
    ("write: events, traits, duplicates", "ingest_write.py", "_write_events"),
    ("write: what follows", "ingest_write.py", "_follow"),
    ("accounting", "ingest_write.py", "account"),
)


def phases(take: Callable[[Any], None], messages: Sequence[Any]) -> list[tuple[str, float]]:
    """The share of each part in the wall time of taking these messages; parts that take under 1 % are left out."""
    profile = cProfile.Profile()
    profile.runcall(take, messages)
    stats = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    whole = sum(spent for (path, _, name), (_, _, _, spent, _) in stats.items() if _is(path, name, "ingest.py", "take"))
    found = []
    for told, file, function in _PARTS:
        spent = sum(
            cumulative for (path, _, name), (_, _, _, cumulative, _) in stats.items() if _is(path, name, file, function)
        )
        found.append((told, spent / whole))
    found.append(("the rest: connection, commit, audit", 1 - sum(share for _, share in found)))
    return sorted(((told, share) for told, share in found if share >= 0.01), key=lambda each: -each[1])


_RESOLUTION = ((batch, "load_scene"), (batch, "run"), (BatchWriter, "_write_map"), (BatchWriter, "_write_evidence"))
"""Finding identifiers, anchors and groups; deciding; writing the map; recording why."""


@contextmanager
def resolution() -> Iterator[list[float]]:
    """Add up the seconds on the wall that the block spends on who is who, database included, without a profiler."""
    spent = [0.0]
    before = [(place, name, getattr(place, name)) for place, name in _RESOLUTION]
    for place, name, part in before:
        setattr(place, name, _timed(part, spent))
    try:
        yield spent
    finally:
        for place, name, part in before:
            setattr(place, name, part)


def _timed(part: Callable[..., Any], spent: list[float]) -> Callable[..., Any]:
    def timed(*given: Any, **named: Any) -> Any:
        begun = time.perf_counter()
        try:
            return part(*given, **named)
        finally:
            spent[0] += time.perf_counter() - begun

    return timed


def _is(path: str, name: str, file: str, function: str) -> bool:
    folder = "identity" if file == "resolve.py" else "flows"
    return name == function and path.endswith(f"/cdp/{folder}/{file}")
