"""Deliveries in the shape of the platforms' documents, about people who were made up: for the mappings of `examples/webhooks`."""

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

from cdp.sources.hook import SignatureScheme
from tests.support.webhooks import body_of

NOW: Final = datetime(2026, 11, 30, 12, tzinfo=UTC)
"""An instant after all that the deliveries are about."""
FORM: Final = {"content-type": "application/x-www-form-urlencoded"}


class Payload(NamedTuple):
    """A delivery of a platform: the example whose mapping it is for, its headers and its document."""

    example: str
    scheme: SignatureScheme
    document: Any
    headers: Mapping[str, str] = MappingProxyType({})

    @property
    def body(self) -> bytes:
        return body_of(self.document)


ORDER: Final[dict[str, Any]] = {
    "id": 5987654321098,
    "email": "ada@example.com",
    "phone": None,
    "created_at": "2026-11-02T09:59:00+01:00",
    "currency": "EUR",
    "subtotal_price": "45.00",
    "total_price": "52.90",
    "total_tax": "8.45",
    "total_discounts": "5.00",
    "total_shipping_price_set": {"shop_money": {"amount": "7.90", "currency_code": "EUR"}},
    "customer": {"id": 7100000000101, "email": "ada@example.com"},
    "line_items": [
        {"id": 1, "sku": "MUG-204", "title": "Mug", "price": "15.00", "quantity": 2},
        {"id": 2, "sku": "CUP-17", "title": "Cup", "price": "20.00", "quantity": 1},
    ],
    "refunds": [],
}
REFUNDS: Final = [
    {
        "id": 81,
        "created_at": "2026-11-05T10:00:00+01:00",
        "transactions": [
            {"id": 1, "kind": "refund", "status": "success", "amount": "10.00", "currency": "EUR"},
            {"id": 2, "kind": "refund", "status": "success", "amount": "5.50", "currency": "EUR"},
            {"id": 3, "kind": "refund", "status": "failure", "amount": "5.50", "currency": "EUR"},
        ],
    },
    {"id": 82, "created_at": "2026-11-06T10:00:00+01:00", "transactions": []},
]
WOO: Final[dict[str, Any]] = {
    "id": 727,
    "status": "processing",
    "currency": "EUR",
    "date_created_gmt": "2026-11-02T08:59:00",
    "date_modified_gmt": "2026-11-03T08:59:00",
    "customer_id": 26,
    "discount_total": "0.00",
    "shipping_total": "4.90",
    "total_tax": "5.59",
    "total": "34.99",
    "billing": {"email": "bob@example.com", "phone": "+4930555010", "country": "DE"},
    "line_items": [
        {"id": 315, "name": "Mug", "sku": "MUG-204", "quantity": 2, "total": "24.50"},
        {"id": 316, "name": "Gift", "sku": "", "quantity": 1, "total": "0.00"},
    ],
    "refunds": [],
}
SESSION: Final[dict[str, Any]] = {
    "id": "evt_1Session",
    "type": "checkout.session.completed",
    "created": 1762074000,
    "data": {
        "object": {
            "id": "cs_test_a1",
            "object": "checkout.session",
            "payment_intent": "pi_1",
            "amount_subtotal": 2500,
            "amount_total": 2790,
            "client_reference_id": "cat",
            "currency": "eur",
            "customer_details": {"email": "cat@example.com", "name": "Cat"},
            "payment_status": "paid",
            "total_details": {"amount_discount": 200, "amount_shipping": 490, "amount_tax": 0},
        }
    },
}


def charge(event_id: str, refunded: int, before: int, currency: str = "eur") -> dict[str, Any]:
    """The event of a refund, after which so much of a charge is refunded."""
    charged = {
        "id": "ch_1",
        "object": "charge",
        "amount": 2790,
        "amount_refunded": refunded,
        "billing_details": {"email": "cat@example.com"},
        "currency": currency,
        "metadata": {"user_id": "cat"},
        "payment_intent": "pi_1",
    }
    data = {"object": charged, "previous_attributes": {"amount_refunded": before, "refunded": False}}
    return {"id": event_id, "type": "charge.refunded", "created": 1762160400, "data": data}


def shopify(topic: str, document: Any, example: str = "shopify") -> Payload:
    return Payload(example, SignatureScheme.SHOPIFY, document, {"X-Shopify-Topic": topic})


def woocommerce(**changes: Any) -> Payload:
    return Payload(
        "woocommerce", SignatureScheme.WOOCOMMERCE, {**WOO, **changes}, {"X-WC-Webhook-Topic": "order.updated"}
    )


def stripe(document: Any) -> Payload:
    return Payload("stripe", SignatureScheme.STRIPE, document)


def mailchimp(**fields: str) -> Payload:
    pairs = {name.replace("__", "[") + ("]" if "__" in name else ""): value for name, value in fields.items()}
    return Payload("mailchimp", SignatureScheme.BASIC, urlencode(pairs).encode(), FORM)


def consent(state: str, at: str | None) -> dict[str, Any]:
    return {"state": state, "opt_in_level": "single_opt_in", "consent_updated_at": at}


def email_consent(state: str, at: str | None = "2026-11-10T10:00:00+01:00") -> Payload:
    document = {
        "customer_id": 7100000000101,
        "email_address": "ada@example.com",
        "email_marketing_consent": consent(state, at),
    }
    return shopify("customers_email_marketing_consent/update", document)


def sms_consent(state: str) -> Payload:
    document = {
        "id": 7100000000101,
        "phone": "+4930555010",
        "sms_marketing_consent": consent(state, "2026-11-10T10:00:00+01:00"),
    }
    return shopify("customers_marketing_consent/update", document, "shopify-sms")


def mail_event(type_: str) -> Payload:
    document = {
        "type": type_,
        "created_at": "2026-11-22T23:41:12.126Z",
        "data": {"email_id": "4ef9", "to": ["ada@example.com", "bob@example.com"], "subject": "News"},
    }
    return Payload("standard", SignatureScheme.STANDARD, document)


TEALIUM: Final = Payload(
    "tealium",
    SignatureScheme.BASIC,
    [
        {"event": "view", "id": "e1", "at": "2026-11-02T10:00:00Z", "visitor": "v1", "page": "https://example.com/"},
        {
            "event": "purchase",
            "id": "e2",
            "at": "2026-11-02T10:05:00Z",
            "visitor": "v1",
            "customer": "ada",
            "email": "ada@example.com",
            "order": {"id": "o-1", "subtotal": 20.5, "total": "25.40", "currency": "EUR"},
        },
        {"event": "link", "id": "e3", "at": "2026-11-02T10:06:00Z", "visitor": "v1"},
    ],
)


def person(status: str) -> Payload:
    document = {
        "meta": {"action": "change", "entity": "person", "id": "f3c1", "timestamp": "2026-11-02T10:00:00.000Z"},
        "data": {
            "id": 9,
            "name": "Ada",
            "emails": [{"value": "ada@example.com", "primary": True}],
            "phones": [],
            "marketing_status": status,
        },
        "previous": {"marketing_status": "no_consent"},
    }
    return Payload("pipedrive", SignatureScheme.BASIC, document)
