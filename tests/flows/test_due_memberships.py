"""Memberships that time alone changes: they change at their instant, without an evaluation of all profiles."""

from datetime import timedelta
from pathlib import Path

import pytest

from cdp.flows.segments import definitions, evaluation, memberships, schedule
from cdp.kit.db import Database
from cdp.segments.model import Draft, SegmentKey
from cdp.segments.store import due as due_store
from cdp.segments.store import marks as mark_store
from tests.support.messages import track
from tests.support.pipeline import Pipeline
from tests.support.policies import permit_all
from tests.support.requests import RequestPipeline, open_request_pipeline

pytestmark = pytest.mark.postgres

PURPOSE = "analytics"
ORDER, VIEW = "Order Completed", "Product Viewed"
MINUTE = timedelta(minutes=1)


@pytest.fixture
def rights(database: Database, tmp_path: Path) -> RequestPipeline:
    return open_request_pipeline(database, permit_all(), tmp_path)


def define(pipeline: Pipeline, key: str, where: str, purpose: str = PURPOSE) -> None:
    draft = Draft(SegmentKey(key), key, purpose, "marketer")
    definitions.define(pipeline.context, draft, where, is_new=True, actor="marketer")


def pass_time(pipeline: Pipeline, length: timedelta) -> int:
    """Move the clock and process what is due; the number of instants processed."""
    pipeline.clock.instant += length
    return schedule.refresh_due(pipeline.context)


def send(pipeline: Pipeline, *names: str, user: str = "ada") -> None:
    pipeline.send(*(track(name, userId=user, properties={"revenue": 10}) for name in names))
    memberships.refresh_stale(pipeline.context)


def members(pipeline: Pipeline, key: str) -> int:
    return int(pipeline.one(f"SELECT count(*) FROM segments.membership WHERE key = '{key}'"))


def instants(pipeline: Pipeline) -> int:
    return int(pipeline.one("SELECT count(*) FROM segments.due"))


def test_a_window_ends_at_its_instant(rights: RequestPipeline) -> None:
    pipeline = rights.pipeline
    define(pipeline, "recent", f'did("{ORDER}", within 1 minute)')
    send(pipeline, ORDER)
    assert (members(pipeline, "recent"), instants(pipeline)) == (1, 1)
    assert pass_time(pipeline, MINUTE - timedelta(microseconds=1)) == 0
    assert members(pipeline, "recent") == 1
    assert pass_time(pipeline, timedelta(microseconds=1)) == 1
    assert members(pipeline, "recent") == 0
    since = "SELECT max(changed_at) FROM segments.membership_change WHERE change = 'exited'"
    assert pipeline.one(since) == pipeline.clock.now()


def test_events_leave_one_after_another(rights: RequestPipeline) -> None:
    pipeline = rights.pipeline
    define(pipeline, "twice", f'count("{ORDER}", within 10 minutes) >= 2')
    for _ in range(3):
        send(pipeline, ORDER)
        pipeline.clock.instant += MINUTE
    assert members(pipeline, "twice") == 1
    pass_time(pipeline, timedelta(minutes=7))
    assert members(pipeline, "twice") == 1
    pass_time(pipeline, MINUTE)
    assert (members(pipeline, "twice"), instants(pipeline)) == (0, 1)


def test_time_lets_in_too(rights: RequestPipeline) -> None:
    pipeline = rights.pipeline
    define(pipeline, "lapsed", f'not did("{ORDER}", within 5 minutes)')
    define(pipeline, "abandoned", f'sequence("{VIEW}", not "{ORDER}" within 30 minutes)')
    define(pipeline, "quiet", f'days_since_last("{ORDER}") >= 1')
    send(pipeline, ORDER, VIEW)
    assert [members(pipeline, key) for key in ("lapsed", "abandoned", "quiet")] == [0, 0, 0]
    pass_time(pipeline, 5 * MINUTE)
    assert [members(pipeline, key) for key in ("lapsed", "abandoned", "quiet")] == [1, 0, 0]
    pass_time(pipeline, 25 * MINUTE)
    assert [members(pipeline, key) for key in ("lapsed", "abandoned", "quiet")] == [1, 1, 0]
    schedule.plan(pipeline.context, "quiet")
    pass_time(pipeline, timedelta(hours=23, minutes=30))
    assert [members(pipeline, key) for key in ("lapsed", "abandoned", "quiet")] == [1, 1, 1]


