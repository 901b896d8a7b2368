"""Sorting messages by the tracking plan."""

import copy
import json
import math
from typing import Any

import pytest

from cdp.behavior.classify import classify, json_bytes, payload, seal_refused_terms, terms_of
from cdp.behavior.model import EVENT_NAMES, Classified, Term, Terms
from cdp.behavior.rules import PlanRules, compile_plan, vocabularies_of
from tests.support.policies import changed, shipped

POLICY = shipped()
RULES = compile_plan(POLICY.events)


def rules_with(**sections: Any) -> PlanRules:
    return compile_plan(changed(POLICY, "events.yaml", **sections).events)


def order(**properties: Any) -> Classified:
    return classify("track", {"event": "Order Completed", "messageId": "m", "properties": properties}, RULES)


def context(kind: str = "track", rules: PlanRules = RULES, **context: Any) -> Classified:
    return classify(kind, {"event": "Order Completed", "context": context}, rules)


class TestPlain:
    def test_a_planned_event_has_name_class_and_category(self) -> None:
        found = order()
        assert (found.name, found.retention_class) == ("Order Completed", "transactions")
        assert found.category == "user.behavior.purchase_history"

    @pytest.mark.parametrize("kind", ["identify", "page", "screen", "group", "alias"])
    def test_other_calls_are_events_named_by_their_type(self, kind: str) -> None:
        assert classify(kind, {"messageId": "m"}, RULES).name == kind

    @pytest.mark.parametrize("value", [0, 12, -3, 12.5, 0.0, 2**53 - 1, 1e15])
    def test_numbers_are_plain(self, value: float) -> None:
        assert order(revenue=value).plain == {"revenue": value}

    @pytest.mark.parametrize(
        "value", [True, "12.50", math.nan, math.inf, -math.inf, 2**53, 10**400, 1e300, 5e-324, [1], {"a": 1}]
    )
    def test_what_is_no_number_or_no_safe_one_is_sealed(self, value: Any) -> None:
        found = order(revenue=value)
        assert found.plain == {}
        assert found.sealed["properties"].keys() == {"revenue"}
        assert len(found.mistyped) == 1

    def test_an_absent_value_is_nothing(self) -> None:
        found = order(revenue=None)
        assert (found.plain, found.mistyped, "properties" in found.sealed) == ({}, (), False)

    def test_terms_are_plain_and_other_strings_are_sealed(self) -> None:
        found = order(currency="EUR", country="Germany, Anna")
        assert found.plain == {"currency": Term("currency", "EUR")}
        assert found.sealed["properties"] == {"country": "Germany, Anna"}

    @pytest.mark.parametrize("value", ["E\0R", "EUR\n", "", "EURO", "anna@example.com", 7, None, ["EUR"]])
    def test_a_string_that_is_no_term_never_lies_in_plain(self, value: Any) -> None:
        assert order(currency=value).plain == {}

    def test_enumerated_terms(self) -> None:
        found = classify("track", {"event": "Email Opened", "properties": {"channel": "push"}}, RULES)
        other = classify("track", {"event": "Email Opened", "properties": {"channel": "Push it"}}, RULES)
        assert found.plain == {"channel": Term("channel", "push")}
        assert other.plain == {}

    @pytest.mark.parametrize(
        ("value", "micros"),
        [
            ("1970-01-01T00:00:01Z", 1_000_000),
            ("2026-01-02T03:04:05.678901+01:00", 1_767_319_445_678_901),
            ("1969-12-31", -86_400_000_000),
        ],
    )
    def test_instants_are_microseconds(self, value: str, micros: int) -> None:
        assert classify("identify", {"traits": {"createdAt": value}}, RULES).plain_traits == {"createdAt": micros}

    @pytest.mark.parametrize("value", ["yesterday", "0001-01-01", "9999-12-31", "2026-13-01", 1_700_000_000, "1" * 41])
    def test_what_is_no_instant_is_sealed(self, value: Any) -> None:
        found = classify("identify", {"traits": {"createdAt": value}}, RULES)
        assert (found.plain_traits, found.sealed_traits) == ({}, {"createdAt": value})

    def test_booleans_are_not_numbers(self) -> None:
        found = classify("identify", {"traits": {"vip": 1, "age": True, "logins": 2}}, RULES)
        assert (found.plain_traits, found.sealed_traits) == ({"logins": 2}, {"vip": 1, "age": True})


