"""Normalize ids that other systems give: customer numbers, device ids, loyalty cards. Pure."""

import re
import unicodedata
from typing import Final

from cdp.identity.model import Ignored

_MARKS: Final = "\"'`“”‘’«»=%"
"""The first signs of a value that a program wrapped: quotes, a spreadsheet's mark for text, an encoded quote."""

_WRAPPED: Final = re.compile(r"""=?"([^"]+)"|'([^']+)'|“([^“”]+)”|«([^«»]+)»|`([^`]+)`|'([^']+)|%22(.+)%22""")
_WHOLE: Final = re.compile(r"([+-]?[0-9]+)\.0+")
_EXPONENT: Final = re.compile(r"[+-]?[0-9]([.,][0-9]+)?e\+[0-9]{2,3}", re.IGNORECASE)
_INVISIBLE: Final = re.compile("[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")


def visible(text: str) -> str:
    """The text without marks of direction, soft hyphens and spaces of no width, which copying from a page leaves."""
    return text if text.isascii() else _INVISIBLE.sub("", text).strip()


def normalize_id(text: str) -> str | Ignored:
    """The id in Unicode NFC, as it was meant.

    Quotes around it and a spreadsheet's mark for text are dropped, and a whole number that became a fraction is whole
    again (`12347.0` is `12347`). A number of which a spreadsheet kept some digits only (`1.23E+11`) is malformed.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", visible(text))
    if text and text[0] in _MARKS:
        text = _unwrapped(text)
    if "." in text:
        whole = _WHOLE.fullmatch(text)
        if whole is not None:
            return whole[1]
    if "+" in text and _EXPONENT.fullmatch(text):
        return Ignored.MALFORMED
    return text or Ignored.MALFORMED


def _unwrapped(text: str) -> str:
    """The text inside quotes, however many surround it."""
    while (wrapped := _WRAPPED.fullmatch(text)) is not None:
        text = next(inner for inner in wrapped.groups() if inner is not None).strip()
    return text


def normalize_advertising_id(text: str) -> str | Ignored:
    """The id in lower case."""
    value = normalize_id(text)
    return value if isinstance(value, Ignored) else value.lower()
