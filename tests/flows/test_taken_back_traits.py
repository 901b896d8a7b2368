"""A trait that is stated to be null is taken back, in the order of the statements and not of their arrival."""

from datetime import timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from cdp.flows.identity.lookup import look_up
from cdp.identity.model import Identifier
from cdp.kit.db import Database
from tests.support.people import NOON, SHOP
from tests.support.pipeline import Pipeline, open_pipeline
from tests.support.policies import permit_all
from tests.support.requests import RequestPipeline, open_request_pipeline

pytestmark = pytest.mark.postgres


def at(number: int) -> str:
    """An instant before the messages arrive; a larger number is later."""
    return (NOON - timedelta(minutes=10 - number)).isoformat()


GOLD, NOTHING, SILVER = (
    {
        "type": "identify",
        "userId": "ada",
        "messageId": f"m{day}",
        "timestamp": at(day),
        "traits": traits,
    }
    for day, traits in enumerate(({"plan": "gold", "city": "Ulm"}, {"plan": None, "city": None}, {"plan": "silver"}), 1)
)


@pytest.fixture
def pipeline(database: Database, tmp_path: Path) -> Pipeline:
    found = open_pipeline(database, permit_all(), tmp_path)
    found.register()
    return found


def traits(pipeline: Pipeline) -> dict[str, Any]:
    return dict(look_up(pipeline.context, Identifier("user_id", "ada"), actor="operator").traits)


def projected(pipeline: Pipeline) -> Any:
    """The names of the traits that segments and readers see."""
    return pipeline.one("SELECT array_agg(DISTINCT name) FROM consent.permitted, jsonb_object_keys(traits) AS name")


@pytest.mark.parametrize("order", list(permutations((GOLD, NOTHING))))
def test_it_is_gone_whichever_message_comes_first(pipeline: Pipeline, order: tuple[dict[str, Any], ...]) -> None:
    pipeline.send_each(order)
    assert traits(pipeline) == {}
    assert projected(pipeline) is None


@pytest.mark.parametrize("order", list(permutations((GOLD, NOTHING, SILVER))))
def test_a_later_statement_counts_again(pipeline: Pipeline, order: tuple[dict[str, Any], ...]) -> None:
    pipeline.send_each(order)
    assert traits(pipeline) == {"plan": "silver"}
    assert projected(pipeline) == ["plan"]


def test_in_one_batch_and_in_the_context_of_an_event(pipeline: Pipeline) -> None:
    taken = {
        "type": "track",
        "event": "Order Completed",
        "userId": "ada",
        "messageId": "o",
        "timestamp": at(4),
    }
    pipeline.send(SILVER, GOLD, taken | {"context": {"traits": {"plan": None}}})
    assert traits(pipeline) == {"city": "Ulm"}


def test_an_age_is_not_taken_back(pipeline: Pipeline) -> None:
    """A null must not make an adult of somebody who stated to be a child."""
    for day, age in ((1, 12), (2, None)):
        pipeline.send(
            {
                "type": "identify",
                "userId": "ada",
                "messageId": f"a{day}",
                "timestamp": at(day),
                "traits": {"age": age},
            }
        )
    assert pipeline.one("SELECT count(*)::int FROM behavior.stated_age") == 1


def test_the_person_reads_that_it_was_taken_back(database: Database, tmp_path: Path) -> None:
    rights: RequestPipeline = open_request_pipeline(database, permit_all(), tmp_path)
    rights.pipeline.send(GOLD, NOTHING, source=SHOP)
    archive = rights.export(("user_id", "ada"))
    assert {row["name"]: row["value"] for row in archive["data"]["behavior.trait"]} == {"plan": None, "city": None}
