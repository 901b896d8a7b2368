"""What may be said of a number of people: never a small one, never an exact one. Pure.

A number under the minimum is "fewer than" it. Others are rounded, with noise drawn from the set of people itself (its
cell key, the XOR of their random ids): the same people always give the same answer, so asking again teaches nothing,
and two questions that differ by one person differ by noise, not by one. Whether a number is shown at all is decided with
the same noise: otherwise a group padded to one below the minimum would tell by its showing that one more person joined it.
"""

import hmac

from cdp.segments.model import Size


def size(count: int, cell: int | None, *, minimum: int, round_to: int, key: bytes = b"") -> Size:
    """The number as it may be shown; `cell` is the XOR of the ids of the people counted, None for nobody.

    Never one under the minimum; one just above it is sometimes taken to be under it.
    """
    blurred = count + noise(cell or 0, round_to, key)
    if min(count, blurred) < minimum:
        return Size(None, f"fewer than {minimum}")
    shown = max(round(blurred / round_to) * round_to, minimum)
    return Size(shown, f"{shown:,}")


def noise(cell: int, round_to: int, key: bytes = b"") -> int:
    """A whole number from −round_to to round_to, decided by the set alone, and by the key for who knows the ids."""
    digest = hmac.digest(key, b"cdp segment size\x00" + cell.to_bytes(8, "big", signed=True), "sha256")
    return int.from_bytes(digest[:8], "big") % (2 * round_to + 1) - round_to


def share(part: Size, whole: Size) -> float | None:
    """The share of two shown numbers, so that it says no more than they do."""
    if part.shown is None or not whole.shown:
        return None
    return min(1.0, round(part.shown / whole.shown, 4))
