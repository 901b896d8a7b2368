"""Where the time of the pipeline goes, by the parts that its journey is made of."""

import cProfile
import pstats
from collections.abc import Callable, Sequence
from typing import Any

_PARTS = (
    ("read: normalize and classify", "ingest.py", "_read"),
    ("pseudonyms and suppression", "ingest_load.py", "name_people"),
    ("find duplicates", "ingest_load.py", "find_duplicates"),
    ("find identifiers, anchors and groups", "ingest_load.py", "load_scene"),
    ("find records and verdicts", "ingest_load.py", "load_known"),
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


def _is(path: str, name: str, file: str, function: str) -> bool:
    folder = "identity" if file == "resolve.py" else "flows"
    return name == function and path.endswith(f"/cdp/{folder}/{file}")
