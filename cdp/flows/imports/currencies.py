"""Amounts in the smallest unit of a currency. Pure.

Lists differ: ISO 4217 gives the Icelandic krona no digits, Stripe sends it with two. A mapping names the one its sender goes by.
Sources: ISO 4217 (list of January 2026); Stripe's page of currencies, read in November 2026.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, Literal

CurrencyList = Literal["iso4217", "stripe"]

_CODE: Final = re.compile(r"[A-Z]{3}")
_USUAL: Final = 2
_ISO: Final[Mapping[str, int]] = {
    **dict.fromkeys(
        [
            "BIF",
            "CLP",
            "DJF",
            "GNF",
            "ISK",
            "JPY",
            "KMF",
            "KRW",
            "PYG",
            "RWF",
            "UGX",
            "UYI",
            "VND",
            "VUV",
            "XAF",
            "XOF",
            "XPF",
        ],
        0,
    ),
    **dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3),
    **dict.fromkeys(["CLF", "UYW"], 4),
}
_STRIPE: Final[Mapping[str, int]] = {
    **dict.fromkeys(
        ["BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"], 0
    ),
    **dict.fromkeys(["BHD", "JOD", "KWD", "OMR", "TND"], 3),
}
_LISTS: Final[Mapping[str, Mapping[str, int]]] = {"iso4217": _ISO, "stripe": _STRIPE}


class UnknownCurrency(ValueError):
    """A text that is not the code of a currency."""


def in_main_unit(amount: Decimal, code: Any, digits_of: CurrencyList) -> Decimal:
    """An amount in the smallest unit of a currency, in its main unit. Raises `UnknownCurrency`."""
    text = code.strip().upper() if isinstance(code, str) else ""
    if not _CODE.fullmatch(text):
        raise UnknownCurrency
    return amount.scaleb(-_LISTS[digits_of].get(text, _USUAL))
