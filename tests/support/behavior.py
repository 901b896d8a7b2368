"""Behavior on a real PostgreSQL: anchors, permissions and messages of people who are written directly into the tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cdp.behavior.classify import classify, json_bytes, payload, seal_refused_terms, terms_of
from cdp.behavior.model import EventEntry, EventId, Terms
from cdp.behavior.retention import months_needed
from cdp.behavior.rules import PlanRules, compile_plan
from cdp.behavior.store import batch as store
from cdp.behavior.store.buckets import recompute_buckets
from cdp.behavior.traits import TraitPlan, compile_traits
from cdp.consent.store import projection as projection_store
from cdp.kit.db import Database, Transaction
from cdp.policy.model import Policy
from tests.support.people import NEW_YEAR
from tests.support.policies import changed, documents_of, shipped

ORDER = "Order Completed"
VIEW = "Product Viewed"


def day(number: float) -> datetime:
    """An instant so many days after the start of 2026."""
    return NEW_YEAR + timedelta(days=number)


def trait(**definition: Any) -> dict[str, Any]:
    """The document of a computed trait for e-mail marketing."""
    return {"purpose": "email_marketing", "category": "user.behavior.purchase_history", **definition}


TRAITS: Mapping[str, dict[str, Any]] = {
    "orders": trait(kind="count", event=ORDER),
    "spent": trait(kind="sum", event=ORDER, property="revenue"),
    "spent_pounds": trait(kind="sum", event=ORDER, property="revenue", currency="GBP"),
    "spent_lately": trait(kind="sum", event=ORDER, property="revenue", within_days=7),
    "spent_fading": trait(kind="sum", event=ORDER, property="revenue", half_life_days=3),
    "orders_fading": trait(kind="count", event=ORDER, half_life_days=0.25),
    "last_order_at": trait(kind="last", event=ORDER),
    "last_category": trait(kind="last", event=VIEW, property="category"),
    "shoes_viewed": trait(kind="count", event=VIEW, where={"category": ["Shoes", "Boots"]}),
    "big_orders": trait(kind="count", event=ORDER, where={"items": [3, 5]}),
    "views": trait(kind="count", event=VIEW, purpose="personalization"),
    "articles": trait(kind="sum", event=ORDER, property="products.quantity"),
    "goods": trait(kind="sum", event=ORDER, property="products.price"),
    "goods_in_pounds": trait(kind="sum", event=ORDER, property="products.price", currency="GBP"),
    "articles_fading": trait(kind="sum", event=ORDER, property="products.quantity", half_life_days=3),
    "mug_orders": trait(kind="count", event=ORDER, where={"products.sku": ["MUG-1", "MUG-2"], "products.price": [60]}),
}


def policy_with(traits: Mapping[str, dict[str, Any]] = TRAITS, **classes: dict[str, Any]) -> Policy:
    """The shipped policy with these computed traits only, and retention classes changed."""
    shipped_policy = shipped()
    removed = dict.fromkeys(shipped_policy.traits)
    documents = changed(shipped_policy, "traits.yaml", traits={**removed, **traits})
    if not classes:
        return documents
    known: dict[str, Any] = documents_of(documents)["retention.yaml"]["classes"]
    merged = {name: {**known[name], **classes.get(name, {})} for name in known}
    merged = {name: {key: value for key, value in rule.items() if value is not None} for name, rule in merged.items()}
    return changed(documents, "retention.yaml", classes=merged)


@dataclass
class BehaviorPipeline:
    """A database with a policy in force, whose profiles, anchors and permissions the test writes itself."""

    database: Database
    policy: Policy
    now: datetime = field(default_factory=lambda: day(30))
    rules: PlanRules = field(init=False)
    plan: TraitPlan = field(init=False)
    masks: dict[str, int] = field(init=False)
    sent: int = 0

    def __post_init__(self) -> None:
        with self.database.transaction() as tx:
            self.masks = projection_store.prepare_purposes(tx, list(self.policy.purposes), NEW_YEAR)
        self.rules = compile_plan(self.policy.events)
        self.plan = compile_traits(self.policy, self.masks)

    def bits(self, *purposes: str) -> int:
        """The mask of these purposes."""
        return sum(self.masks[purpose] for purpose in purposes)

    def message_id(self) -> EventId:
        """The next event id; later ones are greater."""
        self.sent += 1
        return EventId(self.sent.to_bytes(16, "big"))

    def put_anchor(self, tx: Transaction, anchor_id: int, profile_id: int) -> None:
        """Make an anchor part of a profile, or move it to another."""
        tx.execute(
            "INSERT INTO identity.canonical (anchor_id, profile_id) VALUES (%(anchor)s, %(profile)s) "
            "ON CONFLICT (anchor_id) DO UPDATE SET profile_id = excluded.profile_id",
            {"anchor": anchor_id, "profile": profile_id},
        )

    def permit(self, tx: Transaction, profile_id: int, purpose: str, since: datetime) -> None:
        """Permit a purpose, from an instant on."""
        tx.execute(
            "INSERT INTO consent.permitted (profile_id, purpose, since, reader_pseudonym) "
            "VALUES (%(profile)s, %(purpose)s, %(since)s, %(pseudonym)s) "
            "ON CONFLICT (profile_id, purpose) DO UPDATE SET since = excluded.since",
            {"profile": profile_id, "purpose": purpose, "since": since, "pseudonym": f"reader-{profile_id}"},
        )

    def refuse(self, tx: Transaction, profile_id: int, purpose: str) -> None:
        """End a permission."""
        tx.execute(
            "DELETE FROM consent.permitted WHERE profile_id = %(profile)s AND purpose = %(purpose)s",
            {"profile": profile_id, "purpose": purpose},
        )

    def entry(
        self,
        kind: str,
        body: Mapping[str, Any],
        anchor_id: int,
        at: datetime,
        bits: int,
        received_at: datetime | None = None,
    ) -> EventEntry:
        """A message, classified, its sealed parts in readable JSON."""
        event_id = self.message_id()
        classified = classify(kind, {"messageId": f"m{int.from_bytes(event_id, 'big')}", **body}, self.rules)
        return EventEntry(
            anchor_id=anchor_id,
            event_id=event_id,
            occurred_at=at,
            received_at=received_at or at,
            source_id=1,
            bits=bits,
            classified=classified,
            sealed=payload(classified),
            sealed_traits={name: json_bytes(value) for name, value in classified.sealed_traits.items()},
        )

    def order(self, anchor_id: int, at: datetime, bits: int, **properties: Any) -> EventEntry:
        """An order of an anchor."""
        return self.entry("track", {"event": ORDER, "properties": properties}, anchor_id, at, bits)

    def view(self, anchor_id: int, at: datetime, bits: int, category: str) -> EventEntry:
        """A product view of an anchor."""
        return self.entry("track", {"event": VIEW, "properties": {"category": category}}, anchor_id, at, bits)

    def store(self, entries: Sequence[EventEntry]) -> Terms:
        """Store a batch as ingest does: partitions, terms, then everything in one transaction."""
        store.ensure_partitions(
            self.database, months_needed((entry.classified.retention_class, entry.occurred_at) for entry in entries)
        )
        with self.database.transaction() as tx:
            return self.append(tx, entries)

    def append(self, tx: Transaction, entries: Sequence[EventEntry]) -> Terms:
        """Store a batch in an open transaction."""
        terms = store.intern_terms(tx, terms_of(entry.classified for entry in entries), self.rules)
        storable = [storable_entry(entry, terms, self.rules) for entry in entries]
        store.append(tx, storable, terms, plan=self.plan, now=self.now)
        return terms

    def recompute(self, tx: Transaction, anchor_ids: Sequence[int]) -> None:
        """Recompute the buckets of anchors."""
        recompute_buckets(tx, self.plan, anchor_ids, now=self.now)


def storable_entry(entry: EventEntry, terms: Terms, rules: PlanRules) -> EventEntry:
    """The entry with what a full vocabulary refused sealed."""
    classified = seal_refused_terms(entry.classified, terms, rules)
    return EventEntry(
        entry.anchor_id,
        entry.event_id,
        entry.occurred_at,
        entry.received_at,
        entry.source_id,
        entry.bits,
        classified,
        payload(classified),
        {name: json_bytes(value) for name, value in classified.sealed_traits.items()},
    )
