"""What the files must agree on among themselves; each disagreement is found, and placed."""

from typing import Any

import pytest

from cdp.kit.errors import Fault
from cdp.policy.load import build_policy
from tests.support.policies import changed, documents_of, shipped

EVENT = {"retention_class": "browsing", "category": "user.behavior"}
TRAIT = {
    "purpose": "analytics",
    "kind": "count",
    "event": "Order Completed",
    "category": "user.behavior.purchase_history",
}
DESTINATION = {"name": "D", "purpose": "email_marketing", "url": "https://mail.example.com/x"}
CLASS = {"keep_for_days": 10, "after": "delete", "reason": "R"}


def refuse(file: str, **sections: Any) -> str:
    """The detail of the fault that a change of the shipped policy ends with."""
    with pytest.raises(Fault) as fault:
        changed(shipped(), file, **sections)
    return fault.value.detail


def analytics(**fields: Any) -> dict[str, Any]:
    """The shipped purpose `analytics` with some fields changed."""
    documents: Any = shipped().documents
    return {"analytics": documents["purposes.yaml"]["purposes"]["analytics"] | fields}


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"categories": ["user.behaviour"]}, "unknown data category `user.behaviour`; did you mean `user.behavior`?"),
        ({"model": {"eu": "opt_in", "us-ca": "opt_out"}}, "jurisdiction `unknown` has no consent model here; add `unknown: opt_in`"),
        ({"model": {"eu": "opt_in", "us-ca": "opt_out", "unknown": "opt_in", "us-co": "opt_out"}}, "unknown jurisdiction `us-co`"),
        ({"combines_with": ["advertizing"]}, "unknown purpose `advertizing`; did you mean `advertising`?"),
        ({"combines_with": ["analytics"]}, "a purpose always combines with itself; remove it"),
        ({"events": ["Order Complete"]}, "unknown event `Order Complete`; did you mean `Order Completed`?"),
        ({"events": ["Product Reviewed"]}, "`Product Reviewed` is of category user.content, which this purpose does not allow"),
    ],
)  # fmt: skip
def test_purposes_name_what_exists(fields: dict[str, Any], why: str) -> None:
    assert why in refuse("purposes.yaml", purposes=analytics(**fields))


def test_readers_are_roles_that_read_purposes_that_exist() -> None:
    assert "unknown purpose `servce`; did you mean `service`?" in refuse(
        "readers.yaml", roles={"marketer": {"purposes": ["servce"]}}
    )
    long = "research_" + "x" * 40
    roles = {"agency": {"purposes": [long]}}
    document = analytics()["analytics"]
    with pytest.raises(Fault) as fault:
        changed(changed(shipped(), "purposes.yaml", purposes={long: document}), "readers.yaml", roles=roles)
    assert "too long for a table" in fault.value.detail
    assert "`auditor` is not a role that reads people" in refuse("readers.yaml", roles={"auditor": {}})


def test_a_minimum_age_needs_a_plain_age() -> None:
    sealed = {"type": "number", "keep": "sealed", "category": "user.demographic"}
    assert "a minimum age needs the stated trait `age`" in refuse("events.yaml", traits={"age": sealed})
    assert "a minimum age needs the stated trait `age`" in refuse("events.yaml", traits={"age": None})


@pytest.mark.parametrize(
    ("region", "why"),
    [
        ("UK", "did you mean `GB`?"),
        ("XX", "`XX` is not a region with telephone numbers"),
        ("gb", "must match ^[A-Z]{2}$"),
    ],
)
def test_the_default_region_has_telephones(region: str, why: str) -> None:
    assert why in refuse("identifiers.yaml", default_region=region)


def test_a_hold_names_stored_properties_of_its_class_and_outlasts_it() -> None:
    hold = {"law": "L", "columns": ["order_id"], "keep_for_days": 20}
    assert "unknown stored property of an event of class `system` named `order_id`" in refuse(
        "retention.yaml", classes={"system": CLASS | {"hold": hold}}
    )
    assert "a legal hold that ends no later than its class" in refuse(
        "retention.yaml", classes={"transactions": CLASS | {"hold": hold | {"keep_for_days": 10}}}
    )


@pytest.mark.parametrize(
    ("sections", "why"),
    [
        ({"unknown_class": "browse"}, "unknown retention class `browse`; did you mean `browsing`?"),
        ({"unknown_category": "user.stuff"}, "unknown data category `user.stuff`"),
        ({"events": {"X": EVENT | {"retention_class": "forever"}}}, "unknown retention class `forever`"),
        ({"events": {"X": EVENT | {"category": "user.stuff"}}}, "unknown data category `user.stuff`"),
        ({"events": {"X": EVENT | {"includes": ["products"]}}}, "unknown property set `products`; did you mean `product`?"),
        ({"property_sets": {"s": {"p": {"type": "string", "keep": "plain", "vocabulary": "v"}}}}, "unknown vocabulary `v`"),
        ({"traits": {"shoe": {"type": "number", "keep": "plain"}}}, "`shoe` has no data category; add `category`"),
        ({"context": {"os.version": {"type": "any", "keep": "sealed"}}}, "`os.version` has no data category"),
    ],
)  # fmt: skip
def test_the_tracking_plan_names_what_exists(sections: dict[str, Any], why: str) -> None:
    assert why in refuse("events.yaml", **sections)


