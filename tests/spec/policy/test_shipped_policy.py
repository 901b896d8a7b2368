"""The shipped policies contain what the specification defines."""

import re

import pytest

from cdp.policy.model import (
    ConsentModel,
    DeadlineTerm,
    EmailFolding,
    IdentifierType,
    Keep,
    LegalBasis,
    Limit,
    NormalizerKind,
    OnConflict,
    PropertyType,
    Right,
    TraitKind,
    Unknown,
)
from tests.support.policies import permit_all, segment_unify, shipped

PURPOSES = {
    "service": LegalBasis.CONTRACT,
    "analytics": LegalBasis.CONSENT,
    "personalization": LegalBasis.CONSENT,
    "email_marketing": LegalBasis.CONSENT,
    "advertising": LegalBasis.CONSENT,
}

TYPES_IN_ORDER = [
    "user_id", "email", "phone", "anonymous_id", "ios.id", "android.id", "ios.idfa", "android.idfa", "ga_client_id",
    "ios.push_token", "android.push_token", "loyalty_id", "household_id",
]  # fmt: skip

BLOCKED = [
    "", "null", "none", "nan", "nil", "undefined", "unknown", "anonymous", "guest", "distinctid", "distinct_id", "id",
    "email", "not_authenticated", "true", "false", "0", "-1", "[object Object]",
]  # fmt: skip


def test_the_five_purposes_and_their_bases() -> None:
    assert {key: each.legal_basis for key, each in shipped().purposes.items()} == PURPOSES


def test_email_marketing_is_opt_in_everywhere() -> None:
    assert set(shipped().purposes["email_marketing"].model.values()) == {ConsentModel.OPT_IN}


def test_advertising_is_sale_and_sharing_opt_in_in_the_eu_and_opt_out_in_california() -> None:
    advertising = shipped().purposes["advertising"]
    assert advertising.sale_or_sharing
    assert advertising.consent_model(["eu"]) is ConsentModel.OPT_IN
    assert advertising.consent_model(["us-ca"]) is ConsentModel.OPT_OUT
    assert advertising.consent_model(["unknown"]) is ConsentModel.OPT_IN
    assert [key for key, each in shipped().purposes.items() if each.sale_or_sharing] == ["advertising"]


def test_service_covers_orders_only() -> None:
    service = shipped().purposes["service"]
    assert service.needs_unique_identifier
    assert service.covers("Order Completed")
    assert not service.covers("Product Viewed")


def test_jurisdictions_and_the_strictest_for_the_unknown() -> None:
    jurisdictions = shipped().jurisdictions
    assert set(jurisdictions.jurisdictions) == {"eu", "us-ca", "unknown"}
    regimes = {key: each.regime for key, each in jurisdictions.jurisdictions.items()}
    assert regimes == {"eu": "gdpr", "us-ca": "ccpa", "unknown": "gdpr"}
    assert jurisdictions.minimum_disclosure_size == 100


def test_deadlines_of_both_regimes() -> None:
    gdpr, ccpa = (shipped().jurisdictions.regimes[key] for key in ("gdpr", "ccpa"))
    assert (gdpr.confirm, gdpr.answer, gdpr.extension) == (None, DeadlineTerm(months=1), DeadlineTerm(months=2))
    assert ccpa.confirm == DeadlineTerm(business_days=10)
    assert (ccpa.answer, ccpa.extension) == (DeadlineTerm(calendar_days=45), DeadlineTerm(calendar_days=45))
    assert ccpa.opt_out == DeadlineTerm(business_days=15)
    assert ccpa.ask_again_after_months == 12
    assert {Right.ACCESS, Right.ERASURE, Right.PORTABILITY} <= set(gdpr.rights) & set(ccpa.rights)


@pytest.mark.parametrize("name", [
    "Product Viewed", "Product Added", "Cart Viewed", "Checkout Started", "Order Completed", "Order Refunded",
    "Email Opened", "Email Link Clicked", "page", "screen", "identify", "group", "alias",
])  # fmt: skip
def test_the_events_of_the_segment_spec_are_planned(name: str) -> None:
    event = shipped().events.events[name]
    classes = {
        "Order": "transactions",
        "Email": "engagement",
        "identify": "system",
        "group": "system",
        "alias": "system",
    }
    assert event.retention_class == classes.get(name.split(maxsplit=1)[0], "browsing")


def test_classes_of_retention_and_the_statutory_hold() -> None:
    retention = shipped().retention
    assert set(retention.classes) == {"transactions", "browsing", "engagement", "system"}
    assert [key for key, each in retention.classes.items() if each.hold] == ["transactions"]
    assert retention.requests.keep_for_days >= 731, "24 months, a leap year among them"


def test_identifier_types_in_their_order() -> None:
    assert [each.key for each in shipped().identifiers.ordered] == TYPES_IN_ORDER


def test_what_identifies_a_person_and_what_a_device() -> None:
    identifiers = shipped().identifiers
    types = identifiers.types
    assert identifiers.unique_types == {"user_id"}
    assert types["user_id"].limit == Limit(count=1)
    assert types["email"].limit == types["phone"].limit == Limit(count=5)
    assert {key for key, each in types.items() if each.person_level} == {"user_id", "email", "phone"}
    assert {key for key, each in types.items() if each.device} == set(TYPES_IN_ORDER[3:11])
    assert [key for key, each in types.items() if not each.merges] == ["household_id"]
    assert {each.on_conflict for each in types.values()} == {OnConflict.SHARED}
    assert [types[key].normalizer for key in ("email", "phone", "ios.idfa", "user_id")] == [
        NormalizerKind.EMAIL, NormalizerKind.PHONE, NormalizerKind.ADVERTISING_ID, NormalizerKind.ID,
    ]  # fmt: skip
    assert identifiers.email_folding is EmailFolding.OFF
    bounds = identifiers.bounds
    assert (bounds.identifiers_per_profile, bounds.merges_per_profile, bounds.anchors_per_profile) == (1000, 100, 1000)


