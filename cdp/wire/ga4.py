"""Google Analytics 4's Measurement Protocol (`/mp/collect`) and what its tags send (`/g/collect`) as messages. Pure.

Sources: Google's reference of the Measurement Protocol and of recommended events, read in November 2026; what
@minimal-analytics/ga4 1.8.7 and ga4mp 2.0.4 send. docs/how-to/send-from-ga4.md has the tables.

Nothing is made up: an event without a counterpart keeps its name, what cannot be read as a number stays a text.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from cdp.kit.canonical import sha256
from cdp.wire.batch import MESSAGES_MAX, Envelope
from cdp.wire.limits import Unreadable, read_value
from cdp.wire.request_refusal import RequestRefused

PARAMETERS_MAX: Final = 500
"""The most parameters of one query, on every ingest path, or of one line."""

EVENTS: Final[Mapping[str, str]] = {
    "add_payment_info": "Payment Info Entered",
    "add_to_cart": "Product Added",
    "add_to_wishlist": "Product Added to Wishlist",
    "begin_checkout": "Checkout Started",
    "login": "Signed In",
    "purchase": "Order Completed",
    "refund": "Order Refunded",
    "remove_from_cart": "Product Removed",
    "search": "Products Searched",
    "select_item": "Product Clicked",
    "select_promotion": "Promotion Clicked",
    "share": "Product Shared",
    "sign_up": "Signed Up",
    "view_cart": "Cart Viewed",
    "view_item": "Product Viewed",
    "view_item_list": "Product List Viewed",
    "view_promotion": "Promotion Viewed",
    "view_search_results": "Products Searched",
}
"""Recommended events of GA4, by what the Segment spec calls them; any other keeps its name."""

PAGE_VIEW: Final = "page_view"

PARAMETERS: Final[Mapping[str, str]] = {
    "transaction_id": "order_id",
    "value": "revenue",
    "search_term": "query",
    "item_list_id": "list_id",
    "item_list_name": "category",
    "creative_name": "creative",
    "promotion_name": "name",
    "payment_type": "payment_method",
    "page_location": "url",
    "page_referrer": "referrer",
    "page_title": "title",
}
"""Parameters of events, by the property that they become; any other keeps its name. `value` is `revenue` of orders alone."""

ITEM_PARAMETERS: Final[Mapping[str, str]] = {
    "item_id": "product_id",
    "item_name": "name",
    "item_brand": "brand",
    "item_category": "category",
    "item_variant": "variant",
    "index": "position",
}
"""Parameters of items, by the property of the product that they become; any other keeps its name."""

_ORDERS: Final = frozenset({"purchase", "refund"})
_OF_ONE_PRODUCT: Final = frozenset({"add_to_cart", "add_to_wishlist", "remove_from_cart", "select_item", "view_item"})
_IN_COLLECT: Final[Mapping[str, str]] = {
    "id": "item_id", "nm": "item_name", "br": "item_brand", "ca": "item_category", "va": "item_variant",
    "pr": "price", "qt": "quantity", "cp": "coupon", "lp": "index", "af": "affiliation", "ds": "discount",
    "ln": "item_list_name", "li": "item_list_id",
}  # fmt: skip
_CONSENT_FIELDS: Final = ("ad_storage", "ad_user_data", "ad_personalization", "analytics_storage")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_NOT_JSON: Final = RequestRefused("invalid_json", "The body must be one JSON object in UTF-8.")
_NO_EVENTS: Final = RequestRefused("events_missing", 'The body must contain a list of events under "events".')
_TOO_MANY: Final = RequestRefused("too_many_messages", f"A request may hold at most {MESSAGES_MAX:,} events.")
TOO_MANY_PARAMETERS: Final = RequestRefused(
    "too_many_parameters", f"A query or a line may have at most {PARAMETERS_MAX} parameters."
)

_encode: Final = msgspec.json.encode


def read_measurement(body: bytes) -> Envelope | RequestRefused:
    """The messages of a body of the Measurement Protocol; `events` may be one event, as ga4mp sends postponed ones."""
    try:
        given = read_value(body)
    except Unreadable:
        return _NOT_JSON
    if not isinstance(given, dict):
        return _NOT_JSON
    events = given.get("events")
    if isinstance(events, dict):
        events = [events]
    if not isinstance(events, list):
        return _NO_EVENTS
    if len(events) > MESSAGES_MAX:
        return _TOO_MANY
    base = _base(
        device=given.get("client_id", given.get("app_instance_id")),
        person=given.get("user_id"),
        consent=_consent(given),
    )
    properties = given.get("user_properties")
    traits = {name: _user_property(value) for name, value in properties.items()} if isinstance(properties, dict) else {}
    return _envelope(base, traits, events, at=_instant(given.get("timestamp_micros")))


def read_collect(query: str, body: bytes) -> Envelope | RequestRefused:
    """The messages that a tag sends: the parameters of a query, and for each line of the body, if any, those of an event."""
    try:
        shared = _parameters(query)
        lines = [_parameters(line) for line in body.decode("utf-8", "replace").splitlines() if line.strip()]
    except ValueError:
        return TOO_MANY_PARAMETERS
    if len(lines) > MESSAGES_MAX:
        return _TOO_MANY
    consent: dict[str, Any] = {"google": {key: shared[key] for key in ("gcs", "gcd") if key in shared}}
    if shared.get("npa") == "1":
        consent["google"]["ad_personalization"] = "denied"
    base = _base(device=shared.get("cid"), person=shared.get("uid"), consent=consent if consent["google"] else {})
    page = {"url": shared.get("dl"), "referrer": shared.get("dr"), "title": shared.get("dt")}
    base["context"] |= {"page": {key: value for key, value in page.items() if value}}
    if shared.get("ul"):
        base["context"]["locale"] = shared["ul"]
    sent = [shared | line for line in lines] or [shared]
    traits = {name: value for one in sent for name, value in _prefixed(one, "up")}
    return _envelope(
        base, traits, [_event_of(one) for one in sent], ids=[_id_of(one, at) for at, one in enumerate(sent)]
    )


def _envelope(
    base: Mapping[str, Any],
    traits: Mapping[str, Any],
    events: Sequence[Any],
    *,
    at: str | None = None,
    ids: Iterable[str | None] = (),
) -> Envelope:
    given = list(ids) or [None] * len(events)
    messages = [{**base, "type": "identify", "traits": traits, **_dated(at)}] if traits else []
    for event, id_ in zip(events, given, strict=True):
        messages.append({**base, **_message(event, at), **({} if id_ is None else {"messageId": id_})})
    return Envelope([_encode(message) for message in messages])


def _message(event: Any, at: str | None) -> dict[str, Any]:
    """An event as a message; what is not an object, or has no name, is counted as invalid by its reader."""
    if not isinstance(event, dict):
        return {"type": "track"}
    name = event.get("name")
    if not isinstance(name, str):
        return {"type": "track", "event": name}
    message: dict[str, Any] = {"properties": _properties(name, event.get("params"))}
    message |= _dated(_instant(event.get("timestamp_micros")) or at)
    return message | ({"type": "page"} if name == PAGE_VIEW else {"type": "track", "event": EVENTS.get(name, name)})


def _properties(name: str, given: Any) -> Any:
    """Parameters as properties; anything but an object stays what it is, and makes its message invalid."""
    if not isinstance(given, dict):
        return {} if given is None else given
    properties: dict[str, Any] = {}
    for key, value in given.items():
        if key == "items":
            properties["products"] = [_product(item) for item in value] if isinstance(value, list) else value
        elif key == "value" and name not in _ORDERS:
            properties["value"] = value
        else:
            properties[PARAMETERS.get(key, key)] = value
    products = properties.get("products")
    if name in _OF_ONE_PRODUCT and isinstance(products, list) and len(products) == 1 and isinstance(products[0], dict):
        return {**products[0], **properties}
    return properties


def _product(item: Any) -> Any:
    return {ITEM_PARAMETERS.get(key, key): value for key, value in item.items()} if isinstance(item, dict) else item


def _base(*, device: Any, person: Any, consent: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "anonymousId": device,
        "userId": person,
        "context": {"library": {"name": "ga4"}, **({"consent": consent} if consent else {})},
    }


def _consent(given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of Consent Mode; whatever stands there is handed on, so that what cannot be read refuses."""
    stated = given.get("consent")
    fields = {} if stated is None else {"google": stated}
    if isinstance(stated, dict):
        fields = {key: stated[key] for key in _CONSENT_FIELDS if key in stated}
    return fields | ({"ad_personalization": "denied"} if given.get("non_personalized_ads") is True else {})


