"""What the process remembers between batches about what is stored, so that it is not written again."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from cdp.behavior.traits import TraitPlan

_ENTRIES_MAX: Final = 400_000


@dataclass(frozen=True, slots=True)
class WriterCache:
    """What holds for every batch: the bit masks of purposes, the compiled traits, and what is known to be stored.

    `anchor_sources` are (anchor, source) pairs that are stored; `seen_on` is a day on which identifiers are stored as
    seen. Entries never become invalid: an id that is erased is never used again.
    """

    masks: Mapping[str, int]
    traits: TraitPlan
    anchor_sources: set[tuple[int, int]] = field(default_factory=set)
    seen_on: dict[int, date] = field(default_factory=dict)

    def keep(self, anchor_sources: Collection[tuple[int, int]], identifier_ids: Collection[int], day: date) -> None:
        """Remember what a committed batch stored."""
        if len(self.anchor_sources) + len(self.seen_on) > _ENTRIES_MAX:
            self.anchor_sources.clear()
            self.seen_on.clear()
        self.anchor_sources.update(anchor_sources)
        self.seen_on.update(dict.fromkeys(identifier_ids, day))
