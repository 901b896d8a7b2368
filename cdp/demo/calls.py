"""The SDK calls that are sent, in three phases. Pure.

The id of every message is derived from its content, so a message that is sent twice counts once.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from cdp.demo.orders import Calendar, Order
from cdp.demo.people import TABLET, DemoPerson, chance, tablet_users

Sender = Literal["shop", "web"]
"""The shop's server, which knows who is logged in, and the browser, which anyone can imitate."""

_PRODUCTS: Final = (
    ("LANTERN-101", "Candles and Lanterns", 4.95),
    ("MUG-204", "Mugs", 2.95),
    ("CARD-310", "Cards", 0.85),
    ("TIN-417", "Tins and Boxes", 3.25),
    ("BAG-522", "Bags", 1.95),
    ("BUNTING-609", "Party", 4.65),
    ("CLOCK-733", "Clocks", 8.50),
    ("APRON-845", "Kitchen", 5.45),
)
_VIEWS_PER_ORDER: Final = 0.5
_ADDED_TO_CART: Final = 0.4
_CLICKS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an SDK: `kind` is its method, the rest its arguments. `about` is the key by which calls are kept in order."""

    sender: Sender
    about: str
    kind: Literal["track", "page"]
    name: str
    message_id: str
    at: datetime
    user_id: str | None = None
    anonymous_id: str | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)


def joining(people: Sequence[DemoPerson], calendar: Calendar) -> Iterator[Call]:
    """Phase one: people browse, answer the consent question or not, and join."""
    for person in people:
        yield _view(
            person,
            person.phone,
            person.joined_at - timedelta(minutes=5),
            calendar=calendar,
            mark="first",
            has_banner=True,
        )
        if person.choices:
            yield Call(
                sender="shop",
                about=person.buyer,
                kind="page",
                name="Joined",
                message_id=f"joined-{person.buyer}",
                at=calendar.at(person.joined_at),
                user_id=person.user_id,
                anonymous_id=person.phone,
                properties={"category": "Account"},
                context=_stated_traits(person, person.orders[0]) | _consent_context(person.choices),
            )


def shopping(people: Sequence[DemoPerson], calendar: Calendar) -> Iterator[Call]:
    """Phase two: orders, the browsing around them, a login on a second device, and e-mail clicks of subscribers."""
    for person in people:
        for order in person.orders:
            yield from _around(person, order, calendar)
        second = person.orders[-1]
        if person.choices:
            at = second.local_at - timedelta(minutes=20)
            yield _view(person, person.laptop, at, calendar=calendar, mark="second", has_banner=True)
            yield _login(person, person.laptop, at + timedelta(minutes=2), calendar=calendar)
        if person.choices.get("email_marketing"):
            yield from _email_clicks(person, calendar)


def sharing(people: Sequence[DemoPerson], calendar: Calendar) -> Iterator[Call]:
    """Phase three: two people log in on one tablet, which is shared from then on."""
    pair = tablet_users(people)
    last = max(person.orders[-1].local_at for person in pair)
    for minutes, person in enumerate(pair):
        yield _login(person, TABLET, last + timedelta(hours=1, minutes=minutes), calendar=calendar, about=TABLET)


def _around(person: DemoPerson, order: Order, calendar: Calendar) -> Iterator[Call]:
    if chance(order.invoice, "visit") < _VIEWS_PER_ORDER:
        at = order.local_at - timedelta(minutes=10)
        yield _view(person, person.phone, at, calendar=calendar, mark=order.invoice)
        if chance(order.invoice, "cart") < _ADDED_TO_CART:
            yield _view(
                person,
                person.phone,
                at + timedelta(minutes=3),
                calendar=calendar,
                mark=f"{order.invoice}-cart",
                is_added=True,
            )
    properties = {
        "order_id": order.invoice,
        "revenue": order.amount,
        "currency": "GBP",
        "lines": order.lines,
        "items": order.items,
    }
    yield Call(
        sender="shop",
        about=person.buyer,
        kind="track",
        name="Order Completed",
        message_id=f"order-{order.invoice}",
        at=calendar.at(order.local_at),
        user_id=person.user_id,
        properties=properties | ({"country": order.country} if order.country else {}),
        context=_stated_traits(person, order),
    )


def _view(
    person: DemoPerson,
    device: str,
    local: datetime,
    *,
    calendar: Calendar,
    mark: str,
    has_banner: bool = False,
    is_added: bool = False,
) -> Call:
    """A product view, or an addition to the cart, by a browser that is not logged in."""
    sku, category, price = _PRODUCTS[int(chance(f"{person.buyer}{mark}", "product") * len(_PRODUCTS))]
    return Call(
        sender="web",
        about=person.buyer,
        kind="track",
        name="Product Added" if is_added else "Product Viewed",
        message_id=f"view-{person.buyer}-{mark}",
        at=calendar.at(local),
        anonymous_id=device,
        properties={"sku": sku, "category": category, "price": price, "currency": "GBP"},
        context=_consent_context(person.choices) if has_banner and person.choices else {},
    )


def _login(person: DemoPerson, device: str, local: datetime, *, calendar: Calendar, about: str | None = None) -> Call:
    return Call(
        sender="shop",
        about=about or person.buyer,
        kind="page",
        name="Logged in",
        message_id=f"login-{person.buyer}-{device}",
        at=calendar.at(local),
        user_id=person.user_id,
        anonymous_id=device,
        properties={"category": "Account"},
    )


def _email_clicks(person: DemoPerson, calendar: Calendar) -> Iterator[Call]:
    if chance(person.buyer, "letters") < _CLICKS:
        yield Call(
            sender="shop",
            about=person.buyer,
            kind="track",
            name="Email Link Clicked",
            message_id=f"clicked-{person.buyer}",
            at=calendar.at(person.orders[0].local_at + timedelta(hours=3)),
            user_id=person.user_id,
            properties={"campaign_name": "welcome", "channel": "email"},
        )


def _stated_traits(person: DemoPerson, order: Order) -> dict[str, Any]:
    """Traits that the shop states with an order: e-mail address and country."""
    traits = {"email": person.email} | ({"country": order.country} if order.country else {})
    return {"traits": traits}


def _consent_context(choices: Mapping[str, bool]) -> dict[str, Any]:
    """The answers of a consent banner, where Segment's SDKs put them."""
    return {"consent": {"categoryPreferences": dict(choices)}}
