"""What a single entry of a policy may not say, and what the models answer."""

from typing import Any

import pytest
from pydantic import ValidationError

from cdp.kit.errors import Fault
from cdp.policy.model import ConsentModel, LegalBasis, Policy, PropertyType, Purpose, Vocabulary
from tests.support.policies import changed, shipped


def purpose(**fields: Any) -> Purpose:
    """A purpose with these fields; the rest is harmless."""
    content = {
        "key": "p", "name": "P", "text": "", "legal_basis": LegalBasis.CONSENT, "data_use": "analytics",
        "categories": ("user.behavior",), "model": {"eu": ConsentModel.OPT_IN, "us-ca": ConsentModel.OPT_OUT},
    }  # fmt: skip
    return Purpose(**(content | fields))


def refuse(file: str, **sections: Any) -> str:
    """The detail of the fault that a change of the shipped policy ends with."""
    with pytest.raises(Fault) as fault:
        changed(shipped(), file, **sections)
    return fault.value.detail


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"legal_basis": LegalBasis.LEGITIMATE_INTERESTS, "model": {}}, "`assessment` is allowed only with"),
        ({"assessment": "LIA-1"}, "`assessment` is allowed only with"),
        ({"model": {}}, "`model` .* is allowed only with legal_basis consent"),
        ({"legal_basis": LegalBasis.CONTRACT, "events": ("a",)}, "`model` .* is allowed only with legal_basis consent"),
        ({"legal_basis": LegalBasis.CONTRACT, "model": {}}, "contract covers only the events it lists"),
        ({"legal_basis": LegalBasis.LEGAL_OBLIGATION, "model": {}, "events": ()}, "covers only the events it lists"),
        (
            {"legal_basis": LegalBasis.VITAL_INTERESTS, "model": {}, "events": ("a",), "validity_days": 3},
            "limits grants",
        ),
        ({"categories": ()}, "at least 1 item"),
        ({"key": "x" * 54}, "match pattern"),
        ({"key": "drop table"}, "match pattern"),
        ({"validity_days": 0}, "greater than or equal to 1"),
        ({"minimum_age": 22}, "less than or equal to 21"),
        ({"surprise": 1}, "not permitted"),
        ({"sale_or_sharing": "yes"}, "valid boolean"),
    ],
)
def test_an_incoherent_purpose_is_refused(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        purpose(**fields)


@pytest.mark.parametrize(
    ("jurisdictions", "model"),
    [
        (["eu"], ConsentModel.OPT_IN),
        (["us-ca"], ConsentModel.OPT_OUT),
        (["us-ca", "eu"], ConsentModel.OPT_IN),
        ([], ConsentModel.OPT_IN),
        (["atlantis"], ConsentModel.OPT_IN),
        (["us-ca", "atlantis"], ConsentModel.OPT_IN),
    ],
)
def test_the_strictest_consent_model_wins_and_not_knowing_is_strictest(
    jurisdictions: list[str], model: ConsentModel
) -> None:
    assert purpose().consent_model(jurisdictions) is model


def test_a_category_includes_those_below_it_and_no_others() -> None:
    one = purpose(categories=("user.behavior", "user.contact.email"))
    assert one.allows("user.behavior")
    assert one.allows("user.behavior.purchase_history")
    assert one.allows("user.contact.email")
    assert not one.allows("user")
    assert not one.allows("user.contact")
    assert not one.allows("user.behavioral")


def test_other_bases_than_consent_cover_what_they_list_and_end_only_by_a_no() -> None:
    contract = purpose(legal_basis=LegalBasis.CONTRACT, model={}, events=("Order Completed",))
    assert contract.covers("Order Completed")
    assert not contract.covers("page")
    assert contract.needs_unique_identifier
    assert contract.consent_model(["eu"]) is ConsentModel.OPT_OUT
    interests = purpose(legal_basis=LegalBasis.LEGITIMATE_INTERESTS, model={}, assessment="LIA-1")
    assert interests.covers("anything")
    assert not interests.needs_unique_identifier


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"priority": 2}, "priority 2 is already used by `email`; the next free one is 14"),
        ({"unique": True, "person_level": True}, "a unique type has `limit: {count: 1}`"),
        ({"unique": True, "limit": {"count": 1, "within_days": 3}, "person_level": True}, "without a window"),
        ({"unique": True, "limit": {"count": 1}}, "set `person_level: true`"),
        ({"trusts_browsers": False}, "`trusts_browsers` is for unique types"),
        ({"device": True, "person_level": True}, "choose `person_level` or `device`"),
        ({"unique": True, "limit": {"count": 1}, "person_level": True, "merges": False}, "set `merges: true`"),
        ({"promote": [{"place": "traits.email"}]}, "`traits.email` is already promoted to `email`"),
        ({"promote": [{"place": "properties.list[]"}]}, "the only list that can be promoted is context.externalIds[]"),
        ({"promote": [{"place": "a..b"}]}, "must match"),
        ({"blocked": {"patterns": ["("]}}, "is not a regular expression"),
        ({"normalizer": "mail"}, "did you mean `email`?"),
        ({"on_conflict": "first"}, "did you mean `first_owner`?"),
        ({"limit": {"count": 0}}, "greater than or equal to 1, but is 0"),
        ({"namespace": "x"}, "unknown key `namespace`"),
    ],
)
def test_an_incoherent_identifier_type_is_refused(entry: dict[str, Any], why: str) -> None:
    types = {"badge": {"normalizer": "id", "priority": 20} | entry}
    assert why in refuse("identifiers.yaml", types=types)


