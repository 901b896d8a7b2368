"""Numbers as files write them, with a declared decimal sign and a declared mark between groups of digits. Pure."""

import decimal
import re
from dataclasses import dataclass
from typing import Any, Final, Literal

Decimal = Literal[".", ","]
Thousands = Literal["", ".", ",", "'", " "]

_NUMBER: Final = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]{1,3})?")
_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,18}")
_LONG: Final = re.compile(r"[-+]?[0-9]{19,}")
"""A whole number that would lose digits: rather an id than an amount."""
_WHOLE: Final = re.compile(r"([-+]?[0-9]{1,18})\.0+")
"""A whole number in a column with gaps, as data-frame tools write it."""
_MINUS: Final = "\u2212"
"""The minus sign, which browsers print in Norwegian, Swedish and other languages in place of a hyphen."""
_ALIKE: Final = {"'": "'\u2019", " ": " \u00a0\u202f"}
"""Other characters that are printed for the same mark."""


class MalformedNumber(ValueError):
    """A text that is not a number as declared."""


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """How numbers are written: the decimal sign, and the mark between groups of three digits, empty where there is none."""

    decimal: Decimal = "."
    thousands: Thousands = ""

    def read(self, raw: Any, *, is_whole: bool = False) -> int | float:
        """The number that a cell states. Raises `MalformedNumber`, also for a mark that is not declared or not in place."""
        if isinstance(raw, int | float) and not isinstance(raw, bool):
            text = repr(raw)
        elif isinstance(raw, decimal.Decimal):
            text = f"{raw:f}"
        elif isinstance(raw, str):
            text = self._plain(raw.strip().replace(_MINUS, "-"))
        else:
            raise MalformedNumber
        if _INTEGER.fullmatch(text):
            return int(text)
        if is_whole and (whole := _WHOLE.fullmatch(text)) is not None:
            return int(whole[1])
        if is_whole or _LONG.fullmatch(text) or not _NUMBER.fullmatch(text):
            raise MalformedNumber
        return float(text)

    def _plain(self, text: str) -> str:
        whole, sign, fraction = text.partition(self.decimal)
        if self.thousands:
            whole = self._without_marks(whole)
        elif self.decimal == "," and "." in whole:
            raise MalformedNumber
        if self.decimal == "," and "." in fraction:
            raise MalformedNumber
        return whole + ("." if sign else "") + fraction

    def _without_marks(self, whole: str) -> str:
        for alike in _ALIKE.get(self.thousands, ""):
            whole = whole.replace(alike, self.thousands)
        first, *groups = whole.split(self.thousands)
        if groups and not (0 < len(first.lstrip("+-")) <= 3 and all(len(group) == 3 for group in groups)):
            raise MalformedNumber
        return first + "".join(groups)
