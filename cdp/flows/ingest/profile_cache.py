"""People whom this process met before: what it read about them, kept as long as the store says that nothing changed.

The rule: the store moves `identity.generation.version` on in every transaction that changes or takes away an anchor, an
owner, a verdict or a suppression (`cdp.schema.version`), whoever does it. Every batch reads the version under the
exclusive lock; so if it is the one under which something was read, reading it again would give the same.
A verdict is kept with its instants, and held against those of each message.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cdp.consent.model import Verdict
from cdp.flows.ingest.stages import CachedProfile, Work
from cdp.identity.model import Identifier
from cdp.identity.store.anchors import StoredAnchor
from cdp.identity.store.generation import Advanced
from cdp.identity.store.profiles import StoredProfile

_FAMILIARS_MAX: Final = 20_000
_NEVER: Final = -1


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """What a batch read about the people of one of its works."""

    work: Work
    anchor: StoredAnchor
    profile: StoredProfile
    verdicts: Mapping[str, Verdict]


class ProfileCache:
    """The people met, by the identifiers that their messages carry; those met first go first when there are too many.

    It holds identifiers as they are, so it is emptied when anybody else changed anything, and when keys are dropped from
    memory: nobody erased stays in it.
    """

    def __init__(self, *, most: int = _FAMILIARS_MAX) -> None:
        self._most = most
        self._known: dict[tuple[Identifier, ...], CachedProfile] = {}
        self._changed: dict[int, int] = {}
        self._version = _NEVER
        self._batch = 0
        self.recognized = 0
        """How many messages were recognized since the start."""

    def __len__(self) -> int:
        return len(self._known)

    @property
    def version(self) -> int:
        """The version of the store under which everything here was read."""
        return self._version

    def evict_profiles(self) -> None:
        """Keep nobody; what was read is not doubted."""
        self._known.clear()

    def begin(self, version: int) -> bool:
        """A batch begins, which read this version under the lock; True when what the process keeps may be wrong."""
        self._batch += 1
        if version == self._version:
            return False
        self.drop_all()
        self._version = version
        return True

    def drop_all(self) -> None:
        """Keep nothing of what was read until now, and distrust what else the process keeps."""
        self._known.clear()
        self._changed.clear()
        self._version = _NEVER

    def find(self, work: Work) -> CachedProfile | None:
        """What is known of the people of a message; None sends it to the store."""
        found = self._known.get(work.identifiers)
        if found is None or work.affects_verdicts or work.message.kind == "alias":
            return None
        if int(work.message.source.source_id) not in found.anchor.sources:
            return None
        if self._changed.get(found.profile.profile_id, 0) >= found.met:
            return None
        self.recognized += 1
        return found

    def end(self, advanced: Advanced, touched: Collection[int] | None, met: Sequence[CacheEntry]) -> None:
        """The batch is on disk. If it moved the version itself, nothing read before holds for the profiles touched.

        `touched` is None where that may be anybody.
        """
        if advanced.version != self._version + advanced.is_moved:
            self.drop_all()
            return
        self._version = advanced.version
        if advanced.is_moved and (touched is None or len(self._changed) > self._most):
            self._known.clear()
            self._changed.clear()
        if advanced.is_moved:
            self._changed.update(dict.fromkeys(touched or (), self._batch))
        if advanced.is_moved and touched is None:
            return
        for each in met:
            self._keep(each)

    def _keep(self, each: CacheEntry) -> None:
        key = each.work.identifiers
        if len(self._known) >= self._most and key not in self._known:
            del self._known[next(iter(self._known))]
        self._known[key] = CachedProfile(
            each.work.members, each.work.digest, each.anchor, each.profile, each.verdicts, self._batch
        )
