"""Legal holds and severed events are read with a reason, and the log knows."""

import json
from pathlib import Path

import pytest

from cdp.flows.operations import kept
from cdp.flows.rights import requests
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from tests.support.messages import order
from tests.support.people import ADA
from tests.support.policies import permit_all
from tests.support.requests import RequestPipeline, open_request_pipeline

pytestmark = pytest.mark.postgres


@pytest.fixture
def rights(database: Database, tmp_path: Path) -> RequestPipeline:
    """A store from which a customer with an order was erased; tax law keeps the order."""
    rights = open_request_pipeline(database, permit_all(), tmp_path)
    rights.pipeline.send(ADA, order(userId="ada", properties={"order_id": "o-1", "revenue": 12.5}))
    rights.erase(("user_id", "ada"))
    return rights


def entries(rights: RequestPipeline, read: str) -> list[dict[str, object]]:
    with rights.context.database.transaction(read_only=True) as tx:
        rows = tx.execute("SELECT body FROM audit.fact WHERE body ->> 'read' = %(read)s", {"read": read})
    return [body for (body,) in rows]


def test_a_hold_is_counted_and_opened_with_its_reason(rights: RequestPipeline) -> None:
    (count,) = kept.hold_counts(rights.context)
    assert (count.holds, count.first_end) == (1, count.last_end)
    assert entries(rights, "holds") == []
    now = rights.pipeline.clock.now()
    (hold,) = kept.open_holds(rights.context, count.retention_class, reason="tax_audit", now=now)
    assert (hold.law, hold.columns["order_id"], hold.columns["revenue"]) == (count.law, "o-1", 12.5)
    assert "ada" not in json.dumps(hold.columns)
    (entry,) = entries(rights, "holds")
    assert (entry["reason"], entry["count"], entry["retention_class"]) == ("tax_audit", 1, count.retention_class)


def test_without_a_reason_nothing_is_opened(rights: RequestPipeline) -> None:
    now = rights.pipeline.clock.now()
    for read in (kept.open_holds, kept.read_severed):
        with pytest.raises(Fault, match="unknown_read_reason"):
            read(rights.context, "transaction", reason="curiosity", now=now)
    assert entries(rights, "holds") == []


def test_severed_events_are_read_with_their_values(rights: RequestPipeline) -> None:
    with rights.context.database.transaction() as tx:
        tx.execute(
            "INSERT INTO behavior.severed (retention_class, name_id, month, plain, events) "
            "SELECT 'behavior', term_id, '2024-01-01', '{\"revenue\": 10}', 120 "
            "FROM behavior.term WHERE term = 'Order Completed'"
        )
    now = rights.pipeline.clock.now()
    (row,) = kept.read_severed(rights.context, "behavior", reason="internal_control", now=now)
    assert (row.event, row.values, row.events) == ("Order Completed", {"revenue": 10}, 120)
    (entry,) = entries(rights, "severed")
    assert (entry["reason"], entry["count"]) == ("internal_control", 1)


def test_an_open_request_still_tells_that_it_holds(rights: RequestPipeline) -> None:
    (request,) = requests.listing(rights.context)
    rights.sequence()
    assert requests.receipt(rights.context, request.request_id)["body"]["holds"]
