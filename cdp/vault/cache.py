"""A bounded cache of subject keys; the least recently used keys are dropped first.

It holds keys, not cipher objects: those take 2.5 kB each and are rebuilt in a microsecond.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from threading import Lock


class KeyCache:
    """Keys by subject id, at most `keys_max` of them; safe to use from several threads."""

    def __init__(self, keys_max: int) -> None:
        self._keys: OrderedDict[int, bytes] = OrderedDict()
        self._keys_max = keys_max
        self._lock = Lock()
        self._evictions = 0

    def get_many(self, ids: Iterable[int]) -> dict[int, bytes]:
        """The cached keys among `ids`."""
        hits = {}
        with self._lock:
            for subject_id in ids:
                key = self._keys.get(subject_id)
                if key is not None:
                    self._keys.move_to_end(subject_id)
                    hits[subject_id] = key
        return hits

    @property
    def evictions(self) -> int:
        """How many evictions were requested so far: read it before loading keys and pass it to `add` afterwards."""
        return self._evictions

    def add(self, keys: Mapping[int, bytes], *, since: int | None = None) -> None:
        """Add keys, dropping the least recently used ones when there are too many.

        Adds nothing when there was an eviction after the `evictions` of `since`: the keys may include evicted ones.
        """
        with self._lock:
            if since is not None and since != self._evictions:
                return
            self._keys.update(keys)
            while len(self._keys) > self._keys_max:
                self._keys.popitem(last=False)

    def evict(self, ids: Iterable[int]) -> None:
        """Drop the keys of these subjects."""
        with self._lock:
            self._evictions += 1
            for subject_id in ids:
                self._keys.pop(subject_id, None)

    def evict_all(self) -> None:
        """Drop every key."""
        with self._lock:
            self._evictions += 1
            self._keys.clear()

    def __len__(self) -> int:
        return len(self._keys)
