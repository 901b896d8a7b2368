"""The rule of docs/reference/ingest.md, "Times"."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp.wire.timestamps import (
    EARLIEST,
    LATEST,
    happened_at,
    is_from_the_future,
    is_own_clock,
    occurred_at,
    read_instant,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
instants = st.datetimes(timezones=st.just(UTC))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2024-05-01T12:00:00.123Z", at("2024-05-01T12:00:00.123")),
        ("2024-05-01T12:00:00.123456+02:00", at("2024-05-01T10:00:00.123456")),
        ("2024-05-01T12:00:00", at("2024-05-01T12:00:00")),
        ("2024-05-01", at("2024-05-01T00:00:00")),
        ("2024-05-01 12:00:00.123456789Z", at("2024-05-01T12:00:00.123456")),
        ("0001-01-01T00:00:00+14:00", EARLIEST),
        ("9999-12-31T23:59:59-14:00", LATEST),
    ],
)
def test_instants_are_read_as_utc(text: str, instant: datetime) -> None:
    assert read_instant(text) == instant


@pytest.mark.parametrize(
    "value", [None, 5, 1.5, True, [], {}, "", "soon", "2024-13-01", "+010000-01-01T00:00:00Z", "\x00"]
)
def test_anything_else_is_no_instant(value: object) -> None:
    assert read_instant(value) is None


@pytest.mark.parametrize(
    ("body", "sent_at", "expected"),
    [
        ({}, None, NOW),
        ({}, at("2026-03-01T11:00:00"), NOW),
        ({"timestamp": ""}, None, NOW),
        ({"timestamp": "2026-02-01T00:00:00Z"}, None, at("2026-02-01T00:00:00")),
        # The sender's clock is an hour slow: both its times are.
        ({"timestamp": "2026-03-01T10:59:00Z"}, at("2026-03-01T11:00:00"), at("2026-03-01T11:59:00")),
        ({"originalTimestamp": "2026-03-01T10:59:00Z"}, at("2026-03-01T11:00:00"), at("2026-03-01T11:59:00")),
        # The sender's clock stands at 1970.
        ({"timestamp": "1970-01-01T00:00:00Z"}, at("1970-01-01T00:00:05"), NOW - timedelta(seconds=5)),
        # An event of 1970, stated by a right clock.
        ({"timestamp": "1970-01-01T00:00:00Z"}, NOW, at("1970-01-01T00:00:00")),
        # The future becomes now, also the far one.
        ({"timestamp": "2270-01-01T00:00:00Z"}, None, NOW),
        ({"timestamp": "2270-01-01T00:00:00Z"}, NOW, NOW),
        ({"timestamp": "9999-12-31T23:59:59Z"}, EARLIEST, NOW),
        # Too far back for a calendar.
        ({"timestamp": "0001-01-01T00:00:00Z"}, LATEST, EARLIEST),
        # Both given: `timestamp` is a statement, not a reading of the sender's clock.
        (
            {"timestamp": "2024-05-01T12:00:00Z", "originalTimestamp": "2026-03-01T10:59:00Z"},
            at("2026-03-01T11:00:00"),
            at("2024-05-01T12:00:00"),
        ),
        ({"timestamp": "2270-01-01", "originalTimestamp": "2026-03-01T10:59:00Z"}, None, NOW),
        ({"timestamp": "soon", "originalTimestamp": "2026-03-01T10:59:00Z"}, None, None),
        ({"timestamp": "soon"}, None, None),
    ],
)
def test_when_a_message_happened(body: dict[str, Any], sent_at: datetime | None, expected: datetime | None) -> None:
    assert happened_at(body, sent_at, NOW) == expected


@pytest.mark.parametrize(
    ("body", "is_future"),
    [
        ({}, False),
        ({"timestamp": "soon"}, False),
        ({"timestamp": "2026-03-01T12:00:00Z"}, False),
        ({"timestamp": "2026-03-01T12:00:01Z"}, True),
        ({"originalTimestamp": "2270-01-01"}, True),
        ({"timestamp": "2026-03-01T12:00:01Z", "sentAt": "2026-03-01T12:00:02Z"}, False),
        ({"timestamp": "2026-03-01T11:00:01Z", "sentAt": "2026-03-01T11:00:00Z"}, True),
        ({"timestamp": "2026-03-01T11:00:01Z", "originalTimestamp": "x", "sentAt": "2026-03-01T11:00:00Z"}, False),
    ],
)
def test_a_time_that_was_clamped_is_told(body: dict[str, Any], is_future: bool) -> None:
    assert is_from_the_future(body, NOW) is is_future
    assert (happened_at(body, read_instant(body.get("sentAt")), NOW) == NOW) or not is_future


@given(instants, st.none() | instants, instants)
def test_nothing_happens_after_it_was_received(own: datetime, sent_at: datetime | None, received_at: datetime) -> None:
    assert EARLIEST <= occurred_at(own, sent_at, received_at) <= received_at


@given(
    st.timedeltas(timedelta(0), timedelta(days=300)),
    st.timedeltas(timedelta(days=-9_000), timedelta(days=9_000)),
)
def test_a_wrong_clock_changes_nothing(age: timedelta, error: timedelta) -> None:
    """Whatever the error of the sender's clock, an event of a certain age at sending has that age."""
    assert occurred_at(NOW - age + error, NOW + error, NOW) == NOW - age


@pytest.mark.parametrize(
    ("body", "is_own"),
    [
        ({}, False),
        ({"sentAt": "2020-01-01T00:00:05Z"}, False),
        ({"timestamp": "2020-01-01T00:00:00Z"}, True),
        ({"originalTimestamp": "2020-01-01T00:00:00Z"}, True),
        ({"timestamp": "2020-01-01T00:00:00Z", "sentAt": "never"}, True),
        ({"timestamp": "2020-01-01T00:00:00Z", "sentAt": "2020-01-01T00:00:05Z"}, False),
        (
            {
                "timestamp": "2020-01-01T00:00:00Z",
                "originalTimestamp": "2020-01-01T00:00:00Z",
                "sentAt": "2020-01-01T00:00:05Z",
            },
            True,
        ),
    ],
)
def test_a_time_without_the_time_of_sending_is_that_of_an_unknown_clock(body: dict[str, str], is_own: bool) -> None:
    assert is_own_clock(body) == is_own
