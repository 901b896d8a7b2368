"""The recorded history of a run: what clients sent, and what they were answered.

As in Jepsen, an act ends in one of three ways: it was acknowledged, it certainly did not happen, or nobody knows.
"""

import json
import threading
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Self


class Outcome(StrEnum):
    """What a client knows of an act."""

    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    """It did not happen: nothing was sent, or the answer says that the request is wrong."""
    UNKNOWN = "unknown"
    """It may have happened: a failure was answered, or the connection ended before the answer."""


class Kind(StrEnum):
    """What an act does."""

    SEND = "send"
    IMPORT = "import"
    CONSENT = "consent"
    SIGNAL = "signal"
    """A refusal that comes with a message."""
    VERDICT = "verdict"
    """A read of whether a purpose is permitted."""
    ERASE = "erase"
    MEMBERS = "members"
    HEAD = "head"
    """A read of the log's signed head."""


@dataclass(frozen=True, slots=True)
class Act:
    """One act of one client. Acts of one subject are sent one after another, in the order of their numbers.

    `messages` are message ids that it sent; `is_order` tells that they are orders, which a segment counts. `choice` is what
    a consent act chose, or what a verdict read. `record` is the id that was answered: of a consent record, of a request.
    `head` is a size of the log with its root.
    """

    number: int
    round: int
    kind: Kind
    subject: str
    outcome: Outcome
    service: str = ""
    source: str = ""
    messages: tuple[str, ...] = ()
    is_order: bool = False
    purpose: str = ""
    choice: bool | None = None
    record: str = ""
    head: tuple[int, str] | None = None
    status: int = 0
    lags: bool = False
    """The clock was behind instants at which acts are recorded: grants count, and orders for them, once it has passed these."""

    @classmethod
    def read(cls, entry: dict[str, Any]) -> Self:
        """The act of a line of a written history."""
        act = cls(**entry)
        head = None if act.head is None else (int(act.head[0]), str(act.head[1]))
        kind, outcome = Kind(act.kind), Outcome(act.outcome)
        return replace(act, kind=kind, outcome=outcome, messages=tuple(act.messages), head=head)


@dataclass(slots=True)
class History:
    """All acts of a run, recorded by several clients."""

    seed: int
    acts: list[Act] = field(default_factory=list)
    faults: list[tuple[int, str]] = field(default_factory=list)
    """The faults of each round."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)
    _number: int = 0
    _counts: Counter[tuple[int, Outcome]] = field(default_factory=Counter, repr=False, compare=False)
    """Acts by round and outcome, without reads that were acknowledged: asked for a hundred times a second."""

    def __post_init__(self) -> None:
        for act in self.acts:
            self._count(act)

    def begin(self) -> int:
        """The number of the next act, taken before it is sent."""
        with self._lock:
            self._number += 1
            return self._number

    def record(self, act: Act) -> None:
        """Add an act that has ended."""
        with self._lock:
            self.acts.append(act)
            self._count(act)

    def _count(self, act: Act) -> None:
        if act.kind not in READS or act.outcome is not Outcome.ACKNOWLEDGED:
            self._counts[act.round, act.outcome] += 1

    def acknowledged(self, round_: int | None = None) -> int:
        """How many acts were acknowledged, in all rounds or in one; reads do not count."""
        with self._lock:
            if round_ is not None:
                return self._counts[round_, Outcome.ACKNOWLEDGED]
            return sum(count for (_, outcome), count in self._counts.items() if outcome is Outcome.ACKNOWLEDGED)

    def unknown(self, round_: int) -> int:
        """How many acts of a round failed or were not answered."""
        with self._lock:
            return self._counts[round_, Outcome.UNKNOWN]

    def write(self, path: Path) -> None:
        """Write the history as JSON Lines: the seed and the faults, then each act."""
        first = {"seed": self.seed, "faults": self.faults}
        lines = [first, *(asdict(act) for act in sorted(self.acts, key=lambda act: act.number))]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a written history."""
        first, *rest = map(json.loads, path.read_text().splitlines())
        acts = [Act.read(entry) for entry in rest]
        return cls(first["seed"], acts, [(int(round_), str(fault)) for round_, fault in first["faults"]])


READS = frozenset({Kind.VERDICT, Kind.MEMBERS, Kind.HEAD})
