"""Whatever happens, every computed trait equals its full recomputation from the retained, permitted events.

Random histories: late and simultaneous events, merges and unmerges, withdrawals and new grants, the worker that
clears bits, sweeps, moved landmarks, transactions that roll back, and time that passes. The truth is kept beside the
store, in Python, and knows neither buckets nor landmarks.
"""

from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from cdp.behavior.model import EventEntry, Occurred
from cdp.behavior.retention import is_expired, is_month_over, months_needed
from cdp.behavior.store import computed as computed_store
from cdp.behavior.store import consistency as consistency_store
from cdp.behavior.store import events as event_store
from cdp.behavior.store import sweep as behavior_sweep_store
from cdp.behavior.store.batch import ensure_partitions
from cdp.behavior.traits import agree, gross, recompute
from cdp.kit.db import Database, Transaction
from tests.support.behavior import ORDER, BehaviorPipeline, day, policy_with
from tests.support.policies import changed

pytestmark = pytest.mark.postgres

ANCHORS = (1, 2, 3, 4)
PROFILES = (11, 12, 13)
PURPOSES = ("email_marketing", "personalization")
KEEP_FOR_DAYS = {"transactions": 40, "browsing": 20}
POLICY = changed(
    policy_with(transactions={"keep_for_days": 40, "hold": None}, browsing={"keep_for_days": 20}),
    "currencies.yaml",
    rates={"GBP": {"2026-01-05": 1.25, "2026-01-20": 1.1}, "USD": {"2026-01-28": 0.9}},
)


@dataclass(frozen=True)
class Happened:
    """An event: how long ago it occurred when it arrives, on which anchor, with what."""

    anchor_id: int
    days_ago: float
    amount: float | None
    category: str
    items: int
    products: tuple[tuple[str, float, int | None, str | None], ...] | None = None
    """Article, price, quantity and currency of each product of an order, if its message has them."""
    currency: str | None = None


@dataclass(frozen=True)
class Batch:
    events: tuple[Happened, ...]
    rolls_back: bool


@dataclass(frozen=True)
class Move:
    """A merge or an unmerge: an anchor becomes part of a profile."""

    anchor_id: int
    profile_id: int


@dataclass(frozen=True)
class Consent:
    profile_id: int
    purpose: str
    is_granted: bool


@dataclass(frozen=True)
class Clear:
    """The worker clears a purpose from everything that a profile did before now."""

    profile_id: int
    purpose: str


@dataclass(frozen=True)
class Pass:
    days: float


@dataclass(frozen=True)
class Sweep:
    moves_landmarks: bool


Step = Batch | Move | Consent | Clear | Pass | Sweep


@dataclass
class Truth:
    """The retained events and who is permitted what, without a database."""

    events: list[Occurred] = field(default_factory=list)
    profile_of: dict[int, int] = field(default_factory=lambda: dict(zip(ANCHORS, (11, 12, 13, 13), strict=True)))
    since: dict[tuple[int, str], datetime] = field(default_factory=dict)

    def bits_at(self, behavior: BehaviorPipeline, anchor_id: int, occurred_at: datetime) -> int:
        """The purposes permitted from the event's instant to now."""
        profile_id = self.profile_of[anchor_id]
        return behavior.bits(
            *(each for each in PURPOSES if self.since.get((profile_id, each), behavior.now) <= occurred_at)
        )

    def anchors(self, profile_id: int) -> list[int]:
        return [anchor_id for anchor_id, owner in self.profile_of.items() if owner == profile_id]

    def counted(self, profile_id: int, purpose: str) -> list[Occurred]:
        since = self.since.get((profile_id, purpose))
        mine = set(self.anchors(profile_id))
        if since is None:
            return []
        return [each for each in self.events if each.anchor_id in mine and each.occurred_at >= since]

    def clear(self, anchor_ids: list[int], mask: int, before: datetime) -> None:
        self.events = [
            each._replace(bits=each.bits & ~mask)
            if each.anchor_id in anchor_ids and each.occurred_at < before
            else each
            for each in self.events
        ]


PAST = Batch(
    tuple(
        Happened(
            anchor_id,
            days_ago,
            3.25 * anchor_id,
            category,
            3,
            (("MUG-1", 60, 2, None), ("HAT-2", 40.5, anchor_id, "GBP")),
        )
        for anchor_id in ANCHORS
        for days_ago, category in ((0.1, ""), (0.7, "Boots"), (5.0, ""), (12.5, "Shoes"), (18.0, "Hats"), (33.0, ""))
    ),
    rolls_back=False,
)
"""Every history begins with it, so that each step has something to change."""

