"""Which sizes of groups of people may be displayed: never a small one, never an exact one. Pure.

A size under the minimum is displayed as "fewer than" it. Others are rounded, with noise derived from the set of people
itself (its cell key, the XOR of their random ids): the same people always give the same size, so repeating a query
reveals nothing, and two queries that differ by one person differ by noise, not by one. Whether a size is displayed at
all depends on the same noise: otherwise a group padded to one below the minimum would reveal, by being displayed, that
one more person joined it.
"""

import hmac

from cdp.query.language.catalogue import Catalogue
from cdp.segments.model import DisplayedSize


def size(count: int, cell: int | None, *, minimum: int, round_to: int, key: bytes = b"") -> DisplayedSize:
    """The size as it may be displayed; `cell` is the XOR of the ids of the people counted, None for an empty group.

    Never one under the minimum; one just above it is sometimes displayed as under it.
    """
    blurred = count + noise(cell or 0, round_to, key)
    if min(count, blurred) < minimum:
        return DisplayedSize(None, f"fewer than {minimum}")
    shown = max(round(blurred / round_to) * round_to, minimum)
    return DisplayedSize(shown, f"{shown:,}")


def size_of(count: int, cell: int | None, catalogue: Catalogue) -> DisplayedSize:
    """The size as it may be displayed under the limits and the key of a catalogue."""
    return size(count, cell, minimum=catalogue.minimum_size, round_to=catalogue.round_to, key=catalogue.disclosure_key)


def noise(cell: int, round_to: int, key: bytes = b"") -> int:
    """A whole number from −round_to to round_to, derived from the set and a key, so that knowing the ids is not enough."""
    digest = hmac.digest(key, b"cdp segment size\x00" + cell.to_bytes(8, "big", signed=True), "sha256")
    return int.from_bytes(digest[:8], "big") % (2 * round_to + 1) - round_to


def share(part: DisplayedSize, whole: DisplayedSize) -> float | None:
    """The share of two displayed sizes, so that it reveals no more than they do; None when one is not displayed."""
    if part.shown is None or not whole.shown:
        return None
    return min(1.0, round(part.shown / whole.shown, 4))
