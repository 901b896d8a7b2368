"""Hints for names that do not exist: the closest existing one, or a list of what exists. Pure."""

import difflib
from collections.abc import Iterable
from typing import Final

_SIMILARITY_MIN: Final = 0.6
_LISTED_MAX: Final = 12


def suggestion(name: str, existing: Iterable[str], prefix: str = "") -> str:
    """A hint with the closest existing name, or with the first 12 existing names; `prefix` is written before the name."""
    names = sorted(existing)
    same_letters = [candidate for candidate in names if candidate.lower() == name.lower()]
    close = same_letters or difflib.get_close_matches(name, names, 1, _SIMILARITY_MIN)
    if close:
        return f"did you mean {prefix}{close[0]}?"
    if not names:
        return "none are defined"
    return "choose one of " + ", ".join(names[:_LISTED_MAX]) + (", …" if len(names) > _LISTED_MAX else "")
