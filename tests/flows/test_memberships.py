"""Memberships follow events, traits, consents, merges, unmerges and erasures; each change is processed once."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from cdp.accounting.model import State
from cdp.flows.consent.acts import ConsentStatement, record
from cdp.flows.context import Context
from cdp.flows.identity.unmerge import unmerge
from cdp.flows.ingest.batch import Ingest
from cdp.flows.operations.startup import open_context
from cdp.flows.segments import definitions, memberships, reading
from cdp.identity.model import Identifier
from cdp.kit.db import Database, Transaction
from cdp.kit.errors import Fault
from cdp.query.postgres.compile import CompiledSegment
from cdp.segments.model import Draft, SegmentKey
from cdp.segments.store import evaluation as evaluation_store
from cdp.segments.store import marks as mark_store
from tests.support.messages import identify, track
from tests.support.pipeline import Pipeline
from tests.support.policies import permit_all
from tests.support.requests import RequestPipeline, open_request_pipeline

pytestmark = pytest.mark.postgres

PURPOSE = "analytics"
ORDER, VIEW = "Order Completed", "Product Viewed"


@pytest.fixture
def rights(database: Database, tmp_path: Path) -> RequestPipeline:
    return open_request_pipeline(database, permit_all(), tmp_path)


def define(context: Context, key: str, where: str, purpose: str = PURPOSE) -> None:
    definitions.define(context, Draft(SegmentKey(key), key, purpose, "marketer"), where, is_new=True, actor="marketer")


def order(user: str, **fields: Any) -> dict[str, Any]:
    return track(ORDER, userId=user, properties={"revenue": 10}, **fields)


def view(user: str) -> dict[str, Any]:
    return track(VIEW, userId=user)


def members(pipeline: Pipeline, key: str = "buyers") -> int:
    return int(pipeline.one(f"SELECT count(*) FROM segments.membership WHERE key = '{key}'"))


def changes(pipeline: Pipeline, key: str = "buyers") -> list[tuple[int, str]]:
    with pipeline.context.database.transaction(read_only=True) as tx:
        return tx.execute(
            "SELECT profile_id, change FROM segments.membership_change WHERE key = %(key)s ORDER BY change_id",
            {"key": key},
        )


def marks(pipeline: Pipeline) -> list[str | None]:
    with pipeline.context.database.transaction(read_only=True) as tx:
        return [row[0] for row in tx.execute("SELECT event FROM segments.stale ORDER BY event NULLS FIRST")]


def follow(pipeline: Pipeline) -> int:
    return memberships.refresh_stale(pipeline.context)


def test_an_article_lets_in_whoever_buys_it(rights: RequestPipeline) -> None:
    pipeline = rights.pipeline
    define(pipeline.context, "buyers", f'did("{ORDER}" where any products where (sku = "MUG-1" and quantity >= 2))')

    def buy(user: str, *products: dict[str, Any]) -> None:
        pipeline.send(track(ORDER, userId=user, properties={"products": list(products)}))
        follow(pipeline)

    buy("ada", {"sku": "MUG-1", "quantity": 1}, {"sku": "HAT-2", "quantity": 2})
    assert members(pipeline) == 0
    buy("ada", {"sku": "HAT-2", "quantity": 1}, {"sku": "MUG-1", "quantity": 3})
    buy("bob", {"sku": "HAT-2", "quantity": 5})
    assert members(pipeline) == 1


def test_an_event_lets_in_whom_it_concerns(rights: RequestPipeline) -> None:
    pipeline = rights.pipeline
    define(pipeline.context, "buyers", f'count("{ORDER}") >= 2')
    pipeline.send(order("ada"), order("bob"))
    follow(pipeline)
    assert members(pipeline) == 0
    pipeline.send(order("ada"))
    assert (marks(pipeline), follow(pipeline)) == ([ORDER], 1)
    assert (members(pipeline), marks(pipeline)) == (1, [])
    assert [change for _, change in changes(pipeline)] == ["entered"]
    assert follow(pipeline) == 0


def test_marks_name_what_came_and_only_segments_that_ask_for_it_are_looked_at(rights: RequestPipeline) -> None:
    pipeline = rights.pipeline
    define(pipeline.context, "buyers", f'did("{ORDER}")')
    define(pipeline.context, "no_viewers", f'not did("{VIEW}")')
    pipeline.send(order("ada"))
    follow(pipeline)
    assert (members(pipeline), members(pipeline, "no_viewers")) == (1, 1)
    with pipeline.context.database.transaction() as tx:
        tx.execute("DELETE FROM behavior.event")
    pipeline.send(view("ada"))
    assert marks(pipeline) == [VIEW]
    follow(pipeline)
    assert (members(pipeline), members(pipeline, "no_viewers")) == (1, 0)
    memberships.refresh(pipeline.context, "buyers")
    assert members(pipeline) == 0


def test_without_a_segment_nobody_is_marked(rights: RequestPipeline) -> None:
    rights.pipeline.send(order("ada"))
    assert marks(rights.pipeline) == []


def test_a_stated_trait_and_a_segment_by_another_follow_at_once(rights: RequestPipeline) -> None:
    pipeline = rights.pipeline
    define(pipeline.context, "old", "trait.age >= 40")
    define(pipeline.context, "buyers", f'in segment "old" and did("{ORDER}")')
    pipeline.send(order("ada"))
    follow(pipeline)
    assert members(pipeline) == 0
    pipeline.send(identify(userId="ada", traits={"age": 45}))
    follow(pipeline)
    assert (members(pipeline, "old"), members(pipeline)) == (1, 1)
    pipeline.clock.instant += timedelta(minutes=1)
    pipeline.send(identify(userId="ada", traits={"age": 39}))
    follow(pipeline)
    assert [change for _, change in changes(pipeline)] == ["entered", "exited"]


def test_consents_are_followed_at_once(rights: RequestPipeline) -> None:
    """What was sold before the new grant does not bring the member back."""
    pipeline = rights.pipeline
    define(pipeline.context, "buyers", f'did("{ORDER}")', "email_marketing")

    def act(kind: str) -> None:
        pipeline.clock.instant += timedelta(minutes=1)
        statement = ConsentStatement(("user_id", "ada"), "email_marketing", kind, "authenticated")
        record(rights.context, statement)
        follow(pipeline)

    act("grant")
    pipeline.send(order("ada"))
    follow(pipeline)
    act("withdraw")
    assert [change for _, change in changes(pipeline)] == ["entered", "exited"]
    act("grant")
    assert members(pipeline) == 0
    pipeline.clock.instant += timedelta(minutes=1)
    pipeline.send(order("ada"))
    follow(pipeline)
    assert [change for _, change in changes(pipeline)] == ["entered", "exited", "entered"]


def test_a_merge_moves_memberships_and_an_unmerge_moves_them_back(rights: RequestPipeline) -> None:
    pipeline = rights.pipeline
    define(pipeline.context, "buyers", f'count("{ORDER}") >= 2')
    pipeline.send(order("ada"))
    pipeline.send(track(ORDER, anonymousId="phone", properties={"revenue": 1}))
    follow(pipeline)
    assert members(pipeline) == 0
    pipeline.send(identify(userId="ada", anonymousId="phone"))
    follow(pipeline)
    assert members(pipeline) == 1
    unmerge(pipeline.context, Identifier("user_id", "ada"), Identifier("anonymous_id", "phone"), dry_run=False)
    follow(pipeline)
    assert members(pipeline) == 0


def test_an_erasure_leaves_no_mark_and_no_membership(rights: RequestPipeline) -> None:
    pipeline = rights.pipeline
    define(pipeline.context, "buyers", f'did("{ORDER}")')
    pipeline.send(order("ada"))
    assert marks(pipeline) == [None]
    rights.erase(("user_id", "ada"))
    assert (marks(pipeline), follow(pipeline), members(pipeline), changes(pipeline)) == ([], 0, 0, [])


def test_an_import_that_touches_very_many_is_left_to_the_look_at_everybody(rights: RequestPipeline) -> None:
    pipeline = rights.pipeline
    define(pipeline.context, "buyers", f'did("{ORDER}")')
    pipeline.send(order("ada"))
    follow(pipeline)
    with pipeline.context.database.transaction() as tx:
        mark_store.mark(tx, ((number, None) for number in range(mark_store.MARKS_MAX + 1)))
    assert marks(pipeline) == []


def test_a_segment_that_cannot_be_evaluated_holds_up_no_other(rights: RequestPipeline) -> None:
    pipeline = rights.pipeline
    define(pipeline.context, "buyers", f'did("{ORDER}")')
    define(pipeline.context, "other", f'did("{ORDER}")')
    with pipeline.context.database.transaction() as tx:
        tx.execute(
            "UPDATE segments.segment_version SET where_json = jsonb_set(where_json, '{within}', %(wrong)s::jsonb) WHERE key = 'other'",
            {"wrong": '{"days": 99999}'},
        )
    pipeline.send(order("ada"))
    assert follow(pipeline) == 1
    assert members(pipeline) == 1


# --- several at once, and killed ones ---------------------------------------------------------------


_FOLLOW = """
import sys
from pathlib import Path
from cdp.flows.operations.startup import open_context
from cdp.flows.segments import memberships
from cdp.kit.clock import TestClock
from cdp.kit.db import Database
from tests.support.people import NOON
from tests.support.policies import permit_all

