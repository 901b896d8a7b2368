"""Amounts of money: in which currency they are, what they are worth, and which of them no sum may contain. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from cdp.behavior.model import Mistyped, PlainEntries, PlainField, Term
from cdp.policy.model import EventPlan, PropertyPlan, Rates

WITH_CURRENCY: Final = "number in a currency that can be read"
"""What is expected of an amount of money whose currency was stated as something else than a term of the plan."""

_Amounts = tuple[tuple[str, str], ...]
"""Properties that are amounts, each with the property that names its currency."""


class MoneyFields(NamedTuple):
    """The amounts of an event, and those in the entries of its lists. An entry without a currency has that of its event."""

    own: _Amounts = ()
    of_lists: tuple[tuple[str, _Amounts], ...] = ()


NO_MONEY: Final = MoneyFields()


def money_fields(event: EventPlan) -> MoneyFields:
    """The amounts that the plan of an event declares."""
    of_lists = ((name, _amounts(plan.fields)) for name, plan in event.properties.items() if plan.fields)
    return MoneyFields(_amounts(event.properties), tuple((name, amounts) for name, amounts in of_lists if amounts))


def _amounts(plans: Mapping[str, PropertyPlan]) -> _Amounts:
    return tuple((name, plan.currency) for name, plan in plans.items() if plan.currency is not None)


@dataclass(frozen=True, slots=True)
class Money:
    """How amounts of money are added up: `currency` is the property that names their currency, a term of the vocabulary.

    With `only`, amounts in another currency do not count; otherwise they are converted by the rate when they occurred.
    """

    currency: str
    vocabulary: str
    rates: Rates
    only: str | None

    def factor(self, holder: Mapping[str, PlainField], event: Mapping[str, PlainField], at: datetime) -> float | None:
        """What an amount is multiplied with; None for one that does not count. `holder` is the event or an entry of a list."""
        named = holder.get(self.currency, event.get(self.currency))
        currency = named.text if isinstance(named, Term) else None
        if self.only is not None:
            return 1.0 if (currency or self.rates.unstated) == self.only else None
        rate = self.rates.of(currency, at)
        return None if rate is None else float(rate)


class SealedAmounts(NamedTuple):
    """The plain and the sealed properties of a message without amounts in an unreadable currency, and the names of these."""

    plain: dict[str, PlainField]
    sealed: dict[str, Any]
    mistyped: tuple[Mistyped, ...]


def seal_unreadable(plain: dict[str, PlainField], sealed: dict[str, Any], money: MoneyFields) -> SealedAmounts:
    """Seal amounts whose currency was stated and is sealed: in plain they would count as amounts without a currency."""
    moved = {name for name, currency in money.own if name in plain and _is_sealed(currency, plain, sealed)}
    found = SealedAmounts(
        {name: value for name, value in plain.items() if name not in moved} if moved else plain,
        sealed | {name: plain[name] for name in plain if name in moved} if moved else sealed,
        tuple(Mistyped(name, WITH_CURRENCY) for name in plain if name in moved),
    )
    for name, amounts in money.of_lists:
        entries = plain.get(name)
        if isinstance(entries, list):
            found = _seal_in_entries(found, name, amounts, entries=entries)
    return found


def _seal_in_entries(found: SealedAmounts, name: str, amounts: _Amounts, *, entries: PlainEntries) -> SealedAmounts:
    rest: list[Any] = list(found.sealed.get(name) or [{} for _ in entries])
    kept: PlainEntries = []
    moved: dict[str, None] = {}
    for at, entry in enumerate(entries):
        names = [
            amount
            for amount, currency in amounts
            if amount in entry
            and currency not in entry
            and (currency in rest[at] or _is_sealed(currency, found.plain, found.sealed))
        ]
        kept.append({field: value for field, value in entry.items() if field not in names} if names else entry)
        if names:
            moved |= dict.fromkeys(names)
            rest[at] = {**rest[at], **{field: entry[field] for field in names}}
    if not moved:
        return found
    mistyped = (Mistyped(f"{name}.{field}", WITH_CURRENCY) for field in moved)
    return SealedAmounts(found.plain | {name: kept}, found.sealed | {name: rest}, (*found.mistyped, *mistyped))


def _is_sealed(currency: str, plain: Mapping[str, PlainField], sealed: Mapping[str, Any]) -> bool:
    return currency not in plain and currency in sealed


def converted(
    money: Money | None, holder: Mapping[str, PlainField], event: Mapping[str, PlainField], *, name: str, at: datetime
) -> float | None:
    """The number under a name of an event or an entry; None where there is none, or an amount that does not count."""
    amount = holder.get(name)
    if amount is None or isinstance(amount, Term | list | bool):
        return None
    factor = 1.0 if money is None else money.factor(holder, event, at)
    return None if factor is None else float(amount) * factor