def test_a_custom_type_takes_its_rank() -> None:
    policy = changed(shipped(), "identifiers.yaml", types={"badge": {"normalizer": "id", "priority": 20}})
    assert [each.key for each in policy.identifiers.ordered][:2] == ["user_id", "email"]
    assert policy.identifiers.ordered[-1].key == "badge"
    assert policy.identifiers.unique_types == {"user_id"}


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"type": "any", "keep": "plain"}, "type `any` cannot be kept plain"),
        ({"type": "string", "keep": "plain"}, "a plain string needs a `vocabulary`"),
        (
            {"type": "string", "keep": "sealed", "vocabulary": "sku"},
            "`vocabulary` is allowed only for a string that is kept plain",
        ),
        ({"type": "number", "keep": "plain", "vocabulary": "sku"}, "`vocabulary` is allowed only for"),
        (
            {"type": "string", "keep": "plain", "vocabulary": "skus"},
            "unknown vocabulary `skus`; did you mean `sku`?",
        ),
        ({"type": "string", "keep": "drop", "without_query": True}, "`without_query` cuts a URL"),
        ({"type": "string", "keep": "seal"}, "did you mean `sealed`?"),
        ({"type": "text", "keep": "sealed"}, "`events.page.properties.x.type` must be"),
        ({"type": "number", "keep": "plain", "category": "user.behaviour"}, "did you mean `user.behavior`?"),
    ],
)
def test_an_incoherent_property_is_refused(entry: dict[str, Any], why: str) -> None:
    page = {"retention_class": "browsing", "category": "user.behavior.browsing_history", "properties": {"x": entry}}
    assert why in refuse("events.yaml", events={"page": page})


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({}, "a vocabulary is either enumerated (`values`) or open"),
        (
            {"values": ["a"], "pattern": "[a-z]", "max_length": 1},
            "a vocabulary is either enumerated (`values`) or open",
        ),
        ({"pattern": "[a-z]"}, "`pattern` and `max_length` require each other"),
        ({"values": ["a", "a"]}, "contains a term twice"),
        ({"values": ["jane@example.com"]}, "the term 'jane@example.com' contains an @"),
        ({"values": ["+44 20 7946 0958"]}, "contains more than 6 digits"),
        ({"pattern": "[a-z]+@[a-z]+", "max_length": 30}, "it could match an e-mail address"),
        ({"pattern": "[0-9]{9}", "max_length": 9}, "it could match a telephone number"),
        ({"pattern": "[a-z ]+", "max_length": 30}, "it could match free text"),
        ({"pattern": "[a-z]", "max_length": 65}, "less than or equal to 64"),
    ],
)
def test_an_unsafe_vocabulary_is_refused(entry: dict[str, Any], why: str) -> None:
    assert why in refuse("events.yaml", vocabularies={"mine": entry})


