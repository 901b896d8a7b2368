"""A bounded memory of subject keys, least recently used first out.

It keeps keys, not cipher objects: those take 2.5 kB each and are rebuilt in a microsecond.
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
        self._forgotten = 0

    def found(self, ids: Iterable[int]) -> dict[int, bytes]:
        """The remembered keys among `ids`."""
        hits = {}
        with self._lock:
            for subject_id in ids:
                key = self._keys.get(subject_id)
                if key is not None:
                    self._keys.move_to_end(subject_id)
                    hits[subject_id] = key
        return hits

    @property
    def forgotten(self) -> int:
        """How often something was to be forgotten: to be asked before keys are loaded, and told when they are remembered."""
        return self._forgotten

    def remember(self, keys: Mapping[int, bytes], *, since: int | None = None) -> None:
        """Add keys, dropping those used longest ago when there are too many.

        Those that were loaded while some were forgotten may be among these, so none of them is added.
        """
        with self._lock:
            if since is not None and since != self._forgotten:
                return
            self._keys.update(keys)
            while len(self._keys) > self._keys_max:
                self._keys.popitem(last=False)

    def evict(self, ids: Iterable[int]) -> None:
        """Drop the keys of these subjects."""
        with self._lock:
            self._forgotten += 1
            for subject_id in ids:
                self._keys.pop(subject_id, None)

    def evict_all(self) -> None:
        """Drop everything."""
        with self._lock:
            self._forgotten += 1
            self._keys.clear()

    def __len__(self) -> int:
        return len(self._keys)