class TestUnknown:
    def test_an_unknown_event_is_sealed_with_its_name(self) -> None:
        found = classify("track", {"event": "Called Anna", "properties": {"revenue": 3, "currency": "EUR"}}, RULES)
        assert (found.name, found.retention_class, found.plain) == (None, POLICY.events.unknown_class, {})
        assert found.sealed["event"] == "Called Anna"
        assert found.sealed["type"] == "track"
        assert found.sealed["properties"] == {"revenue": 3, "currency": "EUR"}

    @pytest.mark.parametrize("event", [None, 7, ["page"], {"a": 1}, "", "order completed"])
    def test_a_name_that_is_not_planned_or_no_name_is_unknown(self, event: Any) -> None:
        assert classify("track", {"event": event}, RULES).name is None

    def test_unknown_properties_are_sealed_and_counted(self) -> None:
        found = order(revenue=1, shoe_size=38)
        assert (found.sealed["properties"], found.unknown) == ({"shoe_size": 38}, 1)

    def test_the_plan_may_drop_unknown_events(self) -> None:
        rules = rules_with(unknown_events="drop")
        assert classify("track", {"event": "X", "messageId": "m"}, rules).is_dropped
        assert not classify("track", {"event": "Order Completed"}, rules).is_dropped

    def test_the_plan_may_drop_unknown_properties_traits_and_context(self) -> None:
        rules = rules_with(unknown_properties="drop", unknown_traits="drop", unknown_context="drop")
        body = {"properties": {"shoe_size": 38}, "traits": {"shoe_size": 38}, "context": {"shoe": {"size": 38}}}
        assert b"38" not in payload(classify("identify", body, rules))
        assert b"38" not in payload(classify("track", {**body, "event": "Order Completed"}, rules))

    def test_unknown_traits_are_sealed_with_the_event_because_their_names_are_personal(self) -> None:
        found = classify("identify", {"traits": {"anna@example.com": 1, "age": 30}}, RULES)
        assert found.sealed["traits"] == {"anna@example.com": 1}
        assert (found.plain_traits, found.sealed_traits) == ({"age": 30}, {})

    def test_planned_drops_are_gone(self) -> None:
        found = classify("track", {"event": "Product Shared", "properties": {"recipient": "bert@example.com"}}, RULES)
        assert b"bert" not in payload(found)


