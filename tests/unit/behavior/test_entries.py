"""Lists of objects, sorted by the tracking plan entry by entry."""

import json
import math
from typing import Any

import pytest

from cdp.behavior.classify import classify, json_bytes, seal_refused_terms, terms_of
from cdp.behavior.entries import joined
from cdp.behavior.model import Classified, Mistyped, Term, Terms
from cdp.behavior.rules import PlanRules, compile_plan, vocabularies_of
from cdp.policy.model import TrackingPlan
from cdp.wire.batch import Envelope
from cdp.wire.ga4 import read_measurement
from tests.support.policies import changed, shipped

RULES = compile_plan(shipped().events)
MUG, HAT = Term("sku", "MUG-1"), Term("sku", "HAT-2")


def order(rules: PlanRules = RULES, **properties: Any) -> Classified:
    return classify("track", {"event": "Order Completed", "messageId": "m", "properties": properties}, rules)


def plan_with(**products: Any) -> TrackingPlan:
    sets: Any = shipped().documents["events.yaml"]
    lists = {"products": {"type": "list", "keep": "plain", **products}}
    return changed(shipped(), "events.yaml", property_sets={"order": sets["property_sets"]["order"] | lists}).events


def test_the_plain_fields_of_each_entry_are_plain_and_the_others_sealed_at_the_same_place() -> None:
    found = order(
        products=[{"sku": "MUG-1", "price": 60, "name": "A mug"}, {"sku": "HAT-2", "quantity": 2, "coupon": None}]
    )
    assert found.plain == {"products": [{"sku": MUG, "price": 60}, {"sku": HAT, "quantity": 2}]}
    assert found.sealed["properties"] == {"products": [{"name": "A mug"}, {}]}
    assert (found.mistyped, found.unknown) == ((), 0)


def test_items_of_ga4_are_products() -> None:
    items = [{"item_id": "MUG-1", "item_name": "A mug", "price": 9.5, "quantity": 2, "index": 0, "affiliation": "Shop"}]
    sent = {"client_id": "12.34", "events": [{"name": "purchase", "params": {"value": 19, "items": items}}]}
    envelope = read_measurement(json_bytes(sent))
    assert isinstance(envelope, Envelope)
    found = classify("track", json.loads(bytes(envelope.items[0])), RULES)
    assert found.plain == {"revenue": 19, "products": [{"product_id": MUG, "price": 9.5, "quantity": 2, "position": 0}]}
    assert found.sealed["properties"] == {"products": [{"name": "A mug", "affiliation": "Shop"}]}


def test_nothing_is_sealed_of_entries_that_are_plain() -> None:
    found = order(products=[{"sku": "MUG-1"}, {}])
    assert found.plain == {"products": [{"sku": MUG}, {}]}
    assert "properties" not in found.sealed


def test_an_empty_list_is_a_list_and_an_absent_one_is_nothing() -> None:
    assert order(products=[]).plain == {"products": []}
    assert order(products=None).plain == {}


def test_fields_are_dropped_and_cut_by_their_own_rules() -> None:
    found = order(products=[{"url": "https://x.example/mug?mail=a@x.example", "image_url": "https://x.example/1.png"}])
    assert found.sealed["properties"] == {"products": [{"url": "https://x.example/mug"}]}


@pytest.mark.parametrize("value", [{"sku": "MUG-1"}, "MUG-1", 3, True])
def test_what_is_not_a_list_is_sealed_and_counted(value: Any) -> None:
    found = order(revenue=5, products=value)
    assert found.plain == {"revenue": 5}
    assert found.sealed["properties"] == {"products": value}
    assert found.mistyped == (Mistyped("products", "list of objects"),)


def test_an_entry_that_is_not_an_object_costs_that_entry() -> None:
    found = order(products=[{"sku": "MUG-1"}, "HAT-2", None, ["HAT-2"]])
    assert found.plain == {"products": [{"sku": MUG}, {}, {}, {}]}
    assert found.sealed["properties"] == {"products": [{}, "HAT-2", None, ["HAT-2"]]}
    assert found.mistyped == (Mistyped("products", "list of objects"),)


@pytest.mark.parametrize("price", ["60", True, math.nan, math.inf, 2**53, [60], {"amount": 60}])
def test_a_field_of_another_type_costs_that_field_and_is_counted_once(price: Any) -> None:
    found = order(products=[{"sku": "MUG-1", "price": price}, {"sku": "HAT-2", "price": price}])
    assert found.plain == {"products": [{"sku": MUG}, {"sku": HAT}]}
    assert [list(entry) for entry in found.sealed["properties"]["products"]] == [["price"], ["price"]]
    assert found.mistyped == (Mistyped("products.price", "number"),)


