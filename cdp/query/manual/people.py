"""Five people with short histories, for the examples of the language."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID

from cdp.query.reference.history import EventRecord, PermittedSpan, Profile, StatedValue

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
PURPOSE = "email_marketing"
OTHER = "analytics"

ADA, BEN, CEM, DOT, EVE = 1, 2, 3, 4, 5
NAMES = {ADA: "Ada", BEN: "Ben", CEM: "Cem", DOT: "Dot", EVE: "Eve"}


def _at(days_ago: float) -> datetime:
    return NOW - timedelta(days=days_ago)


def _event(name: str, days_ago: float, **properties: StatedValue) -> EventRecord:
    event_id = UUID(bytes=sha256(f"{name} {days_ago}".encode()).digest()[:16])
    return EventRecord(name, _at(days_ago), frozenset((PURPOSE, OTHER)), properties, str(event_id))


def _ordered(days_ago: float, revenue: float, *products: Mapping[str, StatedValue], **more: StatedValue) -> EventRecord:
    ordered = _event("Order Completed", days_ago, revenue=revenue, **more)
    return replace(ordered, lists={"products": products}) if products else ordered


def _product(sku: str, price: float, **more: StatedValue) -> Mapping[str, StatedValue]:
    return {"sku": sku, "price": price, **more}


def _person(
    profile_id: int, traits: Mapping[str, StatedValue], *events: EventRecord, **permitted: PermittedSpan
) -> Profile:
    spans = permitted or {PURPOSE: PermittedSpan(), OTHER: PermittedSpan()}
    return Profile(profile_id, spans, dict.fromkeys(spans, traits), events, bytes([profile_id] * 16))


PEOPLE = (
    _person(
        ADA,
        {"age": 34, "country": "DE", "vip": True, "createdAt": _at(400)},
        _ordered(200, 100, _product("BOOT-7", 100, quantity=1), category="shoes"),
        _ordered(100, 150, _product("MUG-1", 60, quantity=1), _product("HAT-2", 30, quantity=3), category="shoes"),
        _ordered(70, 80, category="hats"),
    ),
    _person(
        BEN,
        {"age": 17, "country": "FR", "vip": False, "createdAt": _at(20)},
        _event("Product Viewed", 12, category="shoes", price=40),
        _event("Product Added", 10, category="shoes"),
        _ordered(9.5, 40, _product("HAT-2", 20, quantity=2), category="shoes", order_id="2001"),
        _event("Order Refunded", 8, order_id="2001", revenue=10),
    ),
    _person(
        CEM,
        {"country": "GB", "createdAt": _at(5)},
        _event("Product Viewed", 3, category="shoes", price=90),
        _event("Product Viewed", 2, category="boots", price=120),
        _event("Product Added", 2, category="boots"),
    ),
    _person(
        DOT,
        {"age": 51, "vip": True},
        replace(_ordered(20, 500), purposes=frozenset({OTHER})),
        _ordered(1, 20, _product("MUG-1", 20), category="hats"),
    ),
    _person(EVE, {"age": 40, "country": "DE"}, _ordered(3, 900), analytics=PermittedSpan()),
)