class TestContext:
    def test_addresses_are_never_plain(self) -> None:
        found = context(ip="192.0.2.1", userAgent="Browser 1.0", locale="en-GB")
        assert found.plain == {"context.locale": Term("locale", "en-GB")}
        assert found.sealed["context"] == {"userAgent": "Browser 1.0"}

    def test_an_unplanned_address_is_sealed_or_dropped(self) -> None:
        bare = {"context": dict.fromkeys(POLICY.events.context)}
        for unknown, expected in (("seal", {"ip": "192.0.2.1"}), ("drop", None)):
            found = context(rules=rules_with(unknown_context=unknown, **bare), ip="192.0.2.1")
            assert found.plain == {}
            assert found.sealed.get("context") == expected

    def test_a_page_loses_its_query(self) -> None:
        page = {
            "url": "https://shop.example/a?email=anna@example.com#top",
            "referrer": "https://search.example/?q=anna",
            "search": "?email=anna@example.com",
            "path": "/a",
        }
        given = copy.deepcopy(page)
        found = context(page=page)
        assert found.sealed["context"]["page"] == {
            "url": "https://shop.example/a",
            "referrer": "https://search.example/",
            "path": "/a",
        }
        assert page == given

    def test_a_page_loses_its_query_when_the_plan_is_silent(self) -> None:
        bare = {"context": dict.fromkeys(POLICY.events.context)}
        rules = rules_with(unknown_context="seal", **bare)
        body = {"url": "https://shop.example/a?x=anna#y", "search": "?x=anna", "title": "A"}
        found = context(rules=rules, page=body)
        assert found.sealed["context"]["page"] == {"url": "https://shop.example/a", "title": "A"}
        silent = rules_with(property_sets={"page": {}})
        called = classify("page", {"properties": body}, silent)
        assert called.sealed["properties"] == {"url": "https://shop.example/a", "title": "A"}

    def test_planned_campaign_fields_are_plain_under_their_path(self) -> None:
        found = context(campaign={"name": "spring-sale", "source": "a b c d e f", "content": "x", "odd": 1})
        assert found.plain == {"context.campaign.name": Term("campaign", "spring-sale")}
        assert found.sealed["context"]["campaign"]["source"] == "a b c d e f"
        assert "content" not in found.sealed["context"]["campaign"]

    @pytest.mark.parametrize("value", ["text", 7, ["a"], True])
    def test_a_part_of_the_wrong_type_is_treated_as_unknown(self, value: Any) -> None:
        found = context(rules=rules_with(unknown_context="seal"), campaign=value)
        assert (found.plain, found.sealed["context"]) == ({}, {"campaign": value})

    def test_a_rule_for_a_whole_part_holds_for_what_lies_below(self) -> None:
        planned = {
            "device": {"type": "any", "keep": "drop", "category": "user.device"},
            "device.kind": {"type": "any", "keep": "sealed", "category": "user.device"},
        }
        found = context(rules=rules_with(unknown_context="seal", context=planned), device={"kind": "phone", "id": "x"})
        assert found.sealed["context"] == {"device": {"kind": "phone"}}
        dropped = context(rules=rules_with(unknown_context="seal", context=planned), device="x")
        assert "context" not in dropped.sealed

    @pytest.mark.parametrize("value", [None, "x", 3, []])
    def test_a_context_that_is_no_object_is_ignored(self, value: Any) -> None:
        assert "context" not in classify("track", {"event": "Order Completed", "context": value}, RULES).sealed


class TestTraits:
    def test_traits_in_the_context_are_stated_whatever_the_call(self) -> None:
        found = context(traits={"age": 30, "email": "anna@example.com"})
        assert (found.plain_traits, found.sealed_traits) == ({"age": 30}, {"email": "anna@example.com"})
        assert b"anna" not in payload(found)

    def test_an_identify_calls_own_traits_come_first(self) -> None:
        found = classify("identify", {"traits": {"age": 31}, "context": {"traits": {"age": 30, "vip": True}}}, RULES)
        assert found.plain_traits == {"age": 31, "vip": True}

    def test_a_groups_traits_are_not_the_persons(self) -> None:
        found = classify("group", {"groupId": "acme", "traits": {"age": 30, "plan": "Pro"}}, RULES)
        assert (found.plain_traits, found.sealed_traits) == ({}, {})
        assert found.sealed["groupId"] == "acme"
        assert found.sealed["properties"] == {"age": 30, "plan": "Pro"}

    @pytest.mark.parametrize("traits", [None, "x", 3, ["age"]])
    def test_traits_that_are_no_object_are_ignored(self, traits: Any) -> None:
        found = classify("identify", {"traits": traits, "context": {"traits": traits}}, RULES)
        assert (found.plain_traits, found.sealed_traits) == ({}, {})

    def test_nothing_that_a_client_states_sets_a_field_of_ours(self) -> None:
        claims = {"bits": 7, "permitted": True, "suppressed": False, "is_rectified": True, "retention_class": "x"}
        found = classify("identify", {"traits": claims, "properties": claims, **claims}, RULES)
        assert (found.plain, found.plain_traits, found.sealed_traits) == ({}, {}, {})
        assert found.retention_class == POLICY.events.class_of("identify")


