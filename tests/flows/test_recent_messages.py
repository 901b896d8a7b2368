"""What became of the latest messages of a source: enough to find a fault of a sender, and nothing about anybody."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from cdp.flows.operations import accounting, maintenance
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from cdp.wire.message import Invalid
from tests.support.people import SHOP, WEB
from tests.support.pipeline import Pipeline, open_pipeline
from tests.support.policies import permit_all

pytestmark = pytest.mark.postgres


@pytest.fixture
def pipeline(database: Database, tmp_path: Path) -> Pipeline:
    found = open_pipeline(database, permit_all(), tmp_path)
    found.register()
    return found


def recent(pipeline: Pipeline, source: str = SHOP.name) -> list[tuple[str, str, str, str, tuple[str, ...]]]:
    found = accounting.recent_messages(pipeline.context, source, actor="admin")
    return [(one.type, one.event, one.state.value, one.reason, one.notices) for one in found]


def test_newest_first_with_state_reason_and_what_was_odd(pipeline: Pipeline) -> None:
    order = {"type": "track", "event": "Order Completed", "userId": "ada", "properties": {"revenue": "5,00"}}
    pipeline.send({**order, "messageId": "m1"}, source=SHOP)
    pipeline.send({**order, "messageId": "m1", "properties": {"revenue": 5}}, source=SHOP)
    pipeline.send(
        {"type": "track", "event": "Ada's own", "userId": "ada", "properties": {"shoe size": 38}}, source=SHOP
    )
    pipeline.ingest.process([Invalid(SHOP, "event_missing")])
    assert recent(pipeline) == [
        ("other", "other", "invalid", "event_missing", ()),
        ("track", "other", "stored", "", ("unknown_property", "unknown_event")),
        ("track", "Order Completed", "duplicate", "", ("duplicate_other_body",)),
        ("track", "Order Completed", "stored", "", ("mistyped revenue (number)",)),
    ]
    assert recent(pipeline, WEB.name) == []


def test_no_id_name_or_value_of_anybody_is_kept(pipeline: Pipeline) -> None:
    pipeline.send(
        {"type": "track", "event": "Ada Lovelace", "userId": "ada", "properties": {"Ada": "ada@example.com"}},
        source=SHOP,
    )
    kept = pipeline.one("SELECT json_agg(m)::text FROM accounting.recent_message AS m")
    assert "ada" not in json.dumps(kept).casefold()


def test_of_one_transaction_the_last_twenty_and_in_all_a_hundred_of_a_day(pipeline: Pipeline) -> None:
    for batch in range(6):
        calls = [
            {"type": "track", "event": "Order Completed", "userId": f"u{n}", "messageId": f"{batch}-{n}"}
            for n in range(30)
        ]
        pipeline.send(*calls, source=SHOP)
        assert pipeline.one("SELECT count(*)::int FROM accounting.recent_message") == 20 * (batch + 1)
    maintenance.prune_recent_messages(pipeline.context, pipeline.clock.now())
    assert len(recent(pipeline)) == pipeline.one("SELECT count(*)::int FROM accounting.recent_message") == 100
    maintenance.prune_recent_messages(pipeline.context, pipeline.clock.now() + timedelta(days=1, seconds=1))
    assert recent(pipeline) == []


def test_an_unknown_source_is_said_and_the_read_is_logged(pipeline: Pipeline) -> None:
    with pytest.raises(Fault, match="source"):
        recent(pipeline, "nobody")
    logged = "SELECT count(*)::int FROM audit.fact WHERE body::text LIKE '%accounting%'"
    before = pipeline.one(logged)
    recent(pipeline)
    assert pipeline.one(logged) == before + 1