def test_the_whole_list_of_blocked_values() -> None:
    blocked = shipped().identifiers.blocked
    assert sorted(blocked.values) == sorted(BLOCKED)
    (zeros,) = blocked.patterns
    for value in ("000000", "0000-0000-0000", "00000000-0000-0000-0000-000000000000", "", "---"):
        assert re.search(zeros, value)
    assert not re.search(zeros, "1000")


@pytest.mark.parametrize(("address", "blocked"), [
    ("noreply@example.com", True), ("no-reply@shop.example", True), ("test@test.com", True), ("reply@example.com", False),
    ("jane.noreply@example.com", False),
])  # fmt: skip
def test_role_addresses_are_blocked_as_emails_only(address: str, blocked: bool) -> None:
    rule = shipped().identifiers.types["email"].blocked
    assert (address in rule.values or any(re.search(each, address) for each in rule.patterns)) is blocked


def places(kind: IdentifierType) -> dict[str, dict[str, str | bool]]:
    """The places of a type with their conditions."""
    return {each.place: dict(each.when) for each in kind.promote}


def test_promotion_from_the_places_where_sdks_put_identifiers() -> None:
    types = shipped().identifiers.types
    assert "userId" in places(types["user_id"])
    assert "anonymousId" in places(types["anonymous_id"])
    assert {"traits.email", "context.traits.email", "properties.email"} <= set(places(types["email"]))
    assert {"traits.phone", "context.traits.phone"} <= set(places(types["phone"]))
    for system in ("ios", "android"):
        assert places(types[f"{system}.id"])["context.device.id"] == {"context.device.type": system}
        assert places(types[f"{system}.push_token"])["context.device.token"] == {"context.device.type": system}
        assert places(types[f"{system}.idfa"]) == {
            "context.device.advertisingId": {"context.device.type": system, "context.device.adTrackingEnabled": True}
        }
    assert {key for key, each in types.items() if "context.externalIds[]" in places(each)} >= {
        "user_id",
        "email",
        "phone",
    }


def test_what_the_plan_does_not_name_is_never_plain() -> None:
    plan = shipped().events
    assert {plan.unknown_events, plan.unknown_properties, plan.unknown_traits} == {Unknown.SEAL}
    assert plan.unknown_context is Unknown.DROP


def test_addresses_of_machines_and_pages_are_personal() -> None:
    context = shipped().events.context
    assert context["ip"].keep is not Keep.PLAIN
    assert context["userAgent"].keep is not Keep.PLAIN
    assert context["page.url"].without_query


def test_every_plain_string_belongs_to_a_vocabulary() -> None:
    plan = shipped().events
    everything = [*plan.traits.values(), *plan.context.values()]
    everything += [each for event in plan.events.values() for each in event.properties.values()]
    for each in everything:
        if each.keep is Keep.PLAIN and each.type is PropertyType.STRING:
            assert each.vocabulary in plan.vocabularies, each.key


@pytest.mark.parametrize(("vocabulary", "terms"), [
    ("sku", ["85123A", "22423", "SKU-42", "S1", "POST-1"]),
    ("product_category", ["shoes", "Home & Garden", "Docs", "Möbel"]),
    ("brand", ["Acme", "H&M", "Marks & Spencer"]),
    ("campaign", ["spring-sale-2026", "summer", "newsletter_12", "google", "cpc"]),
    ("country", ["DE", "FR", "GB"]),
    ("currency", ["EUR", "GBP"]),
    ("locale", ["en-US", "de", "zh-Hans-CN"]),
    ("time_zone", ["Europe/Berlin", "UTC", "America/Argentina/Buenos_Aires"]),
    ("plan", ["Pro", "Enterprise Plus"]),
])  # fmt: skip
def test_vocabularies_take_the_terms_they_are_for(vocabulary: str, terms: list[str]) -> None:
    for term in terms:
        assert shipped().events.vocabularies[vocabulary].accepts(term), term


def test_traits_of_the_segment_language_examples_exist() -> None:
    policy = shipped()
    assert policy.events.traits["country"].vocabulary == "country"
    assert policy.events.traits["age"].type is PropertyType.NUMBER
    assert {"engagement_score", "monetary"} <= set(policy.traits)
    assert policy.events.events["Order Completed"].properties["revenue"].keep is Keep.PLAIN
    assert policy.events.events["Product Viewed"].properties["category"].keep is Keep.PLAIN


def test_every_purpose_has_a_computed_trait_and_every_kind_is_used() -> None:
    traits = shipped().traits.values()
    assert {each.purpose for each in traits} == set(PURPOSES)
    assert {each.kind for each in traits} == {TraitKind.COUNT, TraitKind.SUM, TraitKind.LAST}
    assert any(each.kind is TraitKind.SUM and each.half_life_days for each in traits)


def test_the_rules_of_segment_unify() -> None:
    identifiers = segment_unify().identifiers
    assert [each.key for each in identifiers.ordered][:3] == ["user_id", "email", "android.id"]
    assert {each.on_conflict for each in identifiers.types.values()} == {OnConflict.FIRST_OWNER}
    assert identifiers.unique_types == {"user_id"}
    raised = segment_unify({"user_id": 2, "email": 1, "*": 5}).identifiers
    assert raised.unique_types == set()
    assert (raised.types["user_id"].limit.count, raised.types["email"].limit.count) == (2, 1)
    assert permit_all().identifiers == shipped().identifiers
