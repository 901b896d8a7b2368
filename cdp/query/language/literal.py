"""The smallest parts of a condition: literals, durations, operators."""

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum

MAX_TEXT = 200
MAX_DIGITS = 15
_MAX_MINUTES = 20 * 366 * 24 * 60


class Unit(StrEnum):
    """A unit of duration; the value is its singular name in the text."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"

    @property
    def seconds(self) -> int:
        return _SECONDS[self]


_SECONDS = {Unit.MINUTE: 60, Unit.HOUR: 3600, Unit.DAY: 86_400, Unit.WEEK: 604_800}


class Operator(StrEnum):
    """How a value is compared with a literal."""

    EQ = "="
    NE = "!="
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node of the syntax tree; `at` is the character offset at which it begins, left out of equality."""

    at: int = field(default=0, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Number(Node):
    """A decimal number of at most 15 significant digits, so that doubles and JSON represent it exactly."""

    value: Decimal

    def __post_init__(self) -> None:
        if not self.value.is_finite():
            raise ValueError("a number must be finite")
        digits = len(self.value.normalize().as_tuple().digits)
        if (
            digits > MAX_DIGITS
            or abs(self.value) >= 10**MAX_DIGITS
            or abs(int(self.value.as_tuple().exponent)) > MAX_DIGITS
        ):
            raise ValueError(f"a number must not have more than {MAX_DIGITS} digits")


@dataclass(frozen=True, slots=True)
class Text(Node):
    """A string."""

    value: str

    def __post_init__(self) -> None:
        require_text(self.value, "a string")


@dataclass(frozen=True, slots=True)
class Flag(Node):
    """`true` or `false`."""

    value: bool


@dataclass(frozen=True, slots=True)
class Day(Node):
    """A calendar day in the policy's time zone."""

    value: date

    def __post_init__(self) -> None:
        if not 1900 <= self.value.year <= 2200:
            raise ValueError("a date must lie between the years 1900 and 2200")


Literal = Number | Text | Flag | Day


@dataclass(frozen=True, slots=True)
class Duration(Node):
    """A length of time; a day is always 86,400 seconds."""

    count: int
    unit: Unit

    def __post_init__(self) -> None:
        if self.count < 1 or self.seconds > _MAX_MINUTES * 60:
            raise ValueError("a duration must be from 1 minute to 20 years")

    @property
    def seconds(self) -> int:
        return self.count * self.unit.seconds


def require_text(value: str, what: str) -> None:
    """Raise ValueError unless the text has from 1 to 200 characters and no control characters."""
    if not 1 <= len(value) <= MAX_TEXT:
        raise ValueError(f"{what} must have from 1 to {MAX_TEXT} characters")
    if any(ord(letter) < 32 or 0xD800 <= ord(letter) <= 0xDFFF for letter in value):
        raise ValueError(f"{what} must not contain control characters")
