"""What the mappings of `examples/webhooks` make of deliveries in the shape of each platform."""

from typing import Any

import pytest

from cdp.flows.hooks.delivery import Delivery, DeliveryReader
from cdp.flows.hooks.mapping import HookMapping, read_hook_mapping
from cdp.flows.hooks.trial import try_delivery
from cdp.sources.hook import SignatureScheme
from cdp.wire.document import read_document
from cdp.wire.message import Message
from cdp.wire.signatures import VerifiedSender, headers_of
from tests.support.people import SHOP
from tests.support.policies import ROOT, changed, shipped
from tests.support.webhook_payloads import (
    NOW,
    ORDER,
    REFUNDS,
    SESSION,
    TEALIUM,
    Payload,
    charge,
    email_consent,
    mail_event,
    mailchimp,
    person,
    shopify,
    sms_consent,
    stripe,
    woocommerce,
)

EXAMPLES = ROOT / "examples" / "webhooks"
SMS = {
    "name": "Texting you",
    "text": "For the test.",
    "legal_basis": "consent",
    "model": {"eu": "opt_in", "us-ca": "opt_in", "unknown": "opt_in"},
    "validity_days": 730,
    "categories": ["user.contact"],
    "data_use": "marketing.communications.sms",
}


def mappings_of(example: str) -> tuple[HookMapping, ...]:
    path = EXAMPLES / f"{example}.yaml"
    return read_hook_mapping(path.name, path.read_bytes())


def messages(payload: Payload) -> list[Any]:
    """The messages of a delivery, as bodies with ids; a reason where there is none."""
    headers = headers_of((name.encode(), value.encode()) for name, value in payload.headers.items())
    document = read_document(payload.body, headers.get(b"content-type", b""))
    reader = DeliveryReader(SHOP, payload.scheme, mappings_of(payload.example))
    found = reader.read(Delivery(headers, payload.body, document, VerifiedSender("", "")), NOW)
    return [row.message if isinstance(row.message, Message) else row.message.reason for row in found]


def one(payload: Payload) -> Message:
    [message] = messages(payload)
    assert isinstance(message, Message), message
    return message


def properties(payload: Payload) -> dict[str, Any]:
    found: dict[str, Any] = one(payload).body["properties"]
    return found


def acts(payload: Payload) -> list[tuple[str, str, str, bool]]:
    return [
        (act.purpose, act.act.value, "" if act.stated_at is None else act.stated_at.isoformat(), act.is_undated)
        for message in messages(payload)
        for act in message.acts
    ]


def test_an_order_of_shopify() -> None:
    message = one(shopify("orders/create", ORDER))
    assert (message.body["event"], message.message_id) == ("Order Completed", "shopify-order-5987654321098")
    assert message.occurred_at.isoformat() == "2026-11-02T08:59:00+00:00"
    assert message.body["userId"] == "7100000000101"
    assert message.body["properties"] == {
        "order_id": "5987654321098", "revenue": 45, "total": 52.9, "tax": 8.45, "shipping": 7.9, "discount": 5, "items": 3,
        "currency": "EUR",
        "products": [
            {"sku": "MUG-204", "name": "Mug", "price": 15, "quantity": 2}, {"sku": "CUP-17", "name": "Cup", "price": 20, "quantity": 1},
        ],
    }  # fmt: skip


def test_refunds_of_shopify_count_once_each_by_the_money_that_was_returned() -> None:
    refunded = shopify("orders/updated", {**ORDER, "refunds": REFUNDS})
    message, failed = messages(refunded)
    assert (message.message_id, message.body["event"]) == ("shopify-refund-81", "Order Refunded")
    assert message.body["properties"] == {"order_id": "5987654321098", "revenue": 15.5, "currency": "EUR"}
    assert failed == "not_selected"
    assert messages(shopify("orders/updated", ORDER)) == ["not_selected"]
    later = messages(shopify("orders/updated", {**ORDER, "note": "x", "refunds": REFUNDS}))[0]
    assert (later.message_id, later.body_digest) == (message.message_id, message.body_digest)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (email_consent("subscribed"), [("email_marketing", "grant", "2026-11-10T09:00:00+00:00", False)]),
        (email_consent("unsubscribed"), [("email_marketing", "refuse", "2026-11-10T09:00:00+00:00", False)]),
        (email_consent("subscribed", None), [("email_marketing", "grant", NOW.isoformat(), True)]),
        (email_consent("not_subscribed", None), []),
        (sms_consent("subscribed"), [("sms_marketing", "grant", "2026-11-10T09:00:00+00:00", False)]),
        (sms_consent("unsubscribed"), [("sms_marketing", "refuse", "2026-11-10T09:00:00+00:00", False)]),
        (
            mailchimp(type="unsubscribe", fired_at="2026-11-02 10:00:00", data__email="ada@example.com", data__reason="manual"),
            [("email_marketing", "refuse", "2026-11-02T10:00:00+00:00", False)],
        ),
        (
            mailchimp(type="subscribe", fired_at="2026-11-02 10:00:00", data__email="ada@example.com"),
            [("email_marketing", "grant", "2026-11-02T10:00:00+00:00", False)],
        ),
        (
            mailchimp(type="cleaned", fired_at="2026-11-02 10:00:00", data__email="ada@example.com", data__reason="abuse"),
            [("email_marketing", "refuse", "2026-11-02T10:00:00+00:00", False)],
        ),
        (person("subscribed"), [("email_marketing", "grant", "", False)]),
        (person("unsubscribed"), [("email_marketing", "refuse", "", False)]),
        (person("no_consent"), []),
    ],
)  # fmt: skip
def test_consents(payload: Payload, expected: list[tuple[str, str, str, bool]]) -> None:
    assert acts(payload) == expected