def _user_property(value: Any) -> Any:
    return value.get("value") if isinstance(value, dict) else value


def _dated(at: str | None) -> dict[str, str]:
    return {} if at is None else {"timestamp": at}


def _instant(micros: Any) -> str | None:
    """An instant in microseconds since 1970 as text; what is none stays as it came, and is then refused as malformed."""
    if micros is None or micros == "":
        return None
    try:
        return (_EPOCH + timedelta(microseconds=int(micros))).isoformat()
    except (TypeError, ValueError, OverflowError):
        return f"not microseconds: {type(micros).__name__}"


def _parameters(text: str) -> dict[str, str]:
    """The parameters of a query or a line; the first of equal names. Raises ValueError for too many."""
    found: dict[str, str] = {}
    for name, value in parse_qsl(text, keep_blank_values=True, errors="replace", max_num_fields=PARAMETERS_MAX):
        found.setdefault(name, value)
    return found


def _prefixed(given: Mapping[str, str], prefix: str) -> Iterator[tuple[str, Any]]:
    """The parameters `ep.NAME` as texts and `epn.NAME` as numbers, for the prefix `ep`."""
    for key, value in given.items():
        kind, dot, name = key.partition(".")
        if dot and kind == prefix:
            yield name, value
        elif dot and kind == f"{prefix}n":
            yield name, _number(value)


