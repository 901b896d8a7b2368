"""Computed traits, by buckets and by full recomputation."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp.behavior.decay import is_outgrown
from cdp.behavior.model import EventId, Landmark, Occurred, Plain, Term
from cdp.behavior.traits import CompiledTrait, agree, compile_traits, decaying, fold, gross, recompute, value
from cdp.policy.model import TraitKind
from tests.support.behavior import ORDER, TRAITS, VIEW, day, policy_with

POLICY = policy_with()
MASKS = {purpose: 1 << at for at, purpose in enumerate(POLICY.purposes)}
PLAN = compile_traits(POLICY, MASKS)
MAIL = MASKS["email_marketing"]
NOW = day(30.5)
LANDMARKS = {trait.key: Landmark(1, day(29)) for trait in decaying(PLAN)}


def occurred(
    number: int, at: datetime, name: str = ORDER, bits: int = MAIL, anchor_id: int = 1, **plain: Plain
) -> Occurred:
    return Occurred(anchor_id, EventId(number.to_bytes(16, "big")), at, bits, name, plain)


def by_buckets(trait: CompiledTrait, events: list[Occurred], now: datetime = NOW) -> Plain | None:
    generations = {1: LANDMARKS[trait.key]} if trait.half_life_days else {}
    return value(trait, fold(events, PLAN, LANDMARKS), generations, now=now)


def both(key: str, *events: Occurred, now: datetime = NOW) -> Plain | None:
    """The value by buckets, after holding it against the recomputation."""
    trait = PLAN.by_key[key]
    found = by_buckets(trait, list(events), now)
    assert agree(found, recompute(trait, events, now))
    return found


def test_of_nothing_counts_and_sums_are_zero_and_the_last_is_unknown() -> None:
    assert [both(key) for key in ("orders", "spent", "spent_fading", "orders_fading")] == [0, 0, 0, 0]
    assert [both(key) for key in ("last_order_at", "last_category")] == [None, None]


def test_counts_and_sums() -> None:
    events = [occurred(1, day(1), revenue=10), occurred(2, day(1.5), revenue=2.5), occurred(3, day(2))]
    assert both("orders", *events) == 3
    assert both("spent", *events) == 12.5


def test_without_the_property_there_is_nothing_to_sum_or_take() -> None:
    events = [occurred(1, day(1), VIEW, category=Term("product_category", "Hats")), occurred(2, day(2), VIEW)]
    assert both("last_category", *events) == Term("product_category", "Hats")


def test_a_window_counts_whole_days_with_today() -> None:
    first = datetime(2026, 1, 25, tzinfo=UTC)
    events = [occurred(1, first - timedelta(microseconds=1), revenue=1), occurred(2, first, revenue=10)]
    assert both("spent_lately", *events) == 10
    assert both("spent_lately", *events, now=NOW + timedelta(days=1)) == 0


def test_the_window_is_never_longer_than_the_events_are_kept() -> None:
    kept = POLICY.retention.classes[POLICY.events.class_of(ORDER)].keep_for_days
    assert PLAN.by_key["orders"].window_days == kept
    assert PLAN.by_key["spent_lately"].window_days == 7


def test_only_events_of_the_purpose_count() -> None:
    other = MASKS["personalization"]
    assert both("orders", occurred(1, day(1), bits=other), occurred(2, day(2), bits=other | MAIL)) == 1


def test_conditions_compare_terms_by_text_and_never_take_true_for_one() -> None:
    category = [Term("product_category", each) for each in ("Shoes", "Boots", "Hats")]
    views = [occurred(at, day(at), VIEW, category=each) for at, each in enumerate(category, 1)]
    assert both("shoes_viewed", *views, occurred(9, day(9), VIEW)) == 2
    orders = [occurred(at, day(at), items=each) for at, each in enumerate((3, 3.0, 5, 4), 1)]
    assert both("big_orders", *orders) == 3
    ones = compile_traits(policy_with({"ones": {**TRAITS["orders"], "where": {"items": [1]}}}), MASKS)
    assert fold([occurred(1, day(1), items=True)], ones, {}) == []


def test_of_simultaneous_events_the_greater_id_is_last() -> None:
    hats, shoes = Term("product_category", "Hats"), Term("product_category", "Shoes")
    events = [occurred(2, day(1), VIEW, category=hats), occurred(1, day(1), VIEW, category=shoes)]
    assert both("last_category", *events) == hats


def test_the_last_instant_is_in_microseconds() -> None:
    at = day(3) + timedelta(microseconds=7)
    assert both("last_order_at", occurred(1, at), occurred(2, day(1))) == round(at.timestamp() * 1_000_000)


def test_anchors_are_kept_apart_and_read_together() -> None:
    events = [occurred(1, day(1), revenue=1), occurred(2, day(1), anchor_id=2, revenue=2)]
    buckets = [each for each in fold(events, PLAN, LANDMARKS) if each.trait == "spent"]
    assert sorted((each.anchor_id, each.total) for each in buckets) == [(1, 1), (2, 2)]
    assert both("spent", *events) == 3


def test_what_has_faded_is_half_after_a_half_life() -> None:
    assert both("spent_fading", occurred(1, NOW - timedelta(days=3), revenue=8)) == pytest.approx(4, rel=1e-12)


def test_definitions_change_with_what_buckets_hold_and_not_with_words() -> None:
    def definition(**change: Any) -> str:
        return compile_traits(policy_with({"x": {**TRAITS["spent_fading"], **change}}), MASKS).by_key["x"].definition

    assert definition(text="Other words", category="user.behavior") == definition()
    assert len({definition(), definition(half_life_days=4), definition(property="total")}) == 3


@pytest.mark.parametrize(
    ("one", "other", "magnitude", "same"),
    [
        (1.0, 1.0 + 1e-10, 0.0, True),
        (1.0, 1.0 + 1e-8, 0.0, False),
        (0.0, 1e-8, 100.0, True),
        (0.0, 1e-8, 1.0, False),
        (2.0**-200, 0.0, 0.0, True),
        (None, None, 0.0, True),
        (None, 0, 0.0, False),
        (Term("a", "b"), Term("a", "c"), 0.0, False),
    ],
)
def test_agreement(one: Plain | None, other: Plain | None, magnitude: float, same: bool) -> None:
    assert agree(one, other, magnitude) is same


events = st.lists(
    st.builds(
        occurred,
        st.integers(min_value=1, max_value=1000),
        st.floats(min_value=0, max_value=30.4).map(day),
        st.sampled_from([ORDER, VIEW]),
        st.sampled_from([MAIL, MAIL | MASKS["personalization"], MASKS["personalization"]]),
        st.integers(min_value=1, max_value=3),
        revenue=st.floats(min_value=-1e6, max_value=1e6),
        items=st.integers(min_value=1, max_value=6),
        category=st.sampled_from([Term("product_category", each) for each in ("Shoes", "Boots", "Hats")]),
    ),
    max_size=30,
    unique_by=lambda event: event.event_id,  # one message counts once
)


@given(events=events)
def test_buckets_and_recomputation_agree(events: list[Occurred]) -> None:
    for trait in PLAN.by_key.values():
        found, again = by_buckets(trait, events), recompute(trait, events, NOW)
        assert agree(found, again, gross(trait, events, NOW)), trait.key


@given(events=events, at=st.integers(min_value=0, max_value=30))
def test_buckets_of_parts_add_up(events: list[Occurred], at: int) -> None:
    for key in ("orders", "spent", "spent_fading", "last_category", "shoes_viewed"):
        trait = PLAN.by_key[key]
        generations = {1: LANDMARKS[key]} if trait.half_life_days else {}
        parts = fold(events[:at], PLAN, LANDMARKS) + fold(events[at:], PLAN, LANDMARKS)
        assert agree(
            value(trait, parts, generations, now=NOW), recompute(trait, events, NOW), gross(trait, events, NOW)
        )


def test_the_landmarks_here_are_in_use() -> None:
    assert all(trait.kind is not TraitKind.LAST for trait in decaying(PLAN))
    assert not any(is_outgrown(LANDMARKS[trait.key].at, NOW, trait.half_life_days or 1) for trait in decaying(PLAN))
