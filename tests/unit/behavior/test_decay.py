"""Forward decay."""

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp.behavior import decay
from tests.support.people import NOON

half_lives = st.floats(min_value=0.01, max_value=3650)


def ago(days: float) -> datetime:
    return NOON - timedelta(days=days)


def test_an_event_weighs_half_after_a_half_life() -> None:
    assert decay.weight(NOON, NOON, 30) == 1
    assert decay.weight(ago(30), NOON, 30) == 0.5
    assert decay.weight(ago(90), NOON, 30) == 0.125


@given(age=st.floats(min_value=0, max_value=4000), landmark=st.floats(min_value=0, max_value=400), half=half_lives)
def test_forward_weights_read_now_are_ages(age: float, landmark: float, half: float) -> None:
    stored = decay.forward_weight(ago(age), ago(landmark), half) if landmark / half < 500 else 0.0
    if landmark / half < 500:
        assert decay.value_at(stored, ago(landmark), NOON, half_life_days=half) == pytest.approx(
            decay.weight(ago(age), NOON, half), rel=1e-9, abs=2.0**-100
        )


@given(
    ages=st.lists(st.floats(min_value=0, max_value=60), min_size=1, max_size=20),
    amounts=st.lists(st.integers(min_value=-1000, max_value=1000), min_size=20, max_size=20),
    half=st.floats(min_value=1, max_value=100),
)
def test_moving_the_landmark_changes_no_value(ages: list[float], amounts: list[int], half: float) -> None:
    old, new = ago(70), ago(1)
    total = math.fsum(x * decay.forward_weight(ago(age), old, half) for age, x in zip(ages, amounts, strict=False))
    moved = decay.rescaled(total, old, new, half_life_days=half)
    assert decay.value_at(moved, new, NOON, half_life_days=half) == pytest.approx(
        decay.value_at(total, old, NOON, half_life_days=half), rel=1e-9, abs=1e-12
    )


def test_a_landmark_is_outgrown_before_doubles_overflow() -> None:
    assert not decay.is_outgrown(ago(500), NOON, 1)
    assert decay.is_outgrown(ago(501), NOON, 1)
    heaviest = decay.forward_weight(NOON, ago(500), 1) * 2.0**53 * 2.0**53
    assert math.isfinite(heaviest)


def test_what_is_nothing_is_exactly_nothing() -> None:
    assert decay.power_of_two(-1000) > 0
    assert decay.power_of_two(-1000.5) == 0
    assert decay.weight(ago(100_000), NOON, 0.01) == 0


@given(exponent=st.floats(min_value=-1000, max_value=1000))
def test_powers_of_two_are_exact_enough(exponent: float) -> None:
    assert math.log2(decay.power_of_two(exponent)) == pytest.approx(exponent, abs=1e-9)


def test_a_clock_that_was_set_back_raises_nothing() -> None:
    assert decay.is_outgrown(NOON + timedelta(days=501), NOON, 1)
    assert decay.value_at(0.0, NOON + timedelta(days=5000), NOON, half_life_days=1) == 0
    assert decay.power_of_two(5000) == 2.0**1000


def test_a_landmark_begins_with_the_day() -> None:
    assert decay.landmark_for(NOON) == datetime(2026, 6, 1, tzinfo=UTC)
