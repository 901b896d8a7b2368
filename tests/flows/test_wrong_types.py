"""A value that is not as planned is sealed and accounted for by names of the policy."""

import json
from pathlib import Path

import pytest

from cdp.behavior.nearest import NearestEvents
from cdp.flows.operations.accounting import Accounting, count_messages
from cdp.kit.db import Database
from tests.support.messages import identify, order, track
from tests.support.people import NOON
from tests.support.pipeline import Pipeline, open_pipeline
from tests.support.policies import changed, documents_of, permit_all, shipped

pytestmark = pytest.mark.postgres


@pytest.fixture
def pipeline(database: Database, tmp_path: Path) -> Pipeline:
    pipeline = open_pipeline(database, permit_all(), tmp_path)
    pipeline.register()
    return pipeline


def accounted(pipeline: Pipeline, source: str | None = None) -> Accounting:
    return count_messages(pipeline.context, NOON.replace(hour=0), NOON.replace(hour=23), source=source, actor="auditor")


def faults(pipeline: Pipeline) -> set[tuple[str, str, str, str, str, int]]:
    return {
        (found.source, found.kind, found.event, found.property, found.expected, found.messages)
        for found in accounted(pipeline).properties
    }


def test_money_that_is_not_a_number_is_told_for_its_source(pipeline: Pipeline) -> None:
    pipeline.send(
        order(userId="ada", properties={"revenue": "5,00"}),
        order(userId="ada", properties={"revenue": "19.5", "currency": "euros of Ada"}),
        order(userId="ada", properties={"total": 5}),
        order(userId="ada", properties={"revenue": 7, "currency": "EUR"}),
        identify(userId="ada", traits={"country": "Ada's country"}),
    )
    assert faults(pipeline) == {
        ("shop", "mistyped", "Order Completed", "revenue", "number", 2),
        ("shop", "missing", "Order Completed", "revenue", "number", 1),
        ("shop", "mistyped", "Order Completed", "currency", "vocabulary currency", 1),
        ("shop", "mistyped", "identify", "traits.country", "vocabulary country", 1),
    }
    assert accounted(pipeline, "web").properties == ()
    stored = pipeline.one("SELECT json_agg(t)::text FROM accounting.property_notice AS t")
    assert "5,00" not in stored
    assert "Ada" not in stored
    assert pipeline.one("SELECT sum((plain->>'revenue')::numeric)::int FROM behavior.event") == 7


def test_a_repeated_message_is_not_counted_again(pipeline: Pipeline) -> None:
    wrong = order(userId="ada", messageId="o1", properties={"revenue": "5"})
    pipeline.send(wrong, wrong)
    pipeline.send(wrong)
    assert faults(pipeline) == {("shop", "mistyped", "Order Completed", "revenue", "number", 1)}


def test_a_term_that_a_full_vocabulary_refuses_is_told(database: Database, tmp_path: Path) -> None:
    vocabulary = documents_of(permit_all())["events.yaml"]["vocabularies"]["campaign"] | {"terms_max": 1}
    pipeline = open_pipeline(
        database, changed(permit_all(), "events.yaml", vocabularies={"campaign": vocabulary}), tmp_path
    )
    pipeline.register()
    for name in ("spring", "summer"):
        pipeline.send(track(userId="ada", context={"campaign": {"name": name}}))
    assert faults(pipeline) == {
        ("shop", "mistyped", "Product Viewed", "context.campaign.name", "vocabulary campaign", 1)
    }


def test_unknown_events_are_counted_under_the_nearest_planned_name(pipeline: Pipeline) -> None:
    pipeline.send(
        *(track(name, userId="ada") for name in ("order_completed", "Order Complete", "ORDER COMPLETED")),
        track("Ada Lovelace bought a hat", userId="ada"),
        track("Product Viewd", userId="ada"),
    )
    counts = {
        (notice.subject, notice.messages) for notice in accounted(pipeline).notices if notice.kind == "unknown_event"
    }
    assert counts == {("Order Completed", 3), ("Product Viewed", 1), ("other", 1)}
    assert "Ada" not in json.dumps(pipeline.one("SELECT json_agg(t)::text FROM accounting.notice AS t"))


def test_many_different_names_cost_few_comparisons_and_leave_nothing_in_memory(pipeline: Pipeline) -> None:
    nearest = NearestEvents(shipped().events.events)
    names = [f"Order Complete {number:04d}" for number in range(2_000)]
    assert nearest.of([*names, "order-completed"])["order-completed"] == "Order Completed"
    assert 0 < len(nearest._cached) < 100
    assert nearest.of(["x" * 101, None, 7]) == {}
    nearest.clear_cache()
    assert not nearest._cached
