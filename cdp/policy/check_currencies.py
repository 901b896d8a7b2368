"""Cross checks of amounts of money: their currency must be known, and the currency of the policy must be one of its terms."""

from collections.abc import Iterator

from cdp.policy.findings import Finding, must_exist
from cdp.policy.model import CURRENCIES_FILE, EventPlan, Keep, Policy, PropertyPlan
from cdp.policy.problems import Path

EVENTS, TRAITS = "events.yaml", "traits.yaml"


def check_currencies(policy: Policy) -> Iterator[Finding]:
    """Amounts without a property that names their currency, and codes that no message could name."""
    vocabularies: dict[str, str] = {}
    for event in policy.events.events.values():
        for plan in event.properties.values():
            for holder, amount in ((None, plan), *((plan, field) for field in plan.fields.values())):
                if amount.currency is not None:
                    yield from _check_amount(event, holder, amount, vocabularies=vocabularies)
    if vocabularies and policy.currencies.currency is None:
        what = f"{next(iter(vocabularies.values()))} is an amount of money, and no currency is named in which amounts are added up"
        yield Finding(CURRENCIES_FILE, ("currency",), what, "write `currency: EUR`, for example")
    yield from _check_codes(policy, tuple(vocabularies))
    yield from _check_traits(policy)


def _check_amount(
    event: EventPlan, of: PropertyPlan | None, plan: PropertyPlan, *, vocabularies: dict[str, str]
) -> Iterator[Finding]:
    """An amount of an event, or of the entries of a list `of` it: these may have the currency of the event."""
    assert plan.currency is not None
    path: Path = ("events", event.key, "properties", plan.key if of is None else of.key, "currency")
    holders = [event.properties] if of is None else [of.fields, event.properties]
    found = [holder[plan.currency] for holder in holders if plan.currency in holder]
    if not found:
        known = {name for holder in holders for name in holder}
        kind = f"property of `{event.key}` with the currency,"
        yield from must_exist(EVENTS, path, plan.currency, known=known, kind=kind)
    for named in found:
        if named.keep is not Keep.PLAIN or named.vocabulary is None:
            what = f"`{plan.currency}` of `{event.key}` is not kept plain as a string of a vocabulary, so it names no currency"
            yield Finding(EVENTS, path, what, "use `type: string`, `keep: plain` and a vocabulary of ISO 4217 codes")
        else:
            vocabularies.setdefault(named.vocabulary, f"`{plan.key}` of `{event.key}`")
    if len({named.vocabulary for named in found}) > 1:
        what = f"`{plan.currency}` of `{event.key}` and of its list are of different vocabularies"
        yield Finding(EVENTS, path, what, "use the same vocabulary")


def _check_codes(policy: Policy, vocabularies: tuple[str, ...]) -> Iterator[Finding]:
    stated = policy.currencies
    codes: list[tuple[Path, str | None]] = [(("currency",), stated.currency), (("unstated",), stated.unstated)]
    codes += [(("rates", code), code) for code in stated.rates]
    for path, code in codes:
        for name in vocabularies:
            vocabulary = policy.events.vocabularies.get(name)
            if code is not None and vocabulary is not None and not vocabulary.accepts(code):
                what = f"`{code}` is not a term of the vocabulary `{name}`, which has the currencies of amounts"
                yield Finding(CURRENCIES_FILE, path, what, "correct it, or extend the vocabulary")


def _check_traits(policy: Policy) -> Iterator[Finding]:
    for key, trait in policy.traits.items():
        plan = None if trait.property is None else policy.property_of(trait.event, trait.property)
        if trait.currency is None or plan is None:
            continue
        path = ("traits", key, "currency")
        if plan.currency is None:
            what = f"`{plan.key}` of `{trait.event}` is not an amount of money"
            yield Finding(
                TRAITS, path, what, "remove `currency`, or name in events.yaml the property with its currency"
            )
        else:
            named = policy.property_of(trait.event, plan.currency)
            vocabulary = policy.events.vocabularies.get("" if named is None else named.vocabulary or "")
            if vocabulary is not None and not vocabulary.accepts(trait.currency):
                what = f"`{trait.currency}` is not a term of the vocabulary `{vocabulary.key}`"
                yield Finding(TRAITS, path, what, "correct it, or extend the vocabulary")
