"""Subject keys: one per anchor and per identifier, stored wrapped under an epoch key, cached, shredded with the person."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple
from weakref import WeakMethod

from cdp.kit.db import Transaction
from cdp.kit.ids import random_bytes
from cdp.vault import store
from cdp.vault.cache import KeyCache
from cdp.vault.pseudonym import type_key
from cdp.vault.root_keys import RootKeys
from cdp.vault.seal import KEY_BYTES


class FreshKeys(NamedTuple):
    """Keys of new subjects that are not stored yet, each in the clear and wrapped under an epoch, side by side."""

    epoch_id: int
    ids: Sequence[int]
    keys: Sequence[bytes]
    wrapped: Sequence[bytes]

    def only(self, places: Sequence[int]) -> "FreshKeys":
        """The keys at these positions."""
        return FreshKeys(
            self.epoch_id,
            [self.ids[at] for at in places],
            [self.keys[at] for at in places],
            [self.wrapped[at] for at in places],
        )


class SubjectKeys:
    """The subject keys of a database, with a cache; one object serves all threads of a process."""

    def __init__(self, root_keys: RootKeys, *, cached_keys_max: int) -> None:
        self._root_keys = root_keys
        self._cache = KeyCache(cached_keys_max)
        self._listeners: list[WeakMethod[Callable[[int | None], None]]] = []

    def create(self, tx: Transaction, ids: Sequence[int], *, is_cached: bool = True) -> dict[int, bytes]:
        """Create and store a key for each new subject; returns the keys, for immediate use. Two statements.

        Keys that are thrown away soon are not cached: `keys_once` reads them, `throw_away` destroys them.
        """
        if not ids:
            return {}
        keys = dict(zip(ids, _random_keys(len(ids)), strict=True))
        epoch_id = store.hold_active_epoch(tx)
        store.add_keys(
            tx, epoch_id, list(keys), wrapped=self._root_keys.wrap_keys(epoch_id, list(keys), list(keys.values()))
        )
        if is_cached:
            self._cache.add(keys)
        return keys

    def keys_once(self, tx: Transaction, ids: Iterable[int]) -> dict[int, bytes]:
        """The keys by subject id, not cached; a shredded subject has none. One statement."""
        return self._root_keys.unwrap_keys(store.keys_of(tx, list(ids)))

    def throw_away(self, tx: Transaction, ids: Sequence[int]) -> int:
        """Destroy keys that no process caches; returns how many there were."""
        return store.throw_away_keys(tx, ids) if ids else 0

    def prepare(self, epoch_id: int, ids: Sequence[int]) -> FreshKeys:
        """Create a key for each new subject without storing it; `store_prepared` stores what a transaction uses."""
        keys = _random_keys(len(ids))
        return FreshKeys(epoch_id, ids, keys, self._root_keys.wrap_keys(epoch_id, ids, keys))

    def store_prepared(self, tx: Transaction, fresh: FreshKeys) -> None:
        """Store prepared keys, re-wrapped if another epoch is active by now. Two statements."""
        epoch_id = store.hold_active_epoch(tx)
        wrapped = fresh.wrapped
        if epoch_id != fresh.epoch_id:
            wrapped = self._root_keys.wrap_keys(epoch_id, fresh.ids, fresh.keys)
        store.copy_keys(tx, epoch_id, fresh.ids, wrapped=wrapped)

    def keys_for(self, tx: Transaction, ids: Iterable[int]) -> dict[int, bytes]:
        """The keys by subject id; a shredded subject has none. At most one statement."""
        wanted = set(ids)
        since = self._cache.evictions
        keys = self._cache.get_many(wanted)
        missing = [subject_id for subject_id in wanted if subject_id not in keys]
        if missing:
            loaded = self._root_keys.unwrap_keys(store.keys_of(tx, missing))
            if not tx.one_instant:  # such a transaction may see keys that are shredded by now
                self._cache.add(loaded, since=since)
            keys |= loaded
        return keys

    def digests(self, tx: Transaction, kind: str, ids: Iterable[int]) -> dict[int, bytes]:
        """A 16-byte digest of each subject under its own key; a shredded subject has none. At most one statement.

        `kind` separates the uses. Without the key, nobody can tell whose digest it is.
        """
        return {subject_id: type_key(key, kind)[:16] for subject_id, key in self.keys_for(tx, ids).items()}

    def shred(self, tx: Transaction, ids: Sequence[int]) -> int:
        """Destroy the keys of these subjects, also in memory once that is committed; returns how many there were."""
        self._cache.evict(ids)
        tx.on_commit(lambda: self.evict(ids))  # until then, other transactions could still load them
        return store.delete_keys(tx, ids)

    def shred_requests(self, tx: Transaction, ids: Sequence[int]) -> int:
        """As `shred`, of requests that are closed in this transaction; the key of anything else stays."""
        self._cache.evict(ids)
        tx.on_commit(lambda: self.evict(ids))
        return store.shred_request_keys(tx, ids)

    def evict(self, ids: Iterable[int]) -> None:
        """Drop the keys of these subjects from memory, and notify the listeners."""
        self._cache.evict(ids)
        self._notify(None)

    def evict_all(self, *, version: int | None = None) -> None:
        """Drop all subject keys from memory, and notify the listeners.

        `version` is that of the identity mapping at which another process may have shredded keys, if known.
        """
        self._cache.evict_all()
        self._notify(version)

    def on_eviction(self, listener: Callable[[int | None], None]) -> None:
        """Call a method whenever keys are dropped, for as long as its object exists: for caches of what was sealed.

        It receives the version of the identity mapping up to which cached values must be dropped, None for all.
        """
        self._listeners = [*(method for method in self._listeners if method() is not None), WeakMethod(listener)]

    def _notify(self, version: int | None) -> None:
        for method in self._listeners:
            listener = method()
            if listener is not None:
                listener(version)


def _random_keys(count: int) -> list[bytes]:
    block = random_bytes(KEY_BYTES * count)
    return [block[at : at + KEY_BYTES] for at in range(0, len(block), KEY_BYTES)]
