"""Numbers and ranges in Fibonacci coding, as the header and the section of Canada have them.

A number is a sum of the Fibonacci numbers 1, 2, 3, 5, 8 …, none of them twice and no two neighbors: a bit says whether each
is a part of it, and one more bit ends it, so that only its end has two ones in a row.
"""

from itertools import compress
from typing import Final

from cdp.consent.signals.bits import MAX_ID, BitReader, IdSet, MalformedSignal


def fibonacci_integer(reader: BitReader, field: str) -> int:
    """The number that begins at the reader's position; MalformedSignal if it is above 75,024 or does not end."""
    position = reader.position
    width = min(reader.remaining, len(_WEIGHTS) + 1)
    window = f"{reader.integer(width, field):0{width}b}".encode().translate(_BITS) if width else b""
    end = window.find(b"\1\1")
    if end < 0:
        raise MalformedSignal(field, position, "a number in Fibonacci coding that does not end or is too large")
    reader.position = position + end + 2
    return sum(compress(_WEIGHTS, window[: end + 1]))


def fibonacci_ranges(reader: BitReader, field: str) -> IdSet:
    """A list of ids and of ranges of ids, each given as its distance from the one before; none is above 65,535."""
    members: list[str] = []
    last = 0
    for _ in range(reader.integer(12, field)):
        position = reader.position
        is_range = reader.boolean(field)
        first = last + fibonacci_integer(reader, field)
        # From the last member to this one, as bits: a number that grows by each range would be copied each time.
        members.append("0" * (first - last - 1))
        last = first + fibonacci_integer(reader, field) if is_range else first
        members.append("1" * (last - first + 1))
        if last > MAX_ID:
            raise MalformedSignal(field, position, f"an id above {MAX_ID}")
    return IdSet(int("".join(members)[::-1] or "0", 2))


# No number of 16 bits needs a larger one.
_WEIGHTS: Final = (
    1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987, 1597, 2584, 4181, 6765, 10946, 17711, 28657, 46368,
)  # fmt: skip
_BITS: Final = bytes.maketrans(b"01", b"\0\1")
