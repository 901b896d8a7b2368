"""What a replay file lacks of that which its database remembers. Pure.

A line may be gone for good reasons (`cdp.rights.replay_compaction`): a later one says as much, or no backup needs it.
"""

from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from cdp.rights.replay_file import Erased, Line, OptOut


@dataclass(frozen=True, slots=True)
class Lacking:
    """How many acts a replay file lacks, and when the first and the last of them were recorded; None without any."""

    count: int
    first_at: datetime | None
    last_at: datetime | None


class RememberedErasure(NamedTuple):
    """A fulfilled request for erasure."""

    request_id: int
    closed_at: datetime


class RememberedSuppression(NamedTuple):
    """A pseudonym of the suppression domain that is suppressed for every purpose, and until when."""

    pseudonym: bytes
    since: datetime
    until: datetime | None


class RememberedOptOut(NamedTuple):
    """A refusal, objection, or an act of a restriction in the ledger, as a line without its pseudonym."""

    line: OptOut
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class RememberedActs:
    """What a database remembers of erasures, suppressions and opt-outs."""

    erasures: Sequence[RememberedErasure]
    suppressions: Sequence[RememberedSuppression]
    opt_outs: Sequence[RememberedOptOut]


def lacking(lines: Iterable[Line], known: RememberedActs, *, restorable_since: datetime | None) -> RememberedActs:
    """What of `known` these lines do not contain.

    No backup from before `restorable_since` can be restored, so that lines from then are not needed.
    """
    requests: set[int] = set()
    pseudonyms: set[bytes] = set()
    latest: dict[Hashable, datetime] = {}
    for line in lines:
        if isinstance(line, Erased):
            requests.add(line.request_id)
            pseudonyms.update(line.pseudonyms)
        elif isinstance(line, OptOut):
            latest[_statement(line)] = max(line.occurred_at, latest.get(_statement(line), line.occurred_at))

    def is_needed(at: datetime) -> bool:
        return restorable_since is None or at >= restorable_since

    def is_contained(line: OptOut) -> bool:
        return (key := _statement(line)) in latest and latest[key] >= line.occurred_at

    return RememberedActs(
        [one for one in known.erasures if is_needed(one.closed_at) and one.request_id not in requests],
        [one for one in known.suppressions if is_needed(one.since) and one.pseudonym not in pseudonyms],
        [one for one in known.opt_outs if is_needed(one.recorded_at) and not is_contained(one.line)],
    )


def _statement(line: OptOut) -> Hashable:
    return line.identifier_id, line.purpose, line.act, line.authority


def summary(instants: Collection[datetime]) -> Lacking:
    """The number of instants, the first and the last."""
    return Lacking(len(instants), min(instants, default=None), max(instants, default=None))