amounts = st.one_of(
    st.none(),
    st.floats(min_value=-1000, max_value=1000, allow_subnormal=False).map(lambda value: round(value, 2)),
    st.integers(min_value=-(10**6), max_value=10**6),
)
currencies = st.sampled_from([None, None, "EUR", "GBP", "USD", "CHF", "gbp"])
happened = st.builds(
    Happened,
    anchor_id=st.sampled_from(ANCHORS),
    days_ago=st.one_of(
        st.just(0.0), st.floats(min_value=0, max_value=50), st.integers(min_value=0, max_value=3).map(float)
    ),
    amount=amounts,
    category=st.sampled_from(["", "Shoes", "Boots", "Hats"]),
    items=st.integers(min_value=2, max_value=5),
    products=st.none()
    | st.lists(
        st.tuples(
            st.sampled_from(["MUG-1", "HAT-2"]), st.sampled_from([60, 40.5]), st.none() | st.integers(-3, 5), currencies
        ),
        max_size=3,
    ).map(tuple),
    currency=currencies,
)
batches = st.builds(
    Batch,
    events=st.lists(happened, min_size=1, max_size=6).map(tuple),
    rolls_back=st.sampled_from([False] * 4 + [True]),
)
steps: st.SearchStrategy[Step] = st.one_of(
    batches,
    batches,
    batches,
    st.builds(Move, st.sampled_from(ANCHORS), st.sampled_from(PROFILES)),
    st.builds(Consent, st.sampled_from(PROFILES), st.sampled_from(PURPOSES), st.booleans()),
    st.builds(Clear, st.sampled_from(PROFILES), st.sampled_from(PURPOSES)),
    st.builds(Pass, st.one_of(st.floats(min_value=0, max_value=3), st.floats(min_value=0, max_value=200))),
    st.builds(Sweep, st.booleans()),
)


@pytest.fixture(scope="module")
def policy_stages() -> dict[str, BehaviorPipeline]:
    """Stages by database, so that examples share what never changes."""
    return {}


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(history=st.lists(steps, min_size=3, max_size=16))
def test_every_computed_trait_equals_its_recomputation(
    database: Database, policy_stages: dict[str, BehaviorPipeline], history: list[Step]
) -> None:
    behavior = policy_stages.setdefault(database.url, BehaviorPipeline(database, POLICY))
    # As another process: it remembers no landmark of the example before, in which more time may have passed.
    with closing(Database(database.url)) as own:
        behavior.database = own
        truth = Truth()
        _begin(behavior, truth)
        for step in [PAST, *history]:
            event(type(step).__name__)
            _play(behavior, truth, step)
            _compare(behavior, truth)


def _begin(behavior: BehaviorPipeline, truth: Truth) -> None:
    """An empty store in which everybody has permitted everything, but some later than others."""
    behavior.now = day(60.5)
    with behavior.database.transaction() as tx:
        tx.execute("TRUNCATE behavior.event, behavior.bucket, behavior.landmark, identity.canonical, consent.permitted")
        for anchor_id, profile_id in truth.profile_of.items():
            behavior.put_anchor(tx, anchor_id, profile_id)
        for profile_id, since in zip(PROFILES, (day(-100), day(45), day(59)), strict=True):
            for purpose in PURPOSES:
                truth.since[profile_id, purpose] = since
                behavior.permit(tx, profile_id, purpose, since)


def _play(behavior: BehaviorPipeline, truth: Truth, step: Step) -> None:
    match step:
        case Batch():
            _store(behavior, truth, step)
        case Pass():
            behavior.now += timedelta(days=step.days)
        case Sweep():
            _sweep(behavior, step)
        case _:
            with behavior.database.transaction() as tx:
                _decide(tx, behavior, truth, step)


