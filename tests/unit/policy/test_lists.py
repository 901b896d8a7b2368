"""Lists in the tracking plan: what may be declared, what is refused, and which computed traits may read them."""

from typing import Any

import pytest

from cdp.kit.errors import Fault
from cdp.policy.diff import differences
from cdp.policy.load import build_policy
from cdp.policy.model import Policy
from cdp.policy.processing_record import processing_record
from tests.support.policies import changed, documents_of, shipped

EVENT = {"retention_class": "browsing", "category": "user.behavior"}
LIST = {"type": "list", "keep": "plain"}
SKU = {"type": "string", "keep": "plain", "vocabulary": "sku"}
SUM = {
    "purpose": "analytics", "kind": "sum", "event": "Order Completed", "property": "products.quantity",
    "category": "user.behavior.purchase_history",
}  # fmt: skip


def refuse(file: str, **sections: Any) -> str:
    """The detail of the fault that a change of the shipped policy ends with."""
    with pytest.raises(Fault) as fault:
        changed(shipped(), file, **sections)
    return fault.value.detail


def with_list(**fields: Any) -> dict[str, Any]:
    return {"events": {"X": EVENT | {"properties": {"lines": LIST | fields}}}}


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({}, "a list needs `includes` or `fields`: what each of its entries has"),
        ({"includes": ["product"], "keep": "sealed"}, "set `keep: plain`, or `type: any`"),
        ({"includes": ["product"], "keep": "drop"}, "set `keep: plain`, or `type: any`"),
        ({"includes": ["products"]}, "unknown property set `products`; did you mean `product`?"),
        ({"includes": ["order"]}, "the set `order` has the list `products`, and entries of a list cannot have lists"),
        ({"fields": {"inner": LIST | {"fields": {"sku": SKU}}}}, "`inner`: entries of a list cannot have lists"),
        ({"fields": {"sku": {"type": "string", "keep": "plain"}}}, "a plain string needs a `vocabulary`"),
        ({"fields": {"note": {"type": "any", "keep": "plain"}}}, "type `any` cannot be kept plain"),
        ({"fields": {"sku": SKU | {"vocabulary": "skew"}}}, "unknown vocabulary `skew`; expected one of: brand"),
        ({"fields": {"sku": SKU | {"category": "user.stuff"}}}, "unknown data category `user.stuff`"),
        ({"fields": {"sku": SKU | {"keep": "plane"}}}, "did you mean `plain`?"),
        ({"fields": {"sku": SKU | {"vocabularly": "sku"}}}, "unknown key `vocabularly`"),
        ({"fields": {"sku": SKU}, "vocabulary": "sku"}, "`vocabulary` is allowed only for a string"),
        ({"type": "any", "keep": "sealed", "fields": {"sku": SKU}}, "`includes` and `fields` describe the entries of a list"),
    ],
)  # fmt: skip
def test_a_list_that_cannot_be_sorted_is_refused(fields: dict[str, Any], why: str) -> None:
    assert why in refuse("events.yaml", **with_list(**fields))


def test_a_fault_of_a_field_is_said_once_with_its_place() -> None:
    detail = refuse("events.yaml", **with_list(includes=["product"], fields={"sku": SKU | {"vocabulary": "skew"}}))
    assert len(detail.splitlines()) == 1
    broken = SKU | {"vocabulary": "skew"}
    sets: Any = shipped().documents["events.yaml"]
    detail = refuse("events.yaml", property_sets={"product": sets["property_sets"]["product"] | {"sku": broken}})
    assert len(detail.splitlines()) == 1, "of a set that three lists include"


@pytest.mark.parametrize("section", ["traits", "context"])
def test_only_a_property_of_an_event_is_a_list(section: str) -> None:
    stated = LIST | {"fields": {"sku": SKU}, "category": "user.account"}
    assert "`things` is a list, which only a property of an event can be" in refuse(
        "events.yaml", **{section: {"things": stated}}
    )