context = open_context(Database(sys.argv[1]), permit_all(), TestClock(NOON), home=Path(sys.argv[2]))
print("open", flush=True)
while True:
    memberships.refresh_stale(context, marks_max=3)
"""


def crowd(seed: int, count: int) -> list[dict[str, Any]]:
    """People who buy, look, state their age, and turn out to be the same."""
    random = Random(seed)
    bodies: list[dict[str, Any]] = []
    for _ in range(count):
        user, phone = f"u{random.randrange(30)}", f"p{random.randrange(30)}"
        bodies.append(
            random.choice(
                [
                    order(user),
                    view(user),
                    track(ORDER, anonymousId=phone, properties={"revenue": 5}),
                    identify(userId=user, traits={"age": random.randrange(20, 60)}),
                    identify(userId=user, anonymousId=phone),
                ]
            )
        )
    return bodies


TEXTS = {
    "buyers": f'count("{ORDER}") >= 2',
    "old": "trait.age >= 40",
    "lookers": f'did("{VIEW}") and not did("{ORDER}")',
    "both": 'in segment "old" and in segment "buyers"',
}


def agree(pipeline: Pipeline) -> None:
    """What was followed is what a look at everybody finds, and each change happened to somebody for whom it was one."""
    for key in TEXTS:
        found = memberships.refresh(pipeline.context, key)
        assert (found.entered, found.exited) == (0, 0), key
        state: dict[int, str] = {}
        for profile_id, change in changes(pipeline, key):
            assert state.get(profile_id, "exited") != change, key
            state[profile_id] = change
        assert members(pipeline, key) == sum(change == "entered" for change in state.values())


def test_two_services_follow_the_same_marks_once(rights: RequestPipeline, database_url: str) -> None:
    pipeline = rights.pipeline
    for key, where in TEXTS.items():
        define(pipeline.context, key, where)
    is_over = False

    def serve(seed: int) -> None:
        database = Database(database_url)
        context = open_context(database, pipeline.context.policy, pipeline.clock, home=rights.home)
        ingest = Ingest(database, context.vault, context.policy, clock=pipeline.clock, replay=context.replay)
        bodies = crowd(seed, 120)
        for start in range(0, len(bodies), 10):
            ingest.process([pipeline.message(body) for body in bodies[start : start + 10]])
            memberships.refresh_stale(context, marks_max=7)
        database.close()

    def look() -> None:
        while not is_over:
            for key in TEXTS:
                memberships.refresh(pipeline.context, key)

    with ThreadPoolExecutor(3) as threads:
        looking = threads.submit(look)
        for served in [threads.submit(serve, seed) for seed in (1, 2)]:
            served.result()
        is_over = True
        looking.result()
    while follow(pipeline):
        pass
    assert min(members(pipeline, key) for key in TEXTS) > 0
    agree(pipeline)


def test_a_killed_worker_loses_nothing_and_holds_up_nobody(rights: RequestPipeline, database_url: str) -> None:
    pipeline = rights.pipeline
    for key, where in TEXTS.items():
        define(pipeline.context, key, where)
    for round_ in range(3):
        child = subprocess.Popen(
            [sys.executable, "-c", _FOLLOW, database_url, str(rights.home)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONPATH": "."},
        )
        assert child.stdout is not None
        child.stdout.readline()
        for body in crowd(round_, 12):
            pipeline.send(body)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        pipeline.send(*crowd(round_ + 10, 40))
    while follow(pipeline) or marks(pipeline):
        pass
    agree(pipeline)


def test_a_question_that_takes_too_long_is_given_up_and_leaves_nothing(
    rights: RequestPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connections that evaluate are those that messages come in by; nobody may take them for as long as they like."""
    rights.pipeline.send(order("ada"), order("bob"))
    context = rights.pipeline.context
    steps = ", ".join([f'"{ORDER}"'] * 8)
    with monkeypatch.context() as patch:
        patch.setattr("cdp.segments.store.evaluation._TIME_MAX", "1ms")
        for ask in (
            lambda: define(context, "slow", f"sequence({steps})"),
            lambda: reading.preview(context, f"sequence({steps})", PURPOSE, actor="marketer"),
        ):
            with pytest.raises(Fault) as caught:
                ask()
            assert (caught.value.code, caught.value.status) == ("segment_too_slow", 422)
    with pytest.raises(Fault, match="unknown_segment"):
        definitions.find(context, "slow")
    define(context, "slow", f"sequence({steps})")
    assert definitions.find(context, "slow").refreshed_at is not None


def test_a_definition_is_tried_out_before_anybody_waits_for_it(
    rights: RequestPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a marketer's question is evaluated messages go on being stored."""
    rights.pipeline.send(order("ada"))
    tried = evaluation_store.dry_run

    def meanwhile(tx: Transaction, compiled: CompiledSegment) -> None:
        assert rights.pipeline.send(order("bob"))[0].state is State.STORED
        tried(tx, compiled)

    monkeypatch.setattr("cdp.segments.store.evaluation.dry_run", meanwhile)
    define(rights.pipeline.context, "buyers", f'did("{ORDER}")')
    assert members(rights.pipeline) == 2
