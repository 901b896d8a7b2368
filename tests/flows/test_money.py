"""Amounts of money from messages to segments: currencies, refunds and cancellations."""

import json
from pathlib import Path
from typing import Any

import pytest

from cdp.accounting.model import State
from cdp.flows.operations.policy import apply_policy
from cdp.flows.segments import definitions, memberships, reading
from cdp.kit.db import Database
from cdp.segments.model import Draft, SegmentKey
from tests.support.messages import track
from tests.support.policies import ROOT, changed, permit_all
from tests.support.requests import RequestPipeline, open_request_pipeline

pytestmark = pytest.mark.postgres

PURPOSE = "analytics"
CASE = ROOT / "tests" / "data" / "cases" / "what-a-customer-paid-in-the-end" / "batch.json"


@pytest.fixture
def rights(database: Database, tmp_path: Path) -> RequestPipeline:
    return open_request_pipeline(database, permit_all(), tmp_path)


def order(order_id: object, revenue: float, **more: Any) -> dict[str, Any]:
    return track("Order Completed", userId="ada", properties={"order_id": order_id, "revenue": revenue, **more})


def refund(order_id: object, **properties: Any) -> dict[str, Any]:
    return track("Order Refunded", userId="ada", properties={"order_id": order_id, **properties})


def people(rights: RequestPipeline, where: str) -> int:
    """The number of people for whom a condition is true."""
    return reading.preview(rights.context, where, PURPOSE, actor="marketer").preview.size


def is_net(rights: RequestPipeline, amount: float) -> bool:
    return people(rights, f'net("Order Completed".revenue) = {amount}') == 1


def test_who_got_everything_back_paid_nothing_in_the_end(rights: RequestPipeline) -> None:
    rights.pipeline.send(*json.loads(CASE.read_bytes())["batch"])
    assert people(rights, 'sum("Order Completed".revenue) > 10') == 2
    assert people(rights, 'net("Order Completed".revenue) > 10') == 0
    assert people(rights, 'net("Order Completed".revenue) = 0 and known net("Order Completed".revenue)') == 2


def test_a_refund_takes_back_what_it_states_of_its_order_only(rights: RequestPipeline) -> None:
    rights.pipeline.send(order("1", 100), order("2", 50), refund("1", revenue=30), refund("3", revenue=5))
    assert is_net(rights, 120)
    rights.pipeline.send(refund("1", revenue=-30))
    assert is_net(rights, 90), "some shops write refunds as negative amounts"
    rights.pipeline.send(refund("1", revenue=1000))
    assert is_net(rights, 50), "never more than the order"


def test_a_refund_without_any_amount_takes_back_the_whole_order(rights: RequestPipeline) -> None:
    rights.pipeline.send(order(1001, 100), order(1002, 7), refund("1001"))
    assert is_net(rights, 7), "a number and its text name the same order"
    rights.pipeline.send(refund(1002, tax=2))
    assert is_net(rights, 7), "what it took back of the revenue is not known"


def test_without_an_order_number_nothing_is_taken_back(rights: RequestPipeline) -> None:
    bare = [track("Order Completed", userId="ada", properties={"revenue": 20}) for _ in range(2)]
    rights.pipeline.send(
        *bare, track("Order Refunded", userId="ada", properties={"revenue": 20}), refund("  ", revenue=20)
    )
    assert is_net(rights, 40)


def test_a_refund_in_a_currency_that_cannot_be_read_is_no_refund_of_everything(rights: RequestPipeline) -> None:
    outcomes = rights.pipeline.send(order("1", 100, currency="EUR"), refund("1", revenue=10, currency="euros"))
    assert {outcome.state for outcome in outcomes} == {State.STORED}
    assert is_net(rights, 100)


def test_a_refund_is_converted_by_the_rate_of_its_order(rights: RequestPipeline) -> None:
    policy = changed(permit_all(), "currencies.yaml", rates={"USD": {"2025-01-01": 0.9, "2026-01-10": 0.5}})
    apply_policy(rights.context, policy)
    rights.context = rights.context.with_policy(policy)
    before, after = "2026-01-09T12:00:00Z", "2026-01-10T12:00:00Z"
    assert rights.pipeline.clock.now().isoformat() > "2026-01-11"
    rights.pipeline.send(
        order("1", 100, currency="USD") | {"timestamp": before},
        refund("1", revenue=100, currency="USD") | {"timestamp": after},
    )
    assert people(rights, 'sum("Order Completed".revenue) = 90') == 1
    assert is_net(rights, 0)
    assert (
        people(rights, 'net("Order Completed".revenue in USD) = 0 and sum("Order Completed".revenue in USD) = 100') == 1
    )


def test_order_and_refund_may_come_under_different_names_of_one_person(rights: RequestPipeline) -> None:
    anonymous = {key: value for key, value in order("77", 60).items() if key != "userId"} | {"anonymousId": "device-1"}
    rights.pipeline.send(anonymous)
    rights.pipeline.send(refund("77", revenue=60))
    assert people(rights, 'net("Order Completed".revenue) = 60') == 1
    rights.pipeline.send(track("Product Viewed", userId="ada", anonymousId="device-1"))
    assert people(rights, 'net("Order Completed".revenue) = 60') == 0


def test_a_refund_lets_a_member_leave_at_once(rights: RequestPipeline) -> None:
    context = rights.context
    where = 'net("Order Completed".revenue) > 10'
    definitions.define(
        context, Draft(SegmentKey("payers"), "payers", PURPOSE, "marketer"), where, is_new=True, actor="marketer"
    )
    rights.pipeline.send(order("1", 100))
    memberships.refresh_stale(context)
    assert rights.pipeline.one("SELECT count(*) FROM segments.membership") == 1
    rights.pipeline.send(refund("1"))
    memberships.refresh_stale(context)
    assert rights.pipeline.one("SELECT count(*) FROM segments.membership") == 0


def test_a_new_rate_changes_who_is_in(rights: RequestPipeline) -> None:
    context = rights.context
    where = 'sum("Order Completed".revenue) > 100'
    definitions.define(
        context, Draft(SegmentKey("rich"), "rich", PURPOSE, "marketer"), where, is_new=True, actor="marketer"
    )
    rights.pipeline.send(order("1", 100, currency="CHF"))
    memberships.refresh_stale(context)
    assert rights.pipeline.one("SELECT count(*) FROM segments.membership") == 0
    apply_policy(context, changed(permit_all(), "currencies.yaml", rates={"CHF": {"2020-01-01": 1.05}}))
    memberships.refresh(
        context.with_policy(changed(permit_all(), "currencies.yaml", rates={"CHF": {"2020-01-01": 1.05}})), "rich"
    )
    assert rights.pipeline.one("SELECT count(*) FROM segments.membership") == 1


def test_the_order_number_is_kept_as_a_digest_and_shown_to_nobody(rights: RequestPipeline) -> None:
    rights.pipeline.send(order("o-4711", 100))
    kept = rights.pipeline.one("SELECT plain FROM behavior.event")
    assert set(kept) == {"revenue", "#order_id"}
    assert isinstance(kept["#order_id"], int)
    exported = rights.export(("user_id", "ada"))["data"]["behavior.event"]
    assert exported[0]["properties"] == {"revenue": 100}
    assert exported[0]["message"]["properties"] == {"order_id": "o-4711"}