def _decide(tx: Transaction, behavior: BehaviorPipeline, truth: Truth, step: Move | Consent | Clear) -> None:
    """Change the map, the permissions or the bits, and recompute the anchors concerned in the same transaction."""
    match step:
        case Move():
            truth.profile_of[step.anchor_id] = step.profile_id
            behavior.put_anchor(tx, step.anchor_id, step.profile_id)
            behavior.recompute(tx, [step.anchor_id])
        case Consent(profile_id, purpose, is_granted):
            place = (profile_id, purpose)
            if is_granted and place not in truth.since:
                truth.since[place] = behavior.now
                behavior.permit(tx, profile_id, purpose, behavior.now)
            elif not is_granted and truth.since.pop(place, None) is not None:
                behavior.refuse(tx, profile_id, purpose)
            behavior.recompute(tx, truth.anchors(profile_id))
        case Clear(profile_id, purpose):
            anchors, mask = truth.anchors(profile_id), behavior.bits(purpose)
            truth.clear(anchors, mask, behavior.now)
            event_store.clear_bits(tx, anchors, mask, before=behavior.now)
            behavior.recompute(tx, anchors)


def _store(behavior: BehaviorPipeline, truth: Truth, batch: Batch) -> None:
    entries = [entry for each in batch.events if (entry := _entry(behavior, truth, each)) is not None]
    if not entries:
        return
    if batch.rolls_back:
        _store_and_fail(behavior, entries)
        return
    behavior.store(entries)
    truth.events += [
        Occurred(
            each.anchor_id,
            each.event_id,
            each.occurred_at,
            each.bits,
            each.classified.name or "",
            each.classified.plain,
        )
        for each in entries
    ]


def _store_and_fail(behavior: BehaviorPipeline, entries: list[EventEntry]) -> None:
    """What a rolled back transaction stored, interned and made must leave no trace, also not in memory."""
    ensure_partitions(
        behavior.database, months_needed((each.classified.retention_class, each.occurred_at) for each in entries)
    )

    def fail() -> None:
        with behavior.database.transaction() as tx:
            behavior.append(tx, entries)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()


def _entry(behavior: BehaviorPipeline, truth: Truth, happened: Happened) -> EventEntry | None:
    """The message as ingest would store it; None when it has expired or nothing permits it."""
    at = behavior.now - timedelta(days=happened.days_ago)
    bits = truth.bits_at(behavior, happened.anchor_id, at)
    properties: dict[str, Any] = {"items": happened.items}
    if happened.amount is not None:
        properties["revenue"] = happened.amount
    if happened.currency is not None:
        properties["currency"] = happened.currency
    if happened.products is not None:
        names = ("sku", "price", "quantity", "currency")
        products = [dict(zip(names, product, strict=True)) for product in happened.products]
        properties["products"] = products
    if happened.category:
        entry = behavior.view(happened.anchor_id, at, bits, happened.category)
    else:
        entry = behavior.order(happened.anchor_id, at, bits, **properties)
    expired = is_expired(at, KEEP_FOR_DAYS[entry.classified.retention_class], behavior.now)
    return None if expired or not bits else entry


def _sweep(behavior: BehaviorPipeline, step: Sweep) -> None:
    with behavior.database.transaction() as tx:
        for partition in behavior_sweep_store.partitions(tx):
            if is_month_over(partition.month, KEEP_FOR_DAYS[partition.retention_class], behavior.now):
                tx.execute(
                    "DELETE FROM behavior.event WHERE retention_class = %(class)s AND occurred_at < %(end)s",
                    {"class": partition.retention_class, "end": partition.month.end},
                )
        behavior_sweep_store.delete_uncounted_buckets(tx, behavior.plan, behavior.now, rows_max=1000)
        if step.moves_landmarks:
            computed_store.move_landmarks(tx, behavior.plan, 1000)


def _compare(behavior: BehaviorPipeline, truth: Truth) -> None:
    with behavior.database.transaction() as tx:
        found = computed_store.computed_of(tx, behavior.plan, PROFILES, now=behavior.now)
        assert consistency_store.check_computed(tx, behavior.plan, PROFILES, now=behavior.now) == []
    for profile_id in PROFILES:
        for key, trait in behavior.plan.by_key.items():
            events = truth.counted(profile_id, trait.purpose)
            again = recompute(trait, events, behavior.now)
            stored = found[profile_id][key]
            assert agree(stored, again, gross(trait, events, behavior.now)), (profile_id, key, stored, again)


def test_orders_and_views_have_different_ends() -> None:
    assert POLICY.events.class_of(ORDER) == "transactions"
    assert {key: POLICY.retention.classes[key].keep_for_days for key in KEEP_FOR_DAYS} == KEEP_FOR_DAYS
