"""Currencies: in which one amounts of money are added up and compared, and what others were worth in it."""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Annotated, Self
from zoneinfo import ZoneInfo

from pydantic import Field, model_validator

from cdp.policy.frozen import Frozen

CurrencyCode = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
"""Three capital letters, as ISO 4217 has them."""

_Rate = Annotated[float, Field(gt=0, le=1_000_000_000)]
_ALWAYS = datetime.min.replace(tzinfo=UTC)


class Currencies(Frozen):
    """The file `currencies.yaml`."""

    currency: CurrencyCode | None = None
    """The currency in which amounts are added up and compared; required as soon as a property is an amount of money."""
    unstated: CurrencyCode | None = None
    """The currency of amounts whose message names none; absent: such amounts are not counted."""
    rates: Annotated[Mapping[CurrencyCode, Mapping[date, _Rate]], Field(max_length=200)] = Field(default_factory=dict)
    """What one unit of another currency was worth, from each of these dates on. An amount from before the first date, or in a
    currency that is not listed, is not counted."""

    @model_validator(mode="after")
    def _is_coherent(self) -> Self:
        if self.currency is None and (self.unstated is not None or self.rates):
            raise ValueError("`unstated` and `rates` require `currency`, into which amounts are converted")
        if self.currency in self.rates:
            raise ValueError(f"one unit of {self.currency} is always worth 1, so it has no rate here: remove the entry")
        for code, dated in self.rates.items():
            if not dated:
                raise ValueError(f"{code} has no date with a rate: write `{code}: {{2026-01-01: 0.92}}`, or remove it")
        return self


@dataclass(frozen=True, slots=True)
class Rates:
    """Rates by currency, ready for use: for each the instants from which a rate applies, ascending, and the rates.

    The currency of the policy has the rate 1 at all times. `unstated` is the currency of amounts without one.
    """

    unstated: str | None
    steps: Mapping[str, tuple[tuple[datetime, ...], tuple[Decimal, ...]]]

    def of(self, currency: str | None, at: datetime) -> Decimal | None:
        """What one unit was worth at an instant; None for a currency without a rate then, or that is not known."""
        begins, rates = self.steps.get(currency or self.unstated or "", ((), ()))
        found = bisect_right(begins, at)
        return rates[found - 1] if found else None


def rates_of(currencies: Currencies, zone: str) -> Rates:
    """The rates, whose dates begin at midnight in a time zone (an IANA name)."""
    where = ZoneInfo(zone)
    steps: dict[str, tuple[tuple[datetime, ...], tuple[Decimal, ...]]] = {}
    if currencies.currency is not None:
        steps[currencies.currency] = ((_ALWAYS,), (Decimal(1),))
    for code, dated in currencies.rates.items():
        days = sorted(dated)
        begins = tuple(datetime.combine(day, time(), where).astimezone(UTC) for day in days)
        steps[code] = (begins, tuple(Decimal(repr(dated[day])) for day in days))
    return Rates(currencies.unstated, steps)