def _event_of(given: Mapping[str, str]) -> dict[str, Any]:
    params: dict[str, Any] = dict(_prefixed(given, "ep"))
    if given.get("cu"):
        params["currency"] = given["cu"]
    items = [_item(given[key]) for key in sorted((key for key in given if _is_item(key)), key=lambda key: int(key[2:]))]
    if items:
        params["items"] = items
    for key, name in (("dl", "page_location"), ("dr", "page_referrer"), ("dt", "page_title")):
        if given.get("en") == PAGE_VIEW and given.get(key):
            params.setdefault(name, given[key])
    return {"name": given.get("en"), "params": params}


def _is_item(key: str) -> bool:
    return key.startswith("pr") and key[2:].isascii() and key[2:].isdigit() and len(key) <= 5


def _item(text: str) -> dict[str, Any]:
    """An item as a tag sends it: values behind two letters, joined by `~`; own parameters are `k0NAME~v0VALUE`."""
    item: dict[str, Any] = {}
    own: dict[str, dict[str, str]] = {}
    for part in text.split("~"):
        short, value = part[:2], part[2:]
        if short[:1] in ("k", "v") and short[1:].isdigit():
            own.setdefault(short[1:], {})[short[:1]] = value
        elif short in _IN_COLLECT:
            item[_IN_COLLECT[short]] = _number(value) if short in ("pr", "qt", "lp", "ds") else value
    return item | {pair["k"]: pair.get("v", "") for pair in own.values() if "k" in pair}


def _number(text: str) -> float | int | str:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        return text
    return number if number - number == 0 else text


def _id_of(given: Mapping[str, str], at: int) -> str | None:
    """An id for an event that its tag numbers within a page load, so that one sent twice counts once."""
    parts = [given.get(key, "") for key in ("cid", "_p", "_s", "en")]
    return f"ga4-{sha256(_encode([*parts, at])).hex()[:32]}" if all(parts) else None
