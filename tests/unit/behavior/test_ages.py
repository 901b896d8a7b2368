"""Which of several statements about an age counts, for every pair of those who make them."""

from datetime import date, datetime, timedelta
from itertools import permutations, product
from typing import Any

import pytest

from cdp.behavior.ages import AgeAuthority, Ages, StatedAge, ages_in, stated_age, years_at
from cdp.behavior.model import EventId
from tests.support.people import NOON

YEAR = timedelta(days=365.25)
DAY = timedelta(days=1)


def stated(
    by: AgeAuthority, age: int | None = None, *, born: Any = None, at: datetime = NOON, event: int = 1
) -> StatedAge:
    found = stated_age(
        age, born, authority=by, occurred_at=at, received_at=at, event_id=EventId(event.to_bytes(16, "big"))
    )
    assert found is not None
    return found


def known(*statements: StatedAge, now: datetime = NOON + 2 * DAY) -> tuple[int | None, int | None]:
    """The age that is vouched for, and the one that only a device stated."""
    found = {(ages.vouched_years(now), ages.claimed_years(now)) for ages in map(ages_in, permutations(statements))}
    (only,) = found
    return only


class TestWhoStatesAnAge:
    @pytest.mark.parametrize(("first", "second"), list(product(AgeAuthority, repeat=2)))
    @pytest.mark.parametrize(("before", "after"), [(12, 30), (30, 12)])
    def test_of_every_pair(self, first: AgeAuthority, second: AgeAuthority, before: int, after: int) -> None:
        """Of two statements, one a day after the other."""
        found = known(stated(first, before), stated(second, after, at=NOON + DAY, event=2))
        rectified, device = AgeAuthority.RECTIFIED, AgeAuthority.DEVICE
        expected: tuple[int | None, int | None]
        if first is device and second is device:
            expected = (None, 12)
        elif rectified not in (first, second) and device in (first, second):
            expected = (12, None)
        else:
            expected = (before if first.rank > second.rank else after, None)
        assert found == expected

    def test_a_device_never_raises_what_it_stated_itself(self) -> None:
        assert known(stated(AgeAuthority.DEVICE, 12), stated(AgeAuthority.DEVICE, 40, event=2)) == (None, 12)

    def test_nobody_stated_one(self) -> None:
        assert known() == (None, None)


class TestWhatIsStated:
    def test_an_age_grows_with_its_statement(self) -> None:
        server = stated(AgeAuthority.AUTHENTICATED, 15, at=NOON - 3 * YEAR)
        assert known(server) == (18, None)

    @pytest.mark.parametrize("later", [-DAY, DAY])
    def test_a_date_of_birth_precedes_an_age_of_the_same_authority(self, later: timedelta) -> None:
        born = stated(AgeAuthority.AUTHENTICATED, born="2012-03-04")
        age = stated(AgeAuthority.AUTHENTICATED, 30, at=NOON + later, event=2)
        assert known(born, age) == (14, None)
        imported = stated(AgeAuthority.IMPORTED, born="1990-03-04")
        assert known(imported, age)[0] == 30

    def test_of_a_date_of_birth_only_the_month_is_kept(self) -> None:
        assert stated(AgeAuthority.AUTHENTICATED, born="2010-02-03T00:00:00Z").counts_from == date(2010, 2, 28)
        assert stated(AgeAuthority.AUTHENTICATED, born="2009-12-01").counts_from == date(2009, 12, 31)
        assert stated(AgeAuthority.AUTHENTICATED, born="9999-12-01").counts_from >= date(9999, 12, 30)

    @pytest.mark.parametrize("birthday", [None, "", "unknown", "2010-13-01", 5, {}, "05-17"])
    def test_what_is_not_a_date_is_not_one(self, birthday: Any) -> None:
        nothing = stated_age(
            None,
            birthday,
            authority=AgeAuthority.DEVICE,
            occurred_at=NOON,
            received_at=NOON,
            event_id=EventId(bytes(16)),
        )
        assert nothing is None

    @pytest.mark.parametrize(("age", "years"), [(-5, -1), (0, 0), (36.9, 36), (10_000, 150)])
    def test_ages_are_bounded(self, age: float, years: int) -> None:
        found = stated_age(
            age,
            None,
            authority=AgeAuthority.DEVICE,
            occurred_at=NOON,
            received_at=NOON,
            event_id=EventId(bytes(16)),
        )
        assert found is not None
        assert years_at(found.counts_from, NOON) == years

    def test_a_person_last_of_month_a_leap_day(self) -> None:
        at = datetime(2028, 2, 29, 12, tzinfo=NOON.tzinfo)
        server = stated(AgeAuthority.AUTHENTICATED, 15, at=at)
        assert years_at(server.counts_from, at + timedelta(days=365)) == 15
        assert years_at(server.counts_from, at + timedelta(days=366)) == 16


def test_joining_is_the_same_in_every_order_and_grouping() -> None:
    server, device = stated(AgeAuthority.AUTHENTICATED, 30), stated(AgeAuthority.DEVICE, 12, event=2)
    one, other = Ages(vouched=server), Ages(claimed=device)
    assert one.joined(other) == other.joined(one) == ages_in([server, device])
    assert one.joined(one) == one
