"""The people and calls of the demonstration: the same in every run, and real where they claim to be."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from cdp.demo.calls import Call, joining, sharing, shopping
from cdp.demo.orders import COUNTRIES, LAST_ORDER_AT, LONDON, Calendar, ending_last_week, read_orders
from cdp.demo.people import DemoPerson, followed_person, invent, is_lapsing, tablet_users
from cdp.flows.imports.mapping import load_mapping
from tests.support.policies import ROOT

ORDERS = read_orders()
PEOPLE = invent(ORDERS)
NOW = datetime(2011, 12, 12, 4)


def calls(calendar: Calendar | None = None) -> list[Call]:
    calendar = calendar or Calendar()
    return [*joining(PEOPLE, calendar), *shopping(PEOPLE, calendar), *sharing(PEOPLE, calendar)]


def test_the_orders_are_all_there() -> None:
    assert (len(ORDERS), len(PEOPLE)) == (18_532, 4_338)
    assert round(sum(order.amount for order in ORDERS), 2) == 8_911_407.90
    assert max(order.local_at for order in ORDERS) == LAST_ORDER_AT


def test_the_mapping_of_the_example_means_the_same_countries() -> None:
    rule = load_mapping(ROOT / "examples" / "online_retail" / "mapping.yaml").properties["country"]
    assert rule.map == COUNTRIES


def test_what_is_sent_is_the_same_in_every_run_and_every_message_has_an_id_of_its_own() -> None:
    sent = calls()
    assert sent == calls()
    ids = Counter((call.sender, call.message_id) for call in sent)
    assert max(ids.values()) == 1
    orders = [call for call in sent if call.name == "Order Completed"]
    assert len(orders) == 18_532
    assert {call.sender for call in orders} == {"shop"}
    assert round(sum(call.properties["revenue"] for call in orders), 2) == 8_911_407.90


def test_consent_is_given_withheld_and_taken_back() -> None:
    silent = [each for each in PEOPLE if not each.choices]
    refusing = [each for each in PEOPLE if each.choices and not each.choices["email_marketing"]]
    leaving = [each for each in PEOPLE if each.withdrew_at is not None]
    willing = [each for each in PEOPLE if each.wants_email]
    assert len(silent) + len(refusing) + len(leaving) + len(willing) == 4_338
    assert min(len(silent), len(refusing), len(leaving), len(willing)) >= 100


def test_nobody_who_did_not_answer_is_known_to_the_browser_or_logs_in() -> None:
    silent = {each.buyer for each in PEOPLE if not each.choices}
    for call in calls():
        if call.about in silent:
            assert "consent" not in call.context
            assert call.user_id is None or call.anonymous_id is None


def test_everybody_joins_before_the_first_order_and_answers_before_the_first_visit_counts() -> None:
    calendar = Calendar()
    joined = {call.about: call.at for call in joining(PEOPLE, calendar) if call.sender == "shop"}
    asked = {call.about: call.at for call in joining(PEOPLE, calendar) if call.sender == "web"}
    for call in shopping(PEOPLE, calendar):
        if call.sender == "shop" and call.about in joined and call.name == "Order Completed":
            assert asked[call.about] < joined[call.about] < call.at


def test_two_people_share_a_tablet() -> None:
    one, other = tablet_users(PEOPLE)
    found = list(sharing(PEOPLE, Calendar()))
    assert {call.user_id for call in found} == {one.user_id, other.user_id}
    assert len({call.anonymous_id for call in found}) == 1


def test_the_one_who_is_followed_is_lapsing_and_agreed() -> None:
    person: DemoPerson = followed_person(PEOPLE, NOW)
    assert is_lapsing(person, NOW)
    assert person.wants_email
    assert person not in tablet_users(PEOPLE)


@pytest.mark.parametrize("day", range(1, 29))
def test_dates_move_by_whole_weeks_so_that_the_last_order_is_last_weeks(day: int) -> None:
    now = datetime(2027, 3, day, 12, tzinfo=UTC)
    last = ending_last_week(now).at(LAST_ORDER_AT).astimezone(LONDON)
    monday = now.astimezone(LONDON).date() - timedelta(days=now.weekday())
    assert monday - timedelta(days=7) <= last.date() < monday
    assert (last.weekday(), last.hour, last.minute) == (4, 12, 50)


def test_in_the_week_after_the_last_order_dates_do_not_move() -> None:
    assert ending_last_week(datetime(2011, 12, 12, 4, tzinfo=UTC)).weeks == 0
