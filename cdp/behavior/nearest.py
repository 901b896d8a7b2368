"""The planned event that an unknown name probably means. Pure.

An unknown name may be personal data, so only planned names are ever given.
"""

import difflib
from collections.abc import Iterable
from typing import Final

_SIMILARITY_MIN: Final = 0.75
_LENGTH_MAX: Final = 100
_COMPARISONS_MAX: Final = 1_000
"""How many pairs of names a batch compares: sources can send any number of different names."""
_CACHED_MAX: Final = 1_000


class NearestEvents:
    """The planned names, prepared for finding the nearest one of an unknown name.

    Recently compared names stay in memory: `clear_cache`.
    """

    def __init__(self, planned: Iterable[str]) -> None:
        self._planned: dict[str, str] = {}
        for name in sorted(planned):
            self._planned.setdefault(_folded(name), name)
        self._compared_max = max(1, _COMPARISONS_MAX // max(1, len(self._planned)))
        self._cached: dict[str, str | None] = {}

    def clear_cache(self) -> None:
        """Drop every cached name."""
        self._cached.clear()

    def of(self, names: Iterable[object]) -> dict[str, str]:
        """The nearest planned name of each of these that has one.

        That is the same name but for case, spaces and signs, or else a similar one. Of many different names, only some
        are compared.
        """
        found: dict[str, str] = {}
        compared = 0
        for name in dict.fromkeys(name for name in names if isinstance(name, str) and len(name) <= _LENGTH_MAX):
            folded = _folded(name)
            nearest = self._planned.get(folded) or self._cached.get(folded)
            if nearest is None and folded not in self._cached and compared < self._compared_max:
                compared += 1
                nearest = self._compare(folded)
            if nearest is not None:
                found[name] = nearest
        return found

    def _compare(self, folded: str) -> str | None:
        close = difflib.get_close_matches(folded, self._planned, 1, _SIMILARITY_MIN)
        if len(self._cached) >= _CACHED_MAX:
            self._cached.clear()
        nearest = self._cached[folded] = self._planned[close[0]] if close else None
        return nearest


def _folded(name: str) -> str:
    return "".join(sign for sign in name.casefold() if sign.isalnum())