def test_a_segment_is_planned_for_people_who_are_there_already(rights: RequestPipeline) -> None:
    pipeline = rights.pipeline
    send(pipeline, ORDER)
    define(pipeline, "recent", f'did("{ORDER}", within 1 hour)')
    assert (members(pipeline, "recent"), instants(pipeline)) == (1, 1)
    assert pass_time(pipeline, timedelta(hours=1)) == 1
    assert members(pipeline, "recent") == 0


def test_instants_beyond_the_horizon_are_planned_later(rights: RequestPipeline) -> None:
    pipeline = rights.pipeline
    define(pipeline, "recent", f'did("{ORDER}", within 3 days)')
    send(pipeline, ORDER)
    assert instants(pipeline) == 0
    for _ in range(5):
        pipeline.clock.instant += timedelta(hours=13)
        schedule.plan_unplanned(pipeline.context)
    assert instants(pipeline) == 1
    pass_time(pipeline, timedelta(hours=7))
    assert members(pipeline, "recent") == 0


def test_a_referring_segment_follows_the_time_of_the_other(rights: RequestPipeline) -> None:
    pipeline = rights.pipeline
    define(pipeline, "recent", f'did("{ORDER}", within 1 minute)')
    define(pipeline, "browsing", f'in segment "recent" and did("{VIEW}")')
    send(pipeline, ORDER, VIEW)
    assert members(pipeline, "browsing") == 1
    pass_time(pipeline, MINUTE)
    assert members(pipeline, "browsing") == 0


def test_more_people_than_are_marked_are_planned(rights: RequestPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = rights.pipeline
    define(pipeline, "recent", f'did("{ORDER}", within 1 hour)')
    monkeypatch.setattr(mark_store, "MARKS_MAX", 1)
    send(pipeline, ORDER)
    pipeline.send(*(track(ORDER, userId=f"user-{number}") for number in range(3)))
    assert instants(pipeline) == 1
    schedule.plan_unplanned(pipeline.context)
    assert instants(pipeline) == 4


def test_a_change_during_a_plan_is_planned_again(rights: RequestPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """What asks for a plan while one is running has not been read by it."""
    pipeline = rights.pipeline
    define(pipeline, "recent", f'did("{ORDER}", within 1 hour)')
    whole = evaluation.instants_of

    def interrupted(*given: object, **named: object) -> object:
        found = whole(*given, **named)  # type: ignore[arg-type]
        monkeypatch.setattr(mark_store, "MARKS_MAX", 0)
        pipeline.send(track(ORDER, userId="ada"))
        monkeypatch.setattr("cdp.flows.segments.schedule.instants_of", whole)
        return found

    monkeypatch.setattr("cdp.flows.segments.schedule.instants_of", interrupted)
    schedule.plan(pipeline.context, "recent")
    assert instants(pipeline) == 0
    schedule.plan_unplanned(pipeline.context)
    assert instants(pipeline) == 1


def test_a_segment_that_fails_delays_no_other(rights: RequestPipeline) -> None:
    pipeline = rights.pipeline
    define(pipeline, "recent", f'did("{ORDER}", within 1 minute)')
    define(pipeline, "viewed", f'did("{VIEW}", within 1 minute)')
    send(pipeline, ORDER, VIEW)
    schedule.plan_unplanned(pipeline.context)
    with pipeline.context.database.transaction() as tx:
        tx.execute("UPDATE segments.segment_version SET where_json = '{}' WHERE key = 'viewed'")
    pass_time(pipeline, MINUTE)
    assert (members(pipeline, "recent"), members(pipeline, "viewed")) == (0, 1)
    assert pass_time(pipeline, MINUTE) == 0
    unplanned = "SELECT string_agg(key, ' ') FROM segments.segment WHERE planned_until IS NULL"
    assert pipeline.one(unplanned) == "viewed", "its instants are gone, so it must be planned again"


def test_a_segment_that_cannot_be_planned_is_not_tried_all_the_time(rights: RequestPipeline) -> None:
    """Only another definition or policy can help; both ask for a plan."""
    pipeline = rights.pipeline
    define(pipeline, "recent", f'did("{ORDER}", within 1 minute)')
    define(pipeline, "viewed", f'did("{VIEW}", within 1 minute)')
    with pipeline.context.database.transaction() as tx:
        tx.execute("UPDATE segments.segment_version SET where_json = '{}' WHERE key = 'recent'")
        tx.execute("UPDATE segments.segment SET planned_until = NULL")
    schedule.plan_unplanned(pipeline.context)
    unplanned = "SELECT count(*) FROM segments.segment WHERE planned_until IS NULL OR planned_until = '-infinity'"
    assert pipeline.one(unplanned) == 0
    with pipeline.context.database.transaction() as tx:
        due_store.request_plan(tx)
    assert pipeline.one(unplanned) == 2
