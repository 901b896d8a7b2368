"""The column layouts of common exports, and what their columns mean. Pure.

A rule of which the file lacks the column is left out of a proposal; of several columns, the first that the file has is
used. Sources of the layouts: public importers of these files and their tests (docs/how-to/import-an-export.md).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Layout:
    """An export: its name, the columns by which it is known, the content of a mapping, and what the file does not say."""

    name: str
    needs: frozenset[str]
    content: Mapping[str, Any]
    notes: tuple[str, ...] = ()


def _number(*columns: str) -> dict[str, Any]:
    return {"column": columns, "type": "number"}


_NAMES: Final = {"firstName": ("First Name",), "lastName": ("Last Name",)}
_ID_NOTE: Final = (
    "user_id: right if no other system gives the customer numbers of the policy's type user_id; otherwise remove it."
)
_SHOPIFY_ORDERS: Final = Layout(
    "Shopify, orders",
    frozenset({"Name", "Email", "Financial Status", "Created at", "Lineitem name"}),
    {
        "event": "Order Completed",
        "group_by": "Name",
        "message_id": {"template": "shopify-order-{Name}"},
        "timestamp": {"column": ("Created at",)},
        "only": {"column": "Financial Status", "values": ["paid", "partially_paid", "partially_refunded", "refunded"]},
        "identifiers": {"email": ("Email",), "phone": ("Phone", "Billing Phone")},
        "properties": {
            "order_id": ("Name",),
            "revenue": _number("Subtotal"),
            "total": _number("Total"),
            "shipping": _number("Shipping"),
            "tax": _number("Taxes"),
            "discount": _number("Discount Amount"),
            "currency": ("Currency",),
            "coupon": ("Discount Code",),
            "country": ("Shipping Country", "Billing Country"),
            "items": {"column": ("Lineitem quantity",), "type": "integer", "combine": "sum"},
        },
        "products": {
            "sku": ("Lineitem sku",),
            "name": ("Lineitem name",),
            "price": _number("Lineitem price"),
            "quantity": {"column": ("Lineitem quantity",), "type": "integer"},
        },
    },
    (
        "only: orders that are pending, authorized, voided or expired are left out; add those that count in your shop.",
        "The file has no customer number: import the customers first, so that orders belong to known customers.",
        "The file has the amount of a refund, but not its date: refunds are not imported.",
        "Accepts Marketing is the box of one order, not an answer that can be withdrawn: import it from the customers.",
    ),
)
_SHOPIFY_LIST: Final = Layout(
    "Shopify, customers",
    frozenset({"Customer ID", "Email", "Accepts Email Marketing"}),
    {
        "type": "identify",
        "message_id": {"template": "shopify-customer-{Customer ID}"},
        "identifiers": {
            "user_id": ("Customer ID",),
            "email": ("Email",),
            "phone": ("Phone", "Default Address Phone"),
        },
        "traits": dict(_NAMES),
        "consents": {
            "email_marketing": {"column": "Accepts Email Marketing", "grant": ["yes"], "refuse": ["no"]},
        },
    },
    (
        _ID_NOTE,
        "Accepts Email Marketing has no date: a consent lifts no refusal, and counts from the import on.",
        "The answer `no` means unsubscribed or never subscribed; the file does not tell which, so that it is a refusal.",
    ),
)
_WOOCOMMERCE_NOTES: Final = (
    "only: the states of orders that count; shops may have others.",
    "If the file has no currency, add it: `currency: {value: EUR}` under `properties`.",
)
_WOOCOMMERCE_ROWS: Final = Layout(
    "WooCommerce, orders (Advanced Order Export)",
    frozenset({"Order Number", "Order Status", "Order Date", "Email (Billing)"}),
    {
        "event": "Order Completed",
        "group_by": "Order Number",
        "message_id": {"template": "woocommerce-order-{Order Number}"},
        "timestamp": {"column": ("Order Date",)},
        "only": {"column": "Order Status", "values": ["Completed", "Processing"]},
        "identifiers": {
            "user_id": ("Customer User ID", "Customer ID"),
            "email": ("Email (Billing)",),
            "phone": ("Phone (Billing)",),
        },
        "properties": {
            "order_id": ("Order Number",),
            "revenue": _number("Order Subtotal Amount"),
            "total": _number("Order Total Amount"),
            "shipping": _number("Order Shipping Amount"),
            "tax": _number("Order Total Tax Amount"),
            "discount": _number("Cart Discount Amount"),
            "currency": ("Order Currency", "Currency"),
            "country": ("Country Code (Billing)",),
        },
        "products": {
            "sku": ("SKU",),
            "name": ("Item Name",),
            "price": _number("Item Cost"),
            "quantity": _number("Quantity (- Refund)", "Quantity"),
        },
    },
    _WOOCOMMERCE_NOTES,
)
_WOOCOMMERCE_ORDERS: Final = Layout(
    "WooCommerce, orders (Order Export & Order Import)",
    frozenset({"order_number", "order_date", "status", "order_total", "billing_email"}),
    {
        "event": "Order Completed",
        "message_id": {"template": "woocommerce-order-{order_number}"},
        "timestamp": {"column": ("order_date",)},
        "only": {"column": "status", "values": ["completed", "processing", "wc-completed", "wc-processing"]},
        "identifiers": {
            "user_id": ("customer_id", "customer_user"),
            "email": ("customer_email", "billing_email"),
            "phone": ("billing_phone",),
        },
        "properties": {
            "order_id": ("order_number",),
            "revenue": _number("order_subtotal"),
            "total": _number("order_total"),
            "shipping": _number("shipping_total"),
            "tax": _number("tax_total"),
            "discount": _number("discount_total"),
            "currency": {"column": ("order_currency",), "case": "upper"},
            "country": ("billing_country",),
        },
    },
    (*_WOOCOMMERCE_NOTES, "Articles are in columns of their own (line_item_1, ...), which are not mapped."),
)
_KLAVIYO: Final = Layout(
    "Klaviyo, list or segment",
    frozenset({"Email", "Email Marketing Consent"}),
    {
        "type": "identify",
        "identifiers": {"email": ("Email",), "phone": ("Phone Number",)},
        "traits": dict(_NAMES),
        "consents": {
            "email_marketing": {
                "column": "Email Marketing Consent",
                "grant": ["SUBSCRIBED", "Subscribe"],
                "refuse": ["UNSUBSCRIBED", "Unsubscribed"],
                "ignore": ["NEVER_SUBSCRIBED", "Never subscribed"],
                "at": {"column": ("Email Marketing Consent Timestamp",)},
            }
        },
    },
    (
        'Who is suppressed may be SUBSCRIBED here: import the suppressed profiles with `email_marketing: {value: "no"}`.',
    ),
)
_MAILCHIMP_TRAITS: Final = {"firstName": ("First Name", "FNAME"), "lastName": ("Last Name", "LNAME")}
_MAILCHIMP_PHONE: Final = ("Phone Number", "Phone", "PHONE")
_MAILCHIMP_SUBSCRIBED: Final = Layout(
    "Mailchimp, subscribed contacts of an audience",
    frozenset({"Email Address", "OPTIN_TIME", "LEID"}),
    {
        "type": "identify",
        "identifiers": {"email": ("Email Address",), "phone": _MAILCHIMP_PHONE},
        "traits": _MAILCHIMP_TRAITS,
        "consents": {"email_marketing": {"value": "yes", "at": {"column": ("OPTIN_TIME",)}}},
    },
    (
        "Every row is a consent: use this mapping for the file of subscribed contacts only.",
        "at: OPTIN_TIME is empty for contacts that were imported into Mailchimp: the date of their consent is unknown.",
    ),
)
_MAILCHIMP_UNSUBSCRIBED: Final = Layout(
    "Mailchimp, unsubscribed contacts of an audience",
    frozenset({"Email Address", "UNSUB_TIME", "LEID"}),
    {
        "type": "identify",
        "identifiers": {"email": ("Email Address",), "phone": _MAILCHIMP_PHONE},
        "consents": {"email_marketing": {"value": "no", "at": {"column": ("UNSUB_TIME",)}}},
    },
    ("Every row is a refusal: use this mapping for the file of unsubscribed contacts only.",),
)
_MAILCHIMP_CLEANED: Final = Layout(
    "Mailchimp, cleaned contacts of an audience",
    frozenset({"Email Address", "CLEAN_TIME", "LEID"}),
    {"type": "identify", "identifiers": {"email": ("Email Address",)}, "traits": _MAILCHIMP_TRAITS},
    ("Addresses that bounced: a bounce is not an answer, so that no consent is read.",),
)
_HUBSPOT_CONSENT: Final = {
    "column": "Unsubscribed from all email",
    "grant": [],
    "refuse": ["true", "yes"],
    "ignore": ["false", "no"],
}
_HUBSPOT_NOTE: Final = "No column says that somebody agreed: only unsubscriptions are read, as of the import."
_HUBSPOT: Final = tuple(
    Layout(
        "HubSpot, contacts",
        frozenset({record, "Email", "First Name"}),
        {
            "type": "identify",
            "identifiers": {"email": ("Email",), "phone": ("Phone Number", "Mobile Phone Number")},
            "traits": dict(_NAMES),
            "consents": {"email_marketing": _HUBSPOT_CONSENT},
        },
        (_HUBSPOT_NOTE,),
    )
    for record in ("Record ID", "Record ID - Contact")
)
_STRIPE_CREATED: Final = ("Created date (UTC)", "Created (UTC)")
_STRIPE_PAYMENTS: Final = tuple(
    Layout(
        "Stripe, payments",
        frozenset({"id", created, "Amount", "Currency", "Status"}),
        {
            "event": "Order Completed",
            "message_id": {"template": "stripe-{id}"},
            "timestamp": {"column": (created,), "zone": "UTC"},
            "only": {"column": "Status", "values": ["Paid", "Partially Refunded", "Refunded", "succeeded"]},
            "identifiers": {"user_id": ("Customer ID",), "email": ("Customer Email",)},
            "properties": {
                "order_id": ("id",),
                "revenue": _number("Amount"),
                "currency": {"column": ("Currency",), "case": "upper"},
            },
        },
        (
            _ID_NOTE,
            (
                "Amount includes tax and what was refunded later. With `Refunded date (UTC)` in the file, import it a second time with "
                "`event: Order Refunded`, that column as `timestamp`, `Amount Refunded` as `revenue` and another `message_id`."
            ),
        ),
    )
    for created in _STRIPE_CREATED
)
_STRIPE_LIST: Final = Layout(
    "Stripe, customers",
    frozenset({"id", "Email", "Name", "Created (UTC)"}),
    {
        "type": "identify",
        "message_id": {"template": "stripe-{id}"},
        "identifiers": {"user_id": ("id",), "email": ("Email",), "phone": ("Phone",)},
        "traits": {"name": ("Name",)},
    },
    (_ID_NOTE,),
)

LAYOUTS: Final = (
    _SHOPIFY_ORDERS,
    _SHOPIFY_LIST,
    _WOOCOMMERCE_ROWS,
    _WOOCOMMERCE_ORDERS,
    _MAILCHIMP_UNSUBSCRIBED,
    _MAILCHIMP_CLEANED,
    _MAILCHIMP_SUBSCRIBED,
    _KLAVIYO,
    *_HUBSPOT,
    *_STRIPE_PAYMENTS,
    _STRIPE_LIST,
)
"""Every layout; the first whose columns a file has is meant."""


def layout_of(columns: frozenset[str]) -> Layout | None:
    """The layout of a file with these columns, if it is known."""
    return next((layout for layout in LAYOUTS if layout.needs <= columns), None)
