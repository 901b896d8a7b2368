"""Kleene's three-valued logic: true, false, and unknown (None).

| a       | b       | a and b | a or b  | not a   |
|---------|---------|---------|---------|---------|
| true    | true    | true    | true    | false   |
| true    | false   | false   | true    | false   |
| true    | unknown | unknown | true    | false   |
| false   | false   | false   | false   | true    |
| false   | unknown | false   | unknown | true    |
| unknown | unknown | unknown | unknown | unknown |

Only profiles with the result true are in a segment. SQL's `and`, `or`, `not` over NULL follow the same table.
"""

from collections.abc import Iterable

Kleene = bool | None


def all_of(terms: Iterable[Kleene]) -> Kleene:
    """False if one is false; otherwise unknown if one is unknown; otherwise true."""
    is_unknown = False
    for term in terms:
        if term is False:
            return False
        is_unknown = is_unknown or term is None
    return None if is_unknown else True


def any_of(terms: Iterable[Kleene]) -> Kleene:
    """True if one is true; otherwise unknown if one is unknown; otherwise false."""
    is_unknown = False
    for term in terms:
        if term is True:
            return True
        is_unknown = is_unknown or term is None
    return None if is_unknown else False


def negate(term: Kleene) -> Kleene:
    """The negation; unknown stays unknown."""
    return None if term is None else not term