def test_vocabularies_take_whole_terms_only() -> None:
    fixed = Vocabulary(key="v", values=("card", "PayPal"))
    assert fixed.accepts("PayPal")
    assert not fixed.accepts("paypal")
    open_one = Vocabulary(key="v", pattern="[a-z]{2}(-[a-z]{2})?", max_length=4)
    assert open_one.accepts("de")
    assert not open_one.accepts("de-at")
    assert not open_one.accepts("de\n")
    assert not open_one.accepts("")


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"kind": "median"}, "must be 'count', 'sum'"),
        (
            {"kind": "distinct", "property": "sku"},
            "kind distinct is not supported by this version; expected one of count, sum, last",
        ),
        ({"kind": "sum"}, "kind sum requires a `property`"),
        ({"kind": "count", "property": "revenue"}, "kind count counts events and must not have a `property`"),
        ({"kind": "last", "half_life_days": 3}, "`half_life_days` is allowed only for count and sum"),
        ({"half_life_days": 3, "within_days": 3}, "not both"),
        ({"half_life_days": 0}, "greater than or equal to 0.01"),
        ({"where": {"currency": []}}, "at least 1 item"),
    ],
)
def test_an_incoherent_computed_trait_is_refused(entry: dict[str, Any], why: str) -> None:
    whole = {"purpose": "analytics", "kind": "count", "event": "Order Completed", "category": "user.behavior"} | entry
    assert why in refuse("traits.yaml", traits={"mine": whole})


@pytest.mark.parametrize(
    ("term", "why"),
    [
        ({}, "exactly one of"),
        ({"months": 1, "calendar_days": 3}, "exactly one of"),
        ({"months": 0}, "greater than or equal"),
    ],
)
def test_a_term_has_one_unit(term: dict[str, int], why: str) -> None:
    regime = {"name": "R", "rights": ["access"], "answer": term, "opt_out": {"months": 1}, "authority": "A"}
    assert why in refuse("jurisdictions.yaml", regimes={"mine": regime})


def test_holidays_are_dates() -> None:
    regime = {
        "name": "R", "rights": ["access"], "answer": {"months": 1}, "opt_out": {"months": 1}, "authority": "A",
        "holidays": ["2026-13-01"],
    }  # fmt: skip
    assert "`regimes.mine.holidays[0]` must be a date such as 2026-12-25" in refuse(
        "jurisdictions.yaml", regimes={"mine": regime}
    )
    regime["holidays"] = ["2026-12-25"]
    policy = changed(shipped(), "jurisdictions.yaml", regimes={"mine": regime})
    assert policy.jurisdictions.regimes["mine"].holidays[0].isoformat() == "2026-12-25"


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("http://mail.example.com/x", ["mail.example.com"]),
        ("https://mail.example.com:8443/x", ["mail.example.com"]),
        ("https://user@mail.example.com/x", ["mail.example.com"]),
        ("https://mail.example.com/x?token=1", ["mail.example.com"]),
        ("https://10.0.0.1/x", ["10.0.0.1"]),
        ("https://localhost/x", ["localhost"]),
        ("https://elsewhere.example.com/x", ["mail.example.com"]),
    ],
)
def test_a_destination_is_https_at_an_allowed_full_name(url: str, hosts: list[str]) -> None:
    entry = {"name": "D", "purpose": "email_marketing", "url": url}
    assert refuse("destinations.yaml", hosts=hosts, destinations={"newsletter": None, "mine": entry})


def test_unknown_events_are_of_the_unknown_class_and_category() -> None:
    policy = shipped()
    assert policy.events.class_of("never heard of") == "browsing"
    assert policy.events.category_of("never heard of") == "user.behavior"
    assert policy.events.class_of("Order Completed") == "transactions"


def test_includes_are_written_out_and_an_own_property_wins() -> None:
    policy = changed(
        shipped(),
        "events.yaml",
        events={
            "Product Viewed": {
                "retention_class": "browsing",
                "category": "user.behavior.browsing_history",
                "includes": ["product"],
                "properties": {"price": {"type": "number", "keep": "drop"}},
            }
        },
    )
    properties = policy.events.events["Product Viewed"].properties
    assert properties["price"].keep.value == "drop"
    assert properties["sku"].vocabulary == "sku"
    assert {plan.category for plan in properties.values()} == {"user.behavior.browsing_history"}


def test_values_of_computed_traits_have_types() -> None:
    policy = shipped()
    assert policy.value_type(policy.traits["orders_count"]) is PropertyType.NUMBER
    assert policy.value_type(policy.traits["monetary"]) is PropertyType.NUMBER
    assert policy.value_type(policy.traits["last_order_at"]) is PropertyType.INSTANT
    assert policy.value_type(policy.traits["last_category_viewed"]) is PropertyType.STRING


def test_a_policy_cannot_be_changed() -> None:
    policy: Policy = shipped()
    with pytest.raises(ValidationError, match="frozen"):
        policy.fingerprint = "x"  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        policy.purposes["analytics"].sale_or_sharing = True  # type: ignore[misc]