def test_a_fault_of_a_property_set_is_said_once_where_it_stands() -> None:
    broken = {"type": "string", "keep": "plain", "vocabulary": "nothing_such"}
    detail = refuse("events.yaml", property_sets={"page": {"name": broken}})
    assert detail.splitlines() == [line for line in detail.splitlines() if "nothing_such" in line][:1]


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"purpose": "analytic"}, "unknown purpose `analytic`; did you mean `analytics`?"),
        ({"event": "Order Complete"}, "unknown event `Order Complete`"),
        ({"category": "user.money"}, "unknown data category `user.money`"),
        ({"purpose": "advertising"}, "purpose `advertising` does not allow data of category user.behavior.purchase_history"),
        ({"purpose": "service", "event": "page"}, "purpose `service` does not cover the event `page`"),
        ({"category": "user.content"}, "does not allow data of category user.content"),
        ({"kind": "sum", "property": "revenu"}, "unknown property of `Order Completed` named `revenu`; did you mean `revenue`?"),
        ({"kind": "sum", "property": "order_id"}, "`order_id` of `Order Completed` is kept sealed, so nothing can be computed from it"),
        ({"kind": "sum", "property": "currency"}, "`currency` is a string; a sum needs a number"),
        ({"where": {"coupon": ["x"]}}, "`coupon` of `Order Completed` is kept sealed"),
        ({"where": {"colour": ["x"]}}, "unknown property of `Order Completed` named `colour`"),
        ({"where": {"currency": ["euro"]}}, "`euro` is not a term of the vocabulary `currency`"),
        ({"where": {"currency": [3]}}, "`currency` is a string; use values of that type"),
        ({"where": {"revenue": ["3"]}}, "`revenue` is a number; use values of that type"),
        ({"where": {"revenue": [True]}}, "`revenue` is a number; use values of that type"),
        ({"within_days": 1096}, "the window is longer than events of class `transactions` are kept (1,095 days)"),
    ],
)  # fmt: skip
def test_a_computed_trait_reads_what_exists_and_its_purpose_allows(entry: dict[str, Any], why: str) -> None:
    assert why in refuse("traits.yaml", traits={"mine": TRAIT | entry})


def test_a_computed_trait_may_read_what_fits() -> None:
    entry = TRAIT | {
        "kind": "sum",
        "property": "revenue",
        "where": {"currency": ["EUR"], "items": [1, 2.5]},
        "within_days": 30,
    }
    assert changed(shipped(), "traits.yaml", traits={"mine": entry}).traits["mine"].where["items"] == (1, 2.5)


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"purpose": "mail"}, "unknown purpose `mail`"),
        ({"url": "https://other.example.com/x"}, "the host `other.example.com` is not allowed; add it to `hosts`"),
        ({"identifiers": ["e-mail"]}, "must match"),
        ({"identifiers": ["mail"]}, "unknown identifier type `mail`; did you mean `email`?"),
    ],
)
def test_destinations_are_allowed_and_purposeful(entry: dict[str, Any], why: str) -> None:
    assert why in refuse("destinations.yaml", destinations={"mine": DESTINATION | entry})


def test_jurisdictions_have_regimes_and_a_time_zone() -> None:
    place = {"us-ca": {"name": "California", "regime": "cpra"}}
    assert "unknown regime `cpra`; did you mean `ccpa`?" in refuse("jurisdictions.yaml", jurisdictions=place)
    assert "unknown time zone `Europe/Atlantis`" in refuse("jurisdictions.yaml", time_zone="Europe/Atlantis")
    assert "unknown time zone `../etc/passwd`" in refuse("jurisdictions.yaml", time_zone="../etc/passwd")
    assert "the jurisdiction `unknown` is missing" in refuse("jurisdictions.yaml", jurisdictions={"unknown": None})


def test_segments_have_a_purpose_and_the_name_of_their_file() -> None:
    documents = documents_of(shipped())
    documents["segments/big.yaml"] = {"key": "large", "name": "L", "purpose": "analytic", "where": "x"}
    with pytest.raises(Fault) as fault:
        build_policy(documents)
    assert "segments/big.yaml: unknown purpose `analytic`" in fault.value.detail
    assert "the key is `large`, but the file is big.yaml" in fault.value.detail
