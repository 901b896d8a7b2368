"""What a sample shows: the marks in numbers, the format of times, and columns by their names. Pure.

What the sample leaves open is not guessed: the proposal then refuses such cells, and says what to decide.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from cdp.flows.imports.instants import (
    ISO_8601,
    UNIX_MILLISECONDS,
    UNIX_SECONDS,
    MalformedInstant,
    Written,
    read_instant_text,
)
from cdp.flows.imports.numbers import MalformedNumber, NumberFormat

_NUMBER_FORMATS: Final = (
    NumberFormat(),
    NumberFormat(","),
    NumberFormat(".", ","),
    NumberFormat(",", "."),
    NumberFormat(".", "'"),
    NumberFormat(",", " "),
    NumberFormat(".", " "),
)
_DAY_FIRST: Final = ("%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M", "%d/%m/%Y", "%d/%m/%Y %I:%M %p")
_MONTH_FIRST: Final = ("%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%m/%d/%Y", "%m/%d/%Y %I:%M %p")
_PATTERNS: Final = (
    "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d.%m.%Y", *_DAY_FIRST, *_MONTH_FIRST,
    "%b %d, %Y %H:%M", "%b %d, %Y", "%B %d, %Y",
)  # fmt: skip
_COUNTS: Final = ((re.compile(r"[0-9]{10}(\.[0-9]+)?"), UNIX_SECONDS), (re.compile(r"[0-9]{13}"), UNIX_MILLISECONDS))
_THREE_DIGITS: Final = re.compile(r"[-+]?[0-9]{1,3}([.,])[0-9]{3}")
_WORDS: Final = re.compile(r"[^a-z0-9]")

NAMES: Final = {
    "email": ("email", "emailaddress", "mail", "useremail", "customeremail", "billingemail", "contactemail"),
    "phone": ("phone", "phonenumber", "telephone", "mobile", "mobilephone", "billingphone", "tel"),
    "user_id": ("userid", "customerid", "customernumber", "customerno", "memberid", "accountid", "clientid"),
    "timestamp": ("createdat", "orderdate", "orderedat", "placedat", "timestamp", "date", "datetime", "created", "paidat"),
    "order_id": ("orderid", "ordernumber", "orderno", "order", "invoice", "invoicenumber"),
    "revenue": ("revenue", "ordertotal", "total", "totalamount", "amount", "grandtotal"),
    "currency": ("currency", "currencycode"),
    "firstName": ("firstname", "givenname", "forename"),
    "lastName": ("lastname", "familyname", "surname"),
}  # fmt: skip
"""What columns are called, without regard to case, spaces and signs."""


def column_named(meaning: str, columns: Sequence[str]) -> str | None:
    """The column whose name means this; in JSON Lines the last step of a path decides."""
    by_name = {_WORDS.sub("", column.rpartition(".")[2].casefold()): column for column in reversed(columns)}
    return next((by_name[name] for name in NAMES[meaning] if name in by_name), None)


def number_format(cells: Iterable[Any]) -> tuple[NumberFormat, bool]:
    """How the numbers of a sample are written, and whether that is certain."""
    texts = [cell.strip() for cell in cells if isinstance(cell, str) and cell.strip()]
    fitting = [written for written in _NUMBER_FORMATS if all(_is_number(text, written) for text in texts)]
    is_open = any("," in text or "." in text for text in texts) and all(
        _THREE_DIGITS.fullmatch(text) or text.lstrip("+-").isdigit() for text in texts
    )
    if is_open or not fitting:
        return NumberFormat(), False
    return fitting[0], True


def instant_format(cells: Iterable[Any]) -> tuple[str, tuple[str, ...]]:
    """How the times of a sample are written; the formats that are possible where it leaves two of them open."""
    texts = [cell.strip() for cell in cells if isinstance(cell, str) and cell.strip()]
    if not texts or all(_is_instant(text, ISO_8601) for text in texts):
        return ISO_8601, ()
    for shape, name in _COUNTS:
        if all(shape.fullmatch(text) for text in texts):
            return name, ()
    fitting = tuple(pattern for pattern in _PATTERNS if all(_is_instant(text, pattern) for text in texts))
    if len(fitting) == 1:
        return fitting[0], ()
    return ISO_8601, fitting


def has_zones(cells: Iterable[Any]) -> bool:
    """Whether every time of a sample names its zone."""
    texts = [cell.strip() for cell in cells if isinstance(cell, str) and cell.strip()]
    return bool(texts) and all(re.search(r"(Z|UTC|GMT|[+-][0-9]{2}:?[0-9]{2})$", text) for text in texts)


def _is_number(text: str, written: NumberFormat) -> bool:
    try:
        written.read(text)
    except MalformedNumber:
        return False
    return True


def _is_instant(text: str, pattern: str) -> bool:
    try:
        read_instant_text(text, Written(pattern, "UTC"))
    except MalformedInstant:
        return False
    return True