def test_a_string_that_is_not_a_term_is_never_plain() -> None:
    found = order(products=[{"sku": "ada@example.com"}, {"sku": "MUG-1"}])
    assert found.plain == {"products": [{}, {"sku": MUG}]}
    assert found.sealed["properties"] == {"products": [{"sku": "ada@example.com"}, {}]}
    assert found.mistyped == (Mistyped("products.sku", "vocabulary sku"),)


def test_fields_that_the_plan_does_not_name_are_sealed_or_dropped_and_counted_once() -> None:
    products = [{"sku": "MUG-1", "engraving": "For Ada"}, {"engraving": "For Ben", "size": 3}]
    found = order(products=products)
    assert found.sealed["properties"] == {"products": [{"engraving": "For Ada"}, {"engraving": "For Ben", "size": 3}]}
    assert found.unknown == 2
    dropped = order(
        compile_plan(changed(shipped(), "events.yaml", unknown_properties="drop").events), products=products
    )
    assert ("properties" in dropped.sealed, dropped.unknown) == (False, 2)


def test_fields_may_be_stated_with_the_list_and_go_before_those_of_a_set() -> None:
    fields = {"gift": {"type": "boolean", "keep": "plain"}, "price": {"type": "number", "keep": "sealed"}}
    rules = compile_plan(plan_with(includes=["product"], fields=fields))
    found = order(rules, products=[{"sku": "MUG-1", "gift": True, "price": 60}])
    assert found.plain == {"products": [{"sku": MUG, "gift": True}]}
    assert found.sealed["properties"] == {"products": [{"price": 60}]}


def test_fields_have_the_category_of_their_list_unless_they_have_one() -> None:
    fields = {"gift": {"type": "boolean", "keep": "plain", "category": "user.account"}}
    plan = plan_with(includes=["product"], fields=fields, category="user.behavior").events["Order Completed"]
    categories = {name: field.category for name, field in plan.properties["products"].fields.items()}
    assert (categories["gift"], categories["sku"]) == ("user.account", "user.behavior")
    of_event = shipped().events.events["Order Completed"].properties["products"]
    assert of_event.category == of_event.fields["sku"].category == "user.behavior.purchase_history"


def test_terms_of_entries_are_interned() -> None:
    assert {MUG, HAT} <= terms_of([order(products=[{"sku": "MUG-1"}, {"sku": "HAT-2"}])])
    assert vocabularies_of(RULES)["Order Completed"]["products.sku"] == "sku"


@pytest.mark.parametrize("name", [{}, {"name": "A mug"}])
def test_terms_that_a_full_vocabulary_refuses_are_sealed_in_their_entry(name: dict[str, str]) -> None:
    found = order(
        currency="EUR", products=[{"sku": "MUG-1", "price": 60, **name}, {"sku": "HAT-2", "product_id": "HAT-2"}]
    )
    kept = seal_refused_terms(found, Terms({}, frozenset({HAT})), RULES)
    assert kept.plain == {"currency": Term("currency", "EUR"), "products": [{"sku": MUG, "price": 60}, {}]}
    assert kept.sealed["properties"] == {"products": [name, {"sku": "HAT-2", "product_id": "HAT-2"}]}
    assert kept.mistyped == (
        Mistyped("products.sku", "vocabulary sku"),
        Mistyped("products.product_id", "vocabulary sku"),
    )
    assert seal_refused_terms(found, Terms({}, frozenset({Term("sku", "TIE-3")})), RULES) is found


def test_an_amount_that_a_computed_trait_adds_up_is_missing_if_no_entry_has_it() -> None:
    traits = {
        "articles": {
            "purpose": "analytics", "kind": "sum", "event": "Order Completed", "property": "products.quantity",
            "category": "user.behavior.purchase_history",
        }
    }  # fmt: skip
    policy = changed(shipped(), "traits.yaml", traits=traits)
    rules = compile_plan(policy.events, policy.traits.values())

    def missing(**properties: Any) -> set[str]:
        return {entry.property for entry in order(rules, revenue=5, **properties).missing}

    assert missing(products=[{"sku": "MUG-1"}, {"quantity": 2}]) == set()
    assert missing(products=[{"sku": "MUG-1"}]) == missing(products=[]) == missing() == {"products.quantity"}
    assert missing(products=[{"quantity": "2"}]) == set(), "it is counted as mistyped"


def test_a_list_with_many_wrong_entries_costs_no_more_than_its_length() -> None:
    found = order(products=[0] * 100_000)
    assert len(found.mistyped) == 1
    assert found.plain == {"products": [{}] * 100_000}


def test_plain_and_sealed_fields_of_an_entry_are_joined_again() -> None:
    assert joined([{"sku": "MUG-1"}, {}], [{"name": "A mug"}, "HAT-2"]) == [{"sku": "MUG-1", "name": "A mug"}, "HAT-2"]
