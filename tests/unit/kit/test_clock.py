"""Clocks: the machine's that never steps, the database's that every service goes by, and the test clock that replaces both."""

from datetime import UTC, datetime, timedelta

from cdp.kit.clock import DatabaseClock, SteadyClock, TestClock, fixed_instant, set_clock

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
FIVE = timedelta(minutes=5)


def test_the_clock_of_the_database_goes_on_from_its_last_reading() -> None:
    local = TestClock(NOON)
    clock = DatabaseClock(local)
    assert clock.now() == NOON
    clock.set(NOON - FIVE)
    assert clock.now() == NOON - FIVE
    local.instant += timedelta(seconds=3)
    assert clock.now() == NOON - FIVE + timedelta(seconds=3)


def test_only_a_clock_that_goes_by_the_database_is_set() -> None:
    fixed, steady, followed = TestClock(NOON), SteadyClock(), DatabaseClock(TestClock(NOON))
    for clock in (fixed, steady, followed, None):
        set_clock(clock, NOON + FIVE)
    assert fixed.now() == NOON
    assert followed.now() == NOON + FIVE


def test_only_a_test_clock_replaces_the_clock_of_the_database() -> None:
    assert fixed_instant(TestClock(NOON)) == NOON
    assert [fixed_instant(clock) for clock in (None, SteadyClock(), DatabaseClock(TestClock(NOON)))] == [None] * 3


def test_a_steady_clock_starts_with_the_machines_and_runs_on() -> None:
    before = datetime.now(UTC)
    clock = SteadyClock()
    first = clock.now()
    assert before <= first <= clock.now()