def test_a_property_does_not_have_the_name_of_a_field() -> None:
    properties = {"lines": LIST | {"fields": {"sku": SKU}}, "lines.sku": SKU}
    detail = refuse("events.yaml", events={"X": EVENT | {"properties": properties}})
    assert "`lines.sku` is a property and a field of the entries of `lines`; rename one of them" in detail


@pytest.mark.parametrize(
    "entry",
    [
        SUM,
        SUM | {"where": {"products.sku": ["MUG-1"], "currency": ["EUR"]}},
        {**SUM, "kind": "count", "property": None, "where": {"products.sku": ["MUG-1"]}},
    ],
)
def test_a_computed_trait_reads_fields_of_entries(entry: dict[str, Any]) -> None:
    entry = {key: value for key, value in entry.items() if value is not None}
    assert "articles" in changed(shipped(), "traits.yaml", traits={"articles": entry}).traits


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"property": "products"}, "`products` of `Order Completed` is a list, and nothing can be computed from it as a whole; use a field of its entries: products.product_id, products.sku"),
        ({"property": "products.quantty"}, "did you mean `products.quantity`?"),
        ({"property": "products.name"}, "`products.name` of `Order Completed` is kept sealed"),
        ({"property": "products.sku"}, "`products.sku` is a string; a sum needs a number"),
        ({"kind": "last"}, "`products.quantity` is a field of the entries of a list, of which an event can have many"),
        ({"where": {"products": ["MUG-1"]}}, "`products` of `Order Completed` is a list"),
        ({"where": {"products.sku": ["ada@example.com"]}}, "is not a term of the vocabulary `sku`"),
        ({"where": {"products.price": ["60"]}}, "`price` is a number; use values of that type"),
        ({"where": {"products.coupon": ["X"]}}, "`products.coupon` of `Order Completed` is kept sealed"),
    ],
)  # fmt: skip
def test_a_computed_trait_that_can_never_have_a_value_is_refused(entry: dict[str, Any], why: str) -> None:
    assert why in refuse("traits.yaml", traits={"articles": SUM | entry})


def test_a_computed_trait_needs_a_purpose_that_allows_the_category_of_the_field() -> None:
    documents = documents_of(changed(shipped(), "purposes.yaml", categories={"user.sizes": "Sizes"}))
    fields = {"size": {"type": "number", "keep": "plain", "category": "user.sizes"}}
    documents["events.yaml"]["property_sets"]["order"]["products"]["fields"] = fields
    documents["traits.yaml"]["traits"]["sizes"] = SUM | {"property": "products.size"}
    with pytest.raises(Fault) as fault:
        build_policy(documents)
    assert "purpose `analytics` does not allow data of category user.sizes" in fault.value.detail


def _as_before() -> Policy:
    """The shipped policy as it was before lists: products are sealed as a whole."""
    documents = documents_of(shipped())
    for stated in ("cart", "order", "catalog"):
        documents["events.yaml"]["property_sets"][stated]["products"] = {"type": "any", "keep": "sealed"}
    return build_policy(documents)


def test_the_plan_says_what_a_list_changes() -> None:
    changes = [
        (change.path[-1], change.text, change.effect)
        for change in differences(_as_before(), shipped())
        if change.path[:2] == ("events", "Order Completed") and change.path[-1] in ("type", "keep")
    ]
    effect = "values from now on can be used by segments; stored ones stay sealed"
    assert [(name, text.partition("changes ")[2], found) for name, text, found in changes] == [
        ("type", "from any to list", ""),
        ("keep", "from sealed to plain", effect),
    ]
    documents = documents_of(shipped())
    documents["events.yaml"]["property_sets"]["product"]["price"] = {"type": "number", "keep": "sealed"}
    (found,) = (
        change
        for change in differences(shipped(), build_policy(documents))
        if change.path[-1] == "keep" and change.path[:4] == ("events", "Order Completed", "properties", "products")
    )
    assert found.effect == "segments and computed traits that read it no longer compile"


def test_the_record_of_processing_names_sealed_fields_of_entries() -> None:
    sealed = processing_record(shipped()).sealed
    assert "Order Completed.products.name" in sealed
    assert "Order Completed.products.sku" not in sealed
    assert "Order Completed.products" not in sealed
