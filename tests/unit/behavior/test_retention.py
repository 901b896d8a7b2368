"""When things end."""

import re
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp.behavior import retention
from cdp.behavior.retention import Month
from cdp.kit.errors import Fault

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
instants = st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2250, 1, 1), timezones=st.just(UTC))
days = st.integers(min_value=1, max_value=36_525)


def test_an_event_ends_keep_for_days_after_it_occurred() -> None:
    occurred_at = datetime(2026, 6, 5, 12, tzinfo=UTC)
    assert retention.expires_at(occurred_at, 10) == NOW
    assert retention.is_expired(occurred_at, 10, NOW)
    assert not retention.is_expired(occurred_at, 10, NOW - timedelta(microseconds=1))


@given(occurred_at=instants, keep_for_days=days, now=instants)
def test_what_has_expired_lies_before_the_horizon(occurred_at: datetime, keep_for_days: int, now: datetime) -> None:
    expired = retention.is_expired(occurred_at, keep_for_days, now)
    assert expired == (retention.expires_at(occurred_at, keep_for_days) <= now)
    assert expired == (occurred_at <= retention.horizon(now, keep_for_days))


@given(occurred_at=instants, keep_for_days=days, now=instants)
def test_a_month_is_dropped_only_when_all_of_it_has_expired_and_then_soon(
    occurred_at: datetime, keep_for_days: int, now: datetime
) -> None:
    month = retention.month_of(occurred_at)
    if retention.is_month_over(month, keep_for_days, now):
        assert retention.is_expired(occurred_at, keep_for_days, now)
    if retention.is_expired(occurred_at, keep_for_days, now - timedelta(days=31)):
        assert retention.is_month_over(month, keep_for_days, now)


@given(now=instants, window=days, occurred_at=instants)
def test_what_a_trait_counts_is_retained(now: datetime, window: int, occurred_at: datetime) -> None:
    if retention.first_counted_day(now, window) <= occurred_at.date() and occurred_at <= now:
        assert not retention.is_expired(occurred_at, window, now)


def test_a_window_is_whole_days_with_today() -> None:
    assert retention.first_counted_day(NOW, 1) == date(2026, 6, 15)
    assert retention.first_counted_day(NOW, 30) == date(2026, 5, 17)
    assert retention.first_counted_day(datetime(2026, 6, 15, 23, tzinfo=timezone(-timedelta(hours=5))), 1) == date(
        2026, 6, 16
    )


@given(instant=instants)
def test_months_are_bounded_by_their_neighbors(instant: datetime) -> None:
    month = retention.month_of(instant)
    assert month.start <= instant < month.end == month.next.start


def test_months_are_those_of_utc() -> None:
    assert retention.month_of(datetime(2026, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=1)))) == Month(2025, 12)
    assert Month(2025, 12).next == Month(2026, 1)


def test_partitions_are_named_by_class_and_month() -> None:
    assert retention.class_partition("browsing") == "event_browsing"
    assert retention.month_partition("browsing", Month(2026, 3)) == "event_browsing_2026_03"
    assert retention.months_needed([("a", NOW), ("a", NOW), ("b", NOW)]) == {
        ("a", Month(2026, 6)),
        ("b", Month(2026, 6)),
    }


@given(
    key=st.from_regex(r"[a-z][a-z0-9_]{0,52}", fullmatch=True),
    other=st.from_regex(r"[a-z][a-z0-9_]{0,52}", fullmatch=True),
)
def test_partition_names_fit_and_do_not_collide(key: str, other: str) -> None:
    usable = [each for each in {key, other} if not re.search(r"_\d{4}_\d{2}$", each)]
    names = [retention.class_partition(each) for each in usable]
    names += [retention.month_partition(each, Month(2026, 1)) for each in usable]
    assert len(set(names)) == len(names)
    assert all(len(name) <= 63 for name in names)


@pytest.mark.parametrize("key", ["", "A", "1a", "a-b", 'a"b', "a b", "a" * 54, "a_2026_01", "é"])
def test_keys_that_cannot_name_a_table_are_refused(key: str) -> None:
    with pytest.raises(Fault) as caught:
        retention.class_partition(key)
    assert caught.value.code == "invalid_retention_class"
