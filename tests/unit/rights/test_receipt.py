"""The fact of a fulfilment: all of it allowed in the log, none of it about the person."""

from dataclasses import replace

import pytest

from cdp.audit.fact import entry_body
from cdp.policy.jurisdictions import Right
from cdp.rights.model import Request, RequestId, Status, StepCount, Verb
from cdp.rights.plan import erasure_plan
from cdp.rights.receipt import ErasureSummary, event_fact, fulfillment
from tests.support.people import NOON

DONE = Request(
    RequestId(5), Right.ERASURE, "gdpr", Status.FULFILLED, NOON, None, NOON, verified_at=NOON, closed_at=NOON, waiting=2
)
OUTCOME = ErasureSummary(
    steps=tuple(StepCount(step.table, step.verb, 3, step.reason) for step in erasure_plan()),
    identifiers=2,
    anchors=1,
    profiles=1,
    keys_shredded=4,
    suppressed=2,
    suppressed_until=NOON,
    recipients=("newsletter",),
    holds=("transactions",),
    epoch=1,
    policy="0" * 64,
)


def test_the_log_takes_the_fact_of_every_plan() -> None:
    body = entry_body(fulfillment(DONE, OUTCOME), NOON)
    assert len(body["steps"]) == len(erasure_plan())
    assert body["by_reason"] == {"waiting_for_reviewer": 2}
    assert body["is_in_time"] is True
    assert {each["verb"] for each in body["steps"]} == {Verb.DELETE, Verb.SHRED, Verb.KEEP}


@pytest.mark.parametrize("kind", list(Right))
def test_the_log_takes_the_facts_of_every_kind(kind: Right) -> None:
    request = replace(DONE, kind=kind)
    assert entry_body(event_fact(request, "request.received"), NOON)["regime"] == "gdpr"
    assert entry_body(fulfillment(request, None), NOON)["kind"] == "request.fulfilled"