class TestPages:
    def test_name_and_category_of_a_page_are_properties(self) -> None:
        found = classify("page", {"name": "Start", "category": "Shoes", "properties": {"title": "T"}}, RULES)
        assert found.plain == {"category": Term("product_category", "Shoes")}
        assert found.sealed["properties"] == {"name": "Start", "title": "T"}

    def test_a_property_of_the_same_name_comes_first(self) -> None:
        found = classify("page", {"category": "Shoes", "properties": {"category": "Hats"}}, RULES)
        assert found.plain == {"category": Term("product_category", "Hats")}

    @pytest.mark.parametrize("properties", ["text", 7, ["a"]])
    def test_properties_that_are_no_object_are_sealed_whole(self, properties: Any) -> None:
        found = classify("track", {"event": "Order Completed", "properties": properties}, RULES)
        assert (found.plain, found.sealed["properties"], found.unknown) == ({}, properties, 1)


class TestTerms:
    def test_names_and_strings_of_all_kinds_are_to_be_interned(self) -> None:
        one = order(currency="EUR", revenue=3)
        two = classify("identify", {"traits": {"country": "DE"}, "context": {"locale": "de"}}, RULES)
        three = classify("track", {"event": "Nobody planned this"}, RULES)
        assert terms_of([one, two, three]) == {
            Term(EVENT_NAMES, "Order Completed"),
            Term("currency", "EUR"),
            Term(EVENT_NAMES, "identify"),
            Term("country", "DE"),
            Term("locale", "de"),
        }

    def test_refused_terms_are_sealed(self) -> None:
        found = classify(
            "identify", {"traits": {"country": "DE", "language": "de"}, "context": {"locale": "en"}}, RULES
        )
        refused = frozenset({Term("country", "DE"), Term("locale", "en")})
        settled = seal_refused_terms(found, Terms({}, refused), RULES)
        assert settled.plain_traits == {"language": Term("locale", "de")}
        assert settled.sealed_traits == {"country": "DE"}
        assert settled.plain == {}
        assert settled.sealed["properties"] == {"context.locale": "en"}
        assert len(settled.mistyped) == 2

    def test_refusals_of_others_change_nothing(self) -> None:
        found = order(currency="EUR")
        assert seal_refused_terms(found, Terms({}, frozenset({Term("currency", "USD")})), RULES) is found

    def test_vocabularies_by_event_and_property(self) -> None:
        found = vocabularies_of(RULES)
        assert found["Order Completed"]["currency"] == "currency"
        assert found["Order Completed"]["context.campaign.name"] == "campaign"
        assert "revenue" not in found["Order Completed"]
        assert found[""]["context.locale"] == "locale"


class TestPayload:
    def test_given_times_and_the_message_id_are_kept(self) -> None:
        body = {"messageId": "m-1", "timestamp": "t1", "originalTimestamp": "t2", "sentAt": None, "event": "X"}
        told = json.loads(payload(classify("track", body, RULES)))
        assert (told["message_id"], told["timestamp"], told["originalTimestamp"]) == ("m-1", "t1", "t2")
        assert "sentAt" not in told

    def test_identifiers_are_not_kept_beside_the_event(self) -> None:
        body = {"userId": "u-17", "anonymousId": "a-17", "previousId": "p-17", "event": "X", "writeKey": "w-17"}
        assert b"17" not in payload(classify("track", body, RULES))

    @pytest.mark.parametrize("value", ["a\0b", "😀", 10**30, "\ud800", {"deep": [1, {"x": None}]}, 1e300, True])
    def test_any_json_value_survives(self, value: Any) -> None:
        assert json.loads(json_bytes({"value": value}))["value"] == value
