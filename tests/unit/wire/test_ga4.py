"""Requests of GA4's Measurement Protocol and hits of its tags, read as messages."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp.consent.signals.model import signal_map_of
from cdp.consent.signals.read import acts_of
from cdp.wire.batch import Envelope
from cdp.wire.ga4 import EVENTS, ITEM_PARAMETERS, PARAMETERS, PARAMETERS_MAX, read_collect, read_measurement
from cdp.wire.request_refusal import RequestRefused
from tests.support.policies import ROOT, shipped

SENT = "v=2&tid=G-1&cid=12.34&_p=77&_s=1&dl=https%3A%2F%2Fshop.example%2Fmug&dt=Mug&ul=en-gb&en=page_view"


def messages(read: Envelope | RequestRefused) -> list[dict[str, Any]]:
    assert isinstance(read, Envelope), read
    return [json.loads(bytes(item)) for item in read.items]


def measured(**sent: Any) -> list[dict[str, Any]]:
    return messages(read_measurement(json.dumps({"client_id": "12.34", **sent}).encode()))


def answers(message: dict[str, Any]) -> dict[str, str]:
    found = acts_of(message, has_gpc=False, is_server=False, jurisdiction="eu", mapping=signal_map_of(shipped()))
    return {act.purpose: act.act.value for act in found.acts}


def test_a_purchase_is_an_order_with_its_products() -> None:
    items = [{"item_id": "MUG-204", "item_name": "Mug", "item_category": "kitchen", "price": 9.5, "quantity": 2}]
    [order] = measured(
        user_id="u-17",
        timestamp_micros=1_795_000_000_000_000,
        events=[
            {"name": "purchase", "params": {"transaction_id": "A-1", "value": 19, "currency": "EUR", "items": items}}
        ],
    )
    assert (order["type"], order["event"], order["userId"], order["anonymousId"]) == (
        "track", "Order Completed", "u-17", "12.34"
    )  # fmt: skip
    assert order["timestamp"] == "2026-11-18T11:06:40+00:00"
    assert order["properties"] == {
        "order_id": "A-1",
        "revenue": 19,
        "currency": "EUR",
        "products": [{"product_id": "MUG-204", "name": "Mug", "category": "kitchen", "price": 9.5, "quantity": 2}],
    }


def test_the_value_of_other_events_is_not_revenue() -> None:
    [added] = measured(events=[{"name": "add_to_cart", "params": {"value": 9.5, "items": [{"item_id": "MUG-204"}]}}])
    assert added["event"] == "Product Added"
    assert added["properties"] == {"value": 9.5, "product_id": "MUG-204", "products": [{"product_id": "MUG-204"}]}


def test_an_event_without_counterpart_keeps_its_name_and_an_instant_of_its_own_counts() -> None:
    first, second = measured(
        timestamp_micros="1795000000000000",
        events=[
            {"name": "tutorial_begin"},
            {"name": "level_up", "timestamp_micros": 1_795_000_060_000_000, "params": {"level": 5}},
        ],
    )
    assert (first["event"], second["event"], second["properties"]) == ("tutorial_begin", "level_up", {"level": 5})
    assert (first["timestamp"][11:], second["timestamp"][11:]) == ("11:06:40+00:00", "11:07:40+00:00")
    assert not set(EVENTS) & set(EVENTS.values())


def test_a_single_event_need_not_be_in_a_list() -> None:
    """ga4mp 2.0.4 sends what was postponed so."""
    assert [one["event"] for one in measured(events={"name": "login", "params": {}})] == ["Signed In"]


def test_user_properties_are_traits_that_were_stated() -> None:
    identify, _ = measured(user_properties={"plan": {"value": "gold"}, "city": "Bonn"}, events=[{"name": "login"}])
    assert (identify["type"], identify["traits"]) == ("identify", {"plan": "gold", "city": "Bonn"})


def test_consent_fields_refuse_where_they_say_denied_and_grant_nothing() -> None:
    [message] = measured(
        consent={"ad_user_data": "GRANTED", "ad_personalization": "DENIED"}, events=[{"name": "login"}]
    )
    assert answers(message) == {"advertising": "refuse"}
    [message] = measured(consent={"ad_user_data": "GRANTED"}, events=[{"name": "login"}])
    assert answers(message) == {}
    [message] = measured(non_personalized_ads=True, events=[{"name": "login"}])
    assert answers(message) == {"advertising": "refuse"}
    [message] = measured(consent="DENIED", events=[{"name": "login"}])
    assert "grant" not in answers(message).values()


@pytest.mark.parametrize(
    ("body", "code"),
    [(b"{", "invalid_json"), (b"[]", "invalid_json"), (b"{}", "events_missing"), (b'{"events": 1}', "events_missing")],
)
def test_a_body_without_events_is_refused(body: bytes, code: str) -> None:
    refused = read_measurement(body)
    assert isinstance(refused, RequestRefused)
    assert refused.code == code


def test_what_is_no_event_is_counted_as_one_that_cannot_be_read() -> None:
    assert [one.get("event") for one in measured(events=["login", {"name": 5}, {"name": "login"}])] == [
        None,
        5,
        "Signed In",
    ]
    [message] = measured(timestamp_micros="yesterday", events=[{"name": "login"}])
    assert message["timestamp"] == "not microseconds: str"


def test_a_hit_is_a_page_view_with_its_place() -> None:
    [page] = messages(read_collect(SENT, b""))
    assert (page["type"], page["anonymousId"], page["context"]["locale"]) == ("page", "12.34", "en-gb")
    assert page["properties"] == {"url": "https://shop.example/mug", "title": "Mug"}


def test_a_hit_with_several_events_has_a_message_for_each_and_an_id_that_repeats() -> None:
    body = b"en=add_to_cart&cu=EUR&epn.value=9.5&ep.coupon=MAY&pr1=idMUG-204~nmMug~pr9.5~qt1~k0size~v0L\r\nen=scroll&epn.percent_scrolled=90\r\n"
    added, scrolled = messages(read_collect(SENT, body))
    assert added["event"] == "Product Added"
    assert added["properties"]["products"] == [
        {"product_id": "MUG-204", "name": "Mug", "price": 9.5, "quantity": 1, "size": "L"}
    ]
    assert (added["properties"]["value"], added["properties"]["coupon"], added["properties"]["currency"]) == (
        9.5,
        "MAY",
        "EUR",
    )
    assert (scrolled["event"], scrolled["properties"]) == ("scroll", {"percent_scrolled": 90})
    assert [one["messageId"] for one in messages(read_collect(SENT, body))] == [
        added["messageId"],
        scrolled["messageId"],
    ]
    assert added["messageId"] != scrolled["messageId"]
    assert "messageId" not in messages(read_collect("cid=12.34&en=scroll", b""))[0]


def test_a_hit_states_consent_by_its_strings() -> None:
    [message] = messages(read_collect(SENT + "&gcs=G100&gcd=13q3q3q2q5", b""))
    assert answers(message)["advertising"] == "refuse"
    [message] = messages(read_collect(SENT + "&gcd=13r3r3r2r5", b""))
    assert set(answers(message).values()) == {"grant"}
    [message] = messages(read_collect(SENT + "&npa=1", b""))
    assert answers(message) == {"advertising": "refuse"}


def test_too_many_parameters_are_refused() -> None:
    refused = read_collect("&".join(f"ep.a{number}=1" for number in range(PARAMETERS_MAX + 1)), b"")
    assert isinstance(refused, RequestRefused)
    assert refused.code == "too_many_parameters"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
names = st.sampled_from(
    ["client_id", "user_id", "events", "consent", "timestamp_micros", "user_properties", "name", "params", "items"]
)


@given(st.dictionaries(names, st.lists(st.dictionaries(names, json_values)) | json_values))
def test_any_json_is_read_or_refused(sent: dict[str, Any]) -> None:
    read = read_measurement(json.dumps(sent).encode())
    events = sent.get("events")
    if isinstance(read, Envelope):
        assert len(read.items) >= (1 if isinstance(events, dict) else len(events or ()))
        messages(read)


@given(st.text(), st.binary())
def test_any_hit_is_read_or_refused(query: str, body: bytes) -> None:
    read = read_collect(query, body)
    assert isinstance(read, RequestRefused) or messages(read)


def test_the_page_lists_every_name_that_changes() -> None:
    page = (ROOT / "docs" / "how-to" / "send-from-ga4.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `(\w+)` \| `([\w ]+)` \|$", page, re.MULTILINE))
    assert listed == {*EVENTS.items(), *PARAMETERS.items(), *ITEM_PARAMETERS.items()}