def test_a_hard_bounce_is_no_answer() -> None:
    bounced = mailchimp(type="cleaned", data__email="ada@example.com", data__reason="hard")
    assert messages(bounced) == ["not_selected"]


@pytest.mark.parametrize(
    ("status", "event", "message_id"),
    [
        ("processing", "Order Completed", "woocommerce-order-727"),
        ("completed", "Order Completed", "woocommerce-order-727"),
        ("refunded", "Order Refunded", "woocommerce-refunded-727"),
        ("cancelled", "Order Cancelled", "woocommerce-cancelled-727"),
    ],
)
def test_the_states_of_an_order_of_woocommerce(status: str, event: str, message_id: str) -> None:
    message = one(woocommerce(status=status))
    assert (message.body["event"], message.message_id) == (event, message_id)
    if event != "Order Cancelled":
        assert message.body["properties"]["revenue"] == 24.5
    assert messages(woocommerce(status="pending")) == ["not_selected"]


def test_an_order_of_woocommerce_without_articles_is_one() -> None:
    assert one(woocommerce(line_items=[])).message_id == "woocommerce-order-727"


def test_what_was_bought_through_stripe() -> None:
    assert properties(stripe(SESSION)) == {
        "order_id": "pi_1", "revenue": 23, "total": 27.9, "tax": 0, "currency": "EUR",
    }  # fmt: skip
    paid_later = {**SESSION, "id": "evt_2", "type": "checkout.session.async_payment_succeeded"}
    assert one(stripe(paid_later)).message_id == one(stripe(SESSION)).message_id
    unpaid = {**SESSION, "data": {"object": {**SESSION["data"]["object"], "payment_status": "unpaid"}}}
    assert messages(stripe(unpaid)) == ["not_selected"]


@pytest.mark.parametrize(
    ("refunded", "before", "currency", "revenue"),
    [(1000, 0, "eur", 10), (2790, 1000, "eur", 17.9), (500, 0, "jpy", 500), (500, 0, "isk", 5), (5000, 0, "kwd", 5)],
)
def test_a_refund_of_stripe_is_what_was_not_refunded_before(
    refunded: int, before: int, currency: str, revenue: float
) -> None:
    found = properties(stripe(charge("evt_r", refunded, before, currency)))
    assert (found["revenue"], found["currency"]) == (revenue, currency.upper())
    assert one(stripe(charge("evt_r", refunded, before))).message_id == "stripe-event-evt_r"


def test_a_mail_that_went_to_two_is_an_event_of_each() -> None:
    found = messages(mail_event("email.complained"))
    assert [message.body["event"] for message in found] == ["Email Marked as Spam"] * 2
    assert len({message.message_id for message in found}) == 2
    assert messages(mail_event("email.sent")) == ["not_selected"]


def test_a_list_of_a_tag_manager() -> None:
    found = messages(TEALIUM)
    assert [message if isinstance(message, str) else message.kind for message in found] == [
        "track",
        "page",
        "not_selected",
    ]
    assert found[0].body["properties"] == {"order_id": "o-1", "revenue": 20.5, "total": 25.4, "currency": "EUR"}


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_example_fits_the_policy_and_can_be_tried(path: Any) -> None:
    policy = (
        shipped()
        if path.stem != "shopify-sms"
        else changed(shipped(), "purposes.yaml", purposes={"sms_marketing": SMS})
    )
    tried = try_delivery(policy, mappings_of(path.stem), b'{"id": 1}', headers=[("X-Other", "1")], now=NOW)
    assert [(row.mapping, row.state, row.reason) for row in tried.rows] == [(None, "invalid", "not_selected")]


def test_a_dry_run_says_what_would_become_of_each_row() -> None:
    order = shopify("orders/create", {**ORDER, "total_price": "5,00 EUR"})
    tried = try_delivery(
        shipped(), mappings_of("shopify"), order.body, headers=[("x-shopify-topic", "orders/create")], now=NOW
    )
    [row] = tried.rows
    assert (row.mapping, row.rows, row.state, row.reason) == (1, 2, "invalid", "number_malformed")
    assert [(notice["kind"], notice["place"]) for notice in tried.notices] == [("number_malformed", "total_price")]
    said = email_consent("unsubscribed")
    tried = try_delivery(shipped(), mappings_of("shopify"), said.body, headers=list(said.headers.items()), now=NOW)
    assert [(row.type, row.state, row.consents) for row in tried.rows] == [
        ("identify", "stored", ("refuse email_marketing",))
    ]


def test_a_scheme_is_all_that_decides_about_the_id(tmp_path: Any) -> None:
    mapping = read_hook_mapping("m", b"event: A\nidentifiers: {user_id: user}\n")

    def id_of(scheme: SignatureScheme, document: dict[str, Any], signed_id: str = "") -> str:
        sender = VerifiedSender(signed_id, "shown")
        payload = Payload("", scheme, document)
        [row] = DeliveryReader(SHOP, scheme, mapping).read(Delivery({}, payload.body, document, sender), NOW)
        assert isinstance(row.message, Message)
        return row.message.message_id

    first, second = {"id": "e1", "user": "ada"}, {"id": "e1", "user": "bob"}
    assert id_of(SignatureScheme.STRIPE, first) == id_of(SignatureScheme.STRIPE, second)
    assert id_of(SignatureScheme.SHOPIFY, first) != id_of(SignatureScheme.SHOPIFY, second)
    assert id_of(SignatureScheme.STANDARD, first, "m1") == id_of(SignatureScheme.STANDARD, second, "m1")
    assert id_of(SignatureScheme.STANDARD, first, "m1") != id_of(SignatureScheme.STANDARD, first, "m2")
