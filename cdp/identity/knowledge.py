"""What a run learns about identifiers and anchors from its steps, so that it starts over with it. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple


class FactKind(StrEnum):
    """What a fact says about its subject."""

    SHARED = "shared"
    """The identifier is shared: it links nobody."""
    AUTHORITY = "authority"
    """The guarded identifier is named with the authority `level`, so that no lower word links it."""
    TAKEN = "taken"
    """A conflict was decided by authority: no word of a lower one than `level` links the identifier any more."""
    ANCHOR = "anchor"
    """The anchor was stated with the authority `level`."""
    TRACED = "traced"
    """Who tied the identifier to its profile decides a conflict, so its recorded steps are needed."""


class Fact(NamedTuple):
    """One thing that a step proves about an identifier or an anchor; it holds for all other steps, earlier ones too."""

    kind: FactKind
    subject: int
    level: int = 0


STATED: Final = frozenset({FactKind.AUTHORITY, FactKind.ANCHOR})
"""Facts that follow from what was said alone; conflicts, of which the others tell, have to be decided again after one."""


@dataclass(frozen=True, slots=True)
class Knowledge:
    """Facts by kind; of several levels of one subject, the highest."""

    shared: frozenset[int] = frozenset()
    traced: frozenset[int] = frozenset()
    authority: dict[int, int] = field(default_factory=dict)
    anchors: dict[int, int] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether nothing has been learned."""
        return not (self.shared or self.traced or self.authority or self.anchors)

    @property
    def is_raised(self) -> bool:
        """Whether a higher authority took something, so that what lower words decided has to be decided again."""
        return bool(self.authority or self.anchors)

    @property
    def identifiers(self) -> frozenset[int]:
        """Every identifier that a fact is about."""
        return self.shared | self.traced | self.authority.keys()


def knowledge_of(facts: Iterable[Fact]) -> Knowledge:
    """The knowledge that these facts amount to."""
    shared: set[int] = set()
    traced: set[int] = set()
    authority: dict[int, int] = {}
    anchors: dict[int, int] = {}
    for kind, subject, level in facts:
        match kind:
            case FactKind.SHARED:
                shared.add(subject)
            case FactKind.TRACED:
                traced.add(subject)
            case FactKind.AUTHORITY | FactKind.TAKEN:
                authority[subject] = max(level, authority.get(subject, 0))
            case FactKind.ANCHOR:
                anchors[subject] = max(level, anchors.get(subject, 0))
    return Knowledge(frozenset(shared), frozenset(traced), authority, anchors)
