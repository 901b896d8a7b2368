"""Profiles that this process read in earlier batches, kept as long as the store is known not to have changed them.

The rule: the store advances `identity.generation.version` in every transaction that changes or deletes an anchor, an
owner, a verdict or a suppression (`cdp.schema.version`), in whichever process. Every batch reads the version under the
exclusive lock; so if it is the one under which an entry was read, reading it again would give the same.
A verdict is kept with its instants, which are compared with those of each message.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from cdp.consent.in_effect import GrantsInEffect
from cdp.consent.model import Verdict
from cdp.flows.ingest.stages import CachedProfile, IdentifiedMessage, ReadMessage
from cdp.identity.model import Identifier
from cdp.identity.store.anchors import StoredAnchor
from cdp.identity.store.generation import Advanced
from cdp.identity.store.profiles import StoredProfile
from cdp.sources.model import SourceKind

_PROFILES_MAX: Final = 20_000
_NEVER: Final = -1


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """The profile of one message, as a batch read or created it."""

    message: IdentifiedMessage
    anchor: StoredAnchor
    profile: StoredProfile
    verdicts: Mapping[str, Verdict]
    is_known_to_others: bool
    grants: Mapping[int, GrantsInEffect] = field(default_factory=dict)


_CacheKey = tuple[tuple[Identifier, ...], bool]


def _key_of(message: ReadMessage) -> _CacheKey:
    """The same identifiers can have another anchor where a browser names them."""
    return message.identifiers, message.message.source.kind is SourceKind.BROWSER


class ProfileCache:
    """Profiles by the identifiers that their messages carry; the oldest entries are evicted when there are too many.

    It holds identifiers in plain text, so it is emptied when another process changed anything, and when keys are evicted
    from memory: nobody who is erased stays in it.
    """

    def __init__(self, *, profiles_max: int = _PROFILES_MAX) -> None:
        self._profiles_max = profiles_max
        self._profiles: dict[_CacheKey, CachedProfile] = {}
        self._changed: dict[int, int] = {}
        self._version = _NEVER
        self._batch = 0
        self.recognized = 0
        """How many messages were answered from the cache since the start."""

    def __len__(self) -> int:
        return len(self._profiles)

    @property
    def version(self) -> int:
        """The version of the store under which every entry was read."""
        return self._version

    def evict_profiles(self) -> None:
        """Drop every entry; the version stays valid."""
        self._profiles.clear()

    def begin(self, version: int) -> bool:
        """Start a batch that read this version under the lock; True when what the process holds may be out of date."""
        self._batch += 1
        if version == self._version:
            return False
        self.drop_all()
        self._version = version
        return True

    def drop_all(self) -> None:
        """Drop every entry and the version, so that the next batch begins with everything out of date."""
        self._profiles.clear()
        self._changed.clear()
        self._version = _NEVER

    def find(self, message: ReadMessage) -> CachedProfile | None:
        """The profile of a message; None when it must be read from the store.

        Whether the consent signals of the message change anything is for the caller to find out.
        """
        cached = self._profiles.get(_key_of(message))
        if cached is None or message.states_age or message.message.kind == "alias":
            return None
        if message.signals.acts and not cached.grants:
            return None
        if int(message.message.source.source_id) not in cached.anchor.sources:
            return None
        if self._changed.get(cached.profile.profile_id, 0) >= cached.read_in:
            return None
        return cached

    def end(self, advanced: Advanced, touched: Collection[int] | None, entries: Sequence[CacheEntry]) -> None:
        """Take the entries of a committed batch. If it advanced the version itself, older ones of profiles that it
        touched are no longer valid.

        `touched` is None where that may be any profile.
        """
        if advanced.version != self._version + advanced.is_moved:
            self.drop_all()
            return
        self._version = advanced.version
        if advanced.is_moved and (touched is None or len(self._changed) > self._profiles_max):
            self._profiles.clear()
            self._changed.clear()
        if advanced.is_moved:
            self._changed.update(dict.fromkeys(touched or (), self._batch))
        if advanced.is_moved and touched is None:
            return
        for entry in entries:
            self._keep(entry)

    def _keep(self, entry: CacheEntry) -> None:
        message = entry.message
        key = _key_of(message.read)
        if len(self._profiles) >= self._profiles_max and key not in self._profiles:
            del self._profiles[next(iter(self._profiles))]
        self._profiles[key] = CachedProfile(
            message.members,
            message.digest,
            entry.anchor,
            entry.profile,
            entry.verdicts,
            self._batch,
            entry.is_known_to_others,
            entry.grants,
        )
