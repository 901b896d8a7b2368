"""Which lines of the replay file are still needed. Pure.

A line is needed as long as a backup can be restored that does not contain its effect, and no later line has the same.
What is kept of an erased identifier is exactly one line, its erasure; of one that ended otherwise, one line per purpose
that it refused, which restores the refusal or, where the identifier is unknown, suppresses the purpose.
"""

from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cdp.rights.replay_file import Erased, Line, Numbered, OptOut

CLOCKS_DIFFER: Final = timedelta(days=1)
"""How far the clocks of services and of the database may be apart: a line is kept so much longer."""

_OF_RESTRICTION: Final = ("restrict", "release")
_STRONGEST: Final = ("signal", "device", "imported", "operator", "authenticated")


@dataclass(frozen=True, slots=True)
class Compaction:
    """The lines to keep, and the highest number among those that are dropped because no backup needs them (0: none)."""

    kept: tuple[Numbered, ...]
    forgotten: int


def compact(lines: Sequence[Numbered], *, known: Collection[int], restorable_since: datetime | None) -> Compaction:
    """The lines that are still needed.

    `known` are the identifiers that the database has. No backup from before `restorable_since` can be restored, because
    the keys of its epoch are destroyed; None if every backup can.
    """
    unneeded = {line.number for line in lines if restorable_since and line.at + CLOCKS_DIFFER < restorable_since}
    needed: Sequence[Numbered] = [line for line in lines if line.number not in unneeded]
    needed = _last_of_each(needed, _erasure)
    needed = _without_erased(needed)
    needed = _last_of_each(needed, _statement)
    return Compaction(tuple(_strongest_of_ended(needed, known)), max(unneeded, default=0))


def opt_out_identifiers(lines: Iterable[Numbered]) -> set[int]:
    """The identifiers that opt-outs of these lines name."""
    return {numbered.line.identifier_id for numbered in lines if isinstance(numbered.line, OptOut)}


def _erasure(line: Line) -> Hashable | None:
    """What is the same in two lines of one erasure: it was tried again after a transaction that did not commit."""
    return line if isinstance(line, Erased) else None


def _statement(line: Line) -> Hashable | None:
    """What is the same in two opt-outs of which the later one says as much as the earlier one."""
    if not isinstance(line, OptOut):
        return None
    return line.identifier_id, line.pseudonym, line.purpose, line.act, line.authority, line.jurisdiction, line.signal


def _last_of_each(lines: Sequence[Numbered], same: Callable[[Line], Hashable | None]) -> list[Numbered]:
    """The lines without those that a later one repeats, at the same or a later instant."""
    latest: dict[Hashable, datetime] = {}
    kept = []
    for numbered in reversed(lines):
        key = same(numbered.line)
        if key is not None:
            at = numbered.line.occurred_at if isinstance(numbered.line, OptOut) else numbered.at
            if key in latest and latest[key] >= at:
                continue
            latest[key] = max(at, latest.get(key, at))
        kept.append(numbered)
    return kept[::-1]


def _without_erased(lines: Sequence[Numbered]) -> list[Numbered]:
    """The lines without the opt-outs of identifiers that a later line erases and suppresses for good."""
    erased: set[int] = set()
    suppressed: set[bytes] = set()
    kept = []
    for numbered in reversed(lines):
        line = numbered.line
        if isinstance(line, Erased):
            erased.update(line.identifiers)
            suppressed.update(line.pseudonyms if line.until is None else ())
        elif isinstance(line, OptOut) and line.identifier_id in erased and line.pseudonym in suppressed:
            continue
        kept.append(numbered)
    return kept[::-1]


def _strongest_of_ended(lines: Sequence[Numbered], known: Collection[int]) -> list[Numbered]:
    """The lines with only the strongest opt-out of each purpose of an identifier that the database has no more."""
    strongest: dict[Hashable, tuple[bool, bool, int, datetime, bool, int]] = {}
    for numbered in lines:
        if (ended := _ended(numbered.line, known)) is not None:
            key, opt_out = ended
            strongest[key] = max(strongest.get(key, _rank(numbered, opt_out)), _rank(numbered, opt_out))
    return [
        numbered
        for numbered in lines
        if (ended := _ended(numbered.line, known)) is None or strongest[ended[0]] == _rank(numbered, ended[1])
    ]


def _ended(line: Line, known: Collection[int]) -> tuple[Hashable, OptOut] | None:
    """What an opt-out of an identifier that the database has no more is about, and the opt-out; None for other lines."""
    if not isinstance(line, OptOut) or line.identifier_id in known:
        return None
    return (line.identifier_id, line.pseudonym, line.purpose, line.act in _OF_RESTRICTION), line


def _rank(numbered: Numbered, line: OptOut) -> tuple[bool, bool, int, datetime, bool, int]:
    """How hard an opt-out is to override, then how late it is. Of a restriction only the last act counts, of any authority."""
    if line.act in _OF_RESTRICTION:
        return False, False, 0, line.occurred_at, line.act == "restrict", numbered.number
    authority = _STRONGEST.index(line.authority) if line.authority in _STRONGEST else -1
    return line.act == "object", bool(line.signal), authority, line.occurred_at, False, numbered.number
