"""The bits of a consent string: base64url letters and the fields that the IAB's TCF and GPP write in them.

Layouts: "Consent string and vendor list formats v2" (IAB Tech Lab, TCF) and "Consent String Specification" (GPP). Both
write the first bit of a field first, six bits to a letter, without `=`.
"""

import re
from binascii import Error, a2b_base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

import msgspec

MAX_LETTERS: Final = 65_536
"""The longest text that is read: three bit fields of all 65,535 vendors have 32,768 letters."""

MAX_ID: Final = 65_535
"""The highest vendor id, which has 16 bits."""


class MalformedSignal(ValueError):
    """A consent string that cannot be read.

    `field` names the part, `bit` its first unreadable bit, counted from the start of its segment; the message contains
    no value of the string.
    """

    def __init__(self, field: str, bit: int, reason: str) -> None:
        super().__init__(f"{field} at bit {bit}: {reason}")
        self.field = field
        self.bit = bit
        self.reason = reason


class IdSet(msgspec.Struct, frozen=True):
    """A set of ids from 1 to 65,535, as one number: bit n - 1 of `mask` is set if id n is a member."""

    mask: int = 0

    def __contains__(self, id_: int) -> bool:
        return id_ > 0 and self.mask >> (id_ - 1) & 1 == 1

    def __iter__(self) -> Iterator[int]:
        """The members, in ascending order."""
        # The digits of the number are searched as text: a loop that clears one bit after another copies the number each time.
        digits = f"{self.mask:b}"[::-1]
        position = digits.find("1")
        while position >= 0:
            yield position + 1
            position = digits.find("1", position + 1)

    def __len__(self) -> int:
        return self.mask.bit_count()


class BitReader:
    """Fields of one segment, read from its first bit to its last.

    Every method takes the name of the field, and raises MalformedSignal if the bits left are too few or not allowed.
    The time of each is proportional to the bits that it reads.
    """

    __slots__ = ("_bytes", "length", "position")

    def __init__(self, text: str, field: str) -> None:
        self._bytes = bytes_of(text, field)
        self.length = 6 * len(text)
        self.position = 0

    @property
    def remaining(self) -> int:
        """The number of bits that are left."""
        return self.length - self.position

    def integer(self, width: int, field: str) -> int:
        """An unsigned number of `width` bits, the highest first."""
        position = self.position
        end = position + width
        if end > self.length:
            raise self._missing(field, end)
        self.position = end
        return int.from_bytes(self._bytes[position >> 3 : (end + 7) >> 3]) >> (-end & 7) & ((1 << width) - 1)

    def boolean(self, field: str) -> bool:
        """One bit."""
        return self.integer(1, field) == 1

    def letters(self, count: int, field: str) -> str:
        """Capital letters of six bits each, `A` being 0."""
        position = self.position
        numbers = [self.integer(6, field) for _ in range(count)]
        if any(number > 25 for number in numbers):
            raise MalformedSignal(field, position, "not a letter from A to Z")
        return "".join(chr(ord("A") + number) for number in numbers)

    def instant(self, field: str) -> datetime:
        """Tenths of a second since 1970 in UTC, in 36 bits."""
        return instant_of(self.integer(36, field))

    def bitfield(self, width: int, field: str) -> IdSet:
        """A bit for each id from 1 to `width`."""
        position = self.position
        end = position + width
        if end > self.length:
            raise self._missing(field, end)
        self.position = end
        backwards = self._bytes[position >> 3 : (end + 7) >> 3].translate(_BACKWARDS)
        return IdSet(int.from_bytes(backwards, "little") >> (position & 7) & ((1 << width) - 1))

    def ranges(self, field: str, *, max_id: int = MAX_ID) -> IdSet:
        """TCF's list of single ids and of ranges of ids, with its number of entries in front; none is above `max_id`."""
        count = self.integer(12, field)
        mask = 0
        while count:
            # Entries are taken from a number with the bits of several: shifting it costs less than reading each by itself.
            width = min(_ENTRIES * _RANGE_BITS, self.length - self.position)
            end = self.position + width
            window = int.from_bytes(self._bytes[self.position >> 3 : (end + 7) >> 3]) >> (-end & 7) << _RANGE_BITS
            left = width
            for _ in range(min(count, _ENTRIES)):
                entry = window >> left & _RANGE_MASK
                first = last = entry >> 16 & 0xFFFF
                if entry & _IS_RANGE:
                    last = entry & 0xFFFF
                    left -= _RANGE_BITS
                else:
                    left -= _SINGLE_BITS
                if left < 0 or not 0 < first <= last <= max_id:
                    begin = end - left - (_RANGE_BITS if entry & _IS_RANGE else _SINGLE_BITS)
                    reason = (
                        f"{-left} bits missing" if left < 0 else "a range that is empty, from 0 or above the highest id"
                    )
                    raise MalformedSignal(field, begin, reason)
                mask |= (1 << last) - (1 << first - 1)
            self.position = end - left
            count -= min(count, _ENTRIES)
        return IdSet(mask)

    def optimized(self, field: str) -> IdSet:
        """TCF's vendors: the highest id, then either a bit field or ranges, of which writers take the shorter."""
        head = self.integer(17, field)
        return self.ranges(field, max_id=head >> 1) if head & 1 else self.bitfield(head >> 1, field)

    def end(self, field: str) -> None:
        """What is left fills up the last letters, so it must be zeros."""
        if self.integer(self.length - self.position, field):
            raise MalformedSignal(field, self.length, "bits after the last field")

    def _missing(self, field: str, end: int) -> MalformedSignal:
        return MalformedSignal(field, self.position, f"{end - self.length} bits missing")


def bytes_of(text: str, field: str) -> bytes:
    """The bits of base64url letters, followed by up to 24 zeros; both encoders end with any number of letters."""
    if not 0 < len(text) <= MAX_LETTERS:
        raise MalformedSignal(field, 0, "no letters" if not text else f"more than {MAX_LETTERS} letters")
    try:
        return a2b_base64((text.encode("ascii") + b"A" * (-len(text) % 4)).translate(_STANDARD), strict_mode=True)
    except (Error, UnicodeEncodeError):
        foreign = _FOREIGN.search(text)
        position = foreign.start() if foreign else len(text)
        raise MalformedSignal(field, 6 * position, "not a base64url letter") from None


@lru_cache(4_096)
def instant_of(deciseconds: int) -> datetime:
    """The instant of a number of tenths of a second since 1970; those of strings are mostly starts of recent days."""
    return _EPOCH + timedelta(seconds=deciseconds // 10, microseconds=deciseconds % 10 * 100_000)


# An entry of a list of ranges: whether it is a range, the first or only id, and of a range the last.
_SINGLE_BITS: Final = 17
_RANGE_BITS: Final = 33
_IS_RANGE: Final = 1 << 32
_RANGE_MASK: Final = (1 << 33) - 1
_ENTRIES: Final = 32
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FOREIGN: Final = re.compile(r"[^A-Za-z0-9_-]")
# base64url as base64; the characters that only base64 has become ones that it refuses.
_STANDARD: Final = bytes.maketrans(b"-_+/=", b"+/***")
# Each byte with its bits in the opposite order: read as little-endian, the first bit of a field is then the lowest.
_BACKWARDS: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
