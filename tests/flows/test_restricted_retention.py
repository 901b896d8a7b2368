"""What falls due while processing is restricted is kept apart until the restriction ends (GDPR Art. 18)."""

from pathlib import Path
from typing import Any

import pytest

from cdp.flows.operations.kept import open_holds
from cdp.flows.operations.retention import EVENTS
from cdp.flows.operations.retention_restricted import RESTRICTED_EVENTS
from cdp.flows.operations.retention_tasks import AGES, TRAITS
from cdp.flows.rights import requests
from cdp.flows.rights.restrict import release
from cdp.kit.db import Database
from tests.flows.test_retention import AGE, HOLD, events, holds, order, projected, rows, run, short_lived
from tests.support.requests import RequestPipeline, open_request_pipeline

pytestmark = pytest.mark.postgres


@pytest.fixture
def rights(database: Database, tmp_path: Path) -> RequestPipeline:
    """Ada, whose processing is restricted, and Bob, both with an order that has fallen due."""
    rights = open_request_pipeline(database, short_lived(hold=HOLD), tmp_path)
    rights.pipeline.send(order(1), order(2), AGE, order(7, "bob"))
    request = rights.ask("restriction", ("user_id", "ada"))
    requests.run(rights.context, request.request_id, rights.pipeline.clock.now())
    rights.later(days=130)
    return rights


def kept(rights: RequestPipeline) -> int:
    return int(rights.pipeline.one("SELECT count(*) FROM behavior.restricted_event"))


def revenues(rights: RequestPipeline) -> list[Any]:
    return sorted(hold["revenue"] for hold in holds(rights))


def test_events_of_a_restricted_person_outlast_their_month(rights: RequestPipeline) -> None:
    planned = rows(run(rights, dry_run=True))
    done = rows(run(rights, rows_max=1))
    assert done == planned
    assert done[f"{EVENTS} transactions 2026-06"] == 1, "the order of Bob alone"
    assert done[f"{RESTRICTED_EVENTS} transactions 2026-06"] == 2
    assert done[f"{RESTRICTED_EVENTS} system 2026-06"] == 1
    assert (events(rights), kept(rights)) == (0, 3)
    assert revenues(rights) == [7], "the orders of Ada are kept whole"
    assert rows(run(rights)) == {}


def test_statements_of_a_restricted_person_stay(rights: RequestPipeline) -> None:
    assert not {TRAITS, AGES} & rows(run(rights)).keys()
    assert rights.pipeline.one("SELECT count(*) FROM behavior.trait") == 1
    assert rights.pipeline.one("SELECT count(*) FROM behavior.stated_age") == 1


def test_nobody_uses_what_is_kept(rights: RequestPipeline) -> None:
    run(rights)
    assert projected(rights) == [{}], "only Bob is permitted"


def test_an_export_shows_what_is_kept(rights: RequestPipeline) -> None:
    run(rights)
    shown = rights.export(("user_id", "ada"))["data"]["behavior.restricted_event"]
    assert sorted(row["properties"].get("revenue", 0) for row in shown) == [0, 1, 2]
    assert {row["name"] for row in shown} == {"Order Completed", "identify"}
    assert all(row["message"] for row in shown), "the sealed part is opened"
    assert rights.export(("user_id", "bob"))["data"]["behavior.restricted_event"] == []


def test_after_the_restriction_events_end_under_their_class(rights: RequestPipeline) -> None:
    run(rights)
    release(rights.context, [("user_id", "ada")], is_informed=True, now=rights.pipeline.clock.now())
    rights.later(days=1)
    planned = rows(run(rights, dry_run=True))
    done = rows(run(rights))
    assert done == planned
    assert done[RESTRICTED_EVENTS] == 3
    assert done[TRAITS] == 1
    assert kept(rights) == 0
    assert revenues(rights) == [1, 2, 7], "what the law requires of the orders is held, as of anybody's"
    opened = open_holds(rights.context, "transactions", reason="tax_audit", now=rights.pipeline.clock.now())
    assert len(opened) == 3


def test_an_erasure_reaches_what_is_kept_and_its_preview_counts_it(rights: RequestPipeline) -> None:
    run(rights)
    request = rights.ask("erasure", ("user_id", "ada"))
    now = rights.pipeline.clock.now()
    planned = requests.run(rights.context, request.request_id, now, dry_run=True).steps
    assert {step.table: step.rows for step in planned}[RESTRICTED_EVENTS] == 3
    done = requests.run(rights.context, request.request_id, now).steps
    assert {(step.table, step.verb): step.rows for step in done} == {
        (step.table, step.verb): step.rows for step in planned
    }
    assert kept(rights) == 0
    assert revenues(rights) == [1, 2, 7]
