"""Where the time of the ingest pipeline goes, by the parts that it consists of."""

import cProfile
import pstats
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from cdp.flows.ingest import process as process_module
from cdp.flows.ingest import write, write_identity

_PARTS = (
    ("read: normalize and classify", "flows/ingest/batch.py", "_read"),
    ("pseudonyms and suppression", "flows/ingest/screen.py", "hash_identifiers"),
    ("find duplicates", "flows/ingest/screen.py", "find_duplicates"),
    ("find identifiers, anchors and groups", "flows/ingest/load.py", "identify"),
    ("find records and verdicts", "flows/ingest/load_consent.py", "load_consent_inputs"),
    ("cache profiles", "flows/ingest/cacheable.py", "cacheable"),
    ("resolve and decide", "identity/resolve.py", "run"),
    ("write: new identifiers", "flows/ingest/write_identity.py", "_new_identifiers"),
    ("write: keys of subjects", "flows/ingest/write_identity.py", "_load_keys"),
    ("write: mapping and anchors", "flows/ingest/write_identity.py", "write_mapping"),
    ("write: identifiers and sources seen", "flows/ingest/write_identity.py", "_write_seen"),
    ("write: evidence", "flows/ingest/write_evidence.py", "write_evidence"),
    ("write: records and verdicts", "flows/ingest/write_consent.py", "write_consent"),
    ("write: events, traits, duplicates", "flows/ingest/write_events.py", "write_events"),
    ("write: derived data", "flows/ingest/write_consent.py", "update_followers"),
    ("accounting", "flows/ingest/account.py", "account"),
)


# Per function (file, line, name): calls, primitive calls, own and cumulative seconds, callers.
_Stats = dict[tuple[str, int, str], tuple[int, int, float, float, object]]


def phases(process: Callable[[Any], None], messages: Sequence[Any]) -> list[tuple[str, float]]:
    """The share of each part in the wall time of processing these messages; parts that take under 1 % are left out."""
    profile = cProfile.Profile()
    profile.runcall(process, messages)
    stats: _Stats = pstats.Stats(profile).stats  # type: ignore[attr-defined]

    def spent(file: str, function: str) -> float:
        return sum(
            cumulative
            for (path, _, name), (_, _, _, cumulative, _) in stats.items()
            if name == function and path.endswith(f"/cdp/{file}")
        )

    whole = spent("flows/ingest/batch.py", "process")
    shares = [(part, spent(file, function) / whole) for part, file, function in _PARTS]
    shares.append(("the rest: connection, commit, audit", 1 - sum(share for _, share in shares)))
    return sorted(((part, share) for part, share in shares if share >= 0.01), key=lambda row: -row[1])


_RESOLUTION = (
    (process_module, "identify"),
    (process_module, "run"),
    (write_identity, "write_mapping"),
    (write, "write_evidence"),
)
"""Finding identifiers, anchors and groups; deciding; writing the mapping; recording the evidence."""


@contextmanager
def resolution() -> Iterator[list[float]]:
    """Add up the wall seconds that the block spends on identity resolution, database included, without a profiler."""
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
    def timed(*arguments: Any, **named: Any) -> Any:
        begun = time.perf_counter()
        try:
            return part(*arguments, **named)
        finally:
            spent[0] += time.perf_counter() - begun

    return timed
