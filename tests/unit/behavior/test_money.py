"""Sums of money: amounts are converted by the rate of their day, or counted in one currency, and never added up across."""

from typing import Any

import pytest

from cdp.behavior.classify import classify, seal_refused_terms
from cdp.behavior.model import Classified, Mistyped, Occurred, Plain, Term, Terms
from cdp.behavior.money import WITH_CURRENCY
from cdp.behavior.rules import compile_plan
from cdp.behavior.traits import agree, compile_traits, fold, recompute, value
from cdp.policy.model import Policy
from tests.support.behavior import day, policy_with
from tests.support.policies import changed
from tests.unit.behavior.test_traits import LANDMARKS, MASKS, NOW, occurred

EURO, POUND, DOLLAR, FRANC = (Term("currency", code) for code in ("EUR", "GBP", "USD", "CHF"))
RATES = {"GBP": {"2026-01-02": 1.25, "2026-01-10": 1.5}, "USD": {"2026-01-20": 0.5}}
POLICY = changed(policy_with(), "currencies.yaml", rates={"GBP": None, **RATES})


RULES = compile_plan(POLICY.events)


def total(key: str, *events: Occurred, policy: Policy = POLICY) -> Plain | None:
    """A sum by buckets, after holding it against the recomputation."""
    plan = compile_traits(policy, MASKS)
    trait = plan.by_key[key]
    found = value(trait, fold(events, plan, LANDMARKS), {}, now=NOW)
    assert agree(found, recompute(trait, events, NOW))
    return found


def test_amounts_are_converted_by_the_rate_of_their_day() -> None:
    assert (
        total(
            "spent", occurred(1, day(4), revenue=100, currency=POUND), occurred(2, day(12), revenue=10, currency=POUND)
        )
        == 140
    )


def test_what_has_no_rate_is_not_added_as_it_is() -> None:
    unknown = occurred(1, day(4), revenue=1000, currency=FRANC)
    too_early = occurred(2, day(4), revenue=1000, currency=DOLLAR)
    assert total("spent", unknown, too_early, occurred(3, day(5), revenue=7, currency=EURO)) == 7
    assert total("orders", unknown, too_early) == 2


def test_amounts_without_a_currency_are_in_the_one_that_the_policy_names() -> None:
    bare = occurred(1, day(4), revenue=8)
    assert total("spent", bare) == 8
    assert total("spent", bare, policy=changed(POLICY, "currencies.yaml", unstated="GBP")) == 10
    assert total("spent", bare, policy=changed(POLICY, "currencies.yaml", unstated=None)) == 0


def test_a_sum_in_one_currency_leaves_out_the_others() -> None:
    events = [occurred(1, day(4), revenue=100, currency=POUND), occurred(2, day(5), revenue=1, currency=EURO)]
    assert total("spent_pounds", *events) == 100
    bare = occurred(3, day(6), revenue=3)
    assert total("spent_pounds", bare) == 0
    assert total("spent_pounds", bare, policy=changed(POLICY, "currencies.yaml", unstated="GBP")) == 3


def test_a_rate_begins_at_midnight_in_the_zone_of_the_policy() -> None:
    policy = changed(POLICY, "jurisdictions.yaml", time_zone="Europe/Berlin")
    before, after = (
        occurred(1, day(9 - 1 / 24 - 0.001), revenue=100, currency=POUND),
        occurred(2, day(9 - 1 / 24), revenue=1, currency=POUND),
    )
    assert total("spent", before, after, policy=policy) == 126.5


@pytest.mark.parametrize(
    ("file", "change", "is_recomputed"),
    [
        (
            "currencies.yaml",
            {"rates": {"USD": {"2026-01-01": 2.0}}},
            {"spent", "spent_lately", "spent_fading", "goods"},
        ),
        (
            "currencies.yaml",
            {"unstated": "GBP"},
            {"spent", "spent_lately", "spent_fading", "spent_pounds", "goods", "goods_in_pounds"},
        ),
        ("jurisdictions.yaml", {"minimum_disclosure_size": 50}, set()),
    ],
)
def test_buckets_are_recomputed_when_amounts_are_converted_otherwise(
    file: str, change: dict[str, object], is_recomputed: set[str]
) -> None:
    before, after = (compile_traits(policy, MASKS).by_key for policy in (POLICY, changed(POLICY, file, **change)))
    assert {key for key in before if before[key].definition != after[key].definition} == is_recomputed


def test_an_entry_of_a_list_without_a_currency_has_that_of_its_event() -> None:
    products: Any = [{"price": 10}, {"price": 1, "currency": EURO}, {"price": 100, "currency": FRANC}, {"quantity": 2}]
    assert total("goods", occurred(1, day(4), currency=POUND, products=products)) == 13.5
    assert total("goods_in_pounds", occurred(2, day(4), currency=POUND, products=products)) == 10
    francs: Any = [{"price": 100, "currency": FRANC}]
    assert total("goods", occurred(3, day(4), products=francs)) == 0


def of(**properties: Any) -> Classified:
    return classify("track", {"event": "Order Completed", "properties": properties}, RULES)


def test_an_entry_in_a_currency_that_cannot_be_read_is_sealed() -> None:
    found = of(currency="EUR", products=[{"sku": "MUG-1", "price": 60, "currency": "£"}, {"sku": "HAT-2", "price": 40}])
    assert found.plain["products"] == [{"sku": Term("sku", "MUG-1")}, {"sku": Term("sku", "HAT-2"), "price": 40}]
    assert found.sealed["properties"] == {"products": [{"price": 60, "currency": "£"}, {}]}
    assert Mistyped("products.price", WITH_CURRENCY) in found.mistyped


def test_entries_without_a_currency_are_sealed_if_that_of_the_event_cannot_be_read() -> None:
    found = of(currency="euro", revenue=100, products=[{"price": 60}, {"price": 40, "currency": "EUR"}])
    assert found.plain == {"products": [{}, {"price": 40, "currency": EURO}]}
    assert found.sealed["properties"] == {"currency": "euro", "revenue": 100, "products": [{"price": 60}, {}]}


def test_amounts_are_sealed_with_a_currency_that_a_full_vocabulary_refuses() -> None:
    found = of(currency="EUR", products=[{"price": 60, "currency": "XTS"}, {"price": 40}])
    kept = seal_refused_terms(found, Terms({}, frozenset({Term("currency", "XTS")})), RULES)
    assert kept.plain == {"currency": EURO, "products": [{}, {"price": 40}]}
    assert kept.sealed["properties"] == {"products": [{"price": 60, "currency": "XTS"}, {}]}
