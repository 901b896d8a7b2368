"""A store with people under the shipped policy, and what applying another policy does to it."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from cdp.flows.consent.withdrawal import clear_withdrawn
from cdp.flows.context import Context
from cdp.flows.operations import retention
from cdp.flows.operations.policy import apply_policy
from cdp.flows.segments import definitions, memberships
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from cdp.policy.model import Policy
from cdp.segments.model import Draft, SegmentKey
from tests.support.messages import identify, track
from tests.support.policies import changed, documents_of, shipped
from tests.support.requests import RequestPipeline, open_request_pipeline

ORDER, VIEW = "Order Completed", "Product Viewed"
PURPOSES = ("analytics", "personalization", "email_marketing")


def consenting_people(database: Database, tmp_path: Path) -> RequestPipeline:
    """Six people who granted some of three purposes, with orders, views and traits from several months, and a segment."""
    rights = open_request_pipeline(database, shipped(), tmp_path)
    pipeline = rights.pipeline
    for month in range(4):
        for number in range(6):
            user = f"user-{number}"
            granted = {purpose: True for at, purpose in enumerate(PURPOSES) if number % (at + 1) == 0}
            consent = {"context": {"consent": {"categoryPreferences": granted}}}
            pipeline.send(
                identify(userId=user, traits={"age": 18 + number, "plan": "gold"}, **consent),
                track(ORDER, userId=user, properties={"revenue": 10}, **consent),
                track(VIEW, userId=user, properties={"category": "shoes"}, **consent),
            )
        rights.later(days=40 if month < 3 else 2)
    draft = Draft(SegmentKey("viewers"), "viewers", "email_marketing", "marketer")
    definitions.define(rights.context, draft, f'did("{VIEW}")', is_new=True, actor="marketer")
    retention.sweep(rights.context, pipeline.clock.now())
    return rights


def applied(rights: RequestPipeline, policy: Policy) -> Context:
    """Apply a policy, and do what the worker does afterwards; the context under the policy."""
    context = apply_policy(rights.context, policy).context
    now = rights.pipeline.clock.now()
    while clear_withdrawn(context).withdrawals:
        pass
    retention.sweep(context, now)
    while memberships.refresh_stale(context):
        pass
    for segment in definitions.list_segments(context):
        with suppress(Fault):  # as the worker: a segment that the policy does not permit is not evaluated
            memberships.refresh(context, segment.key)
    return context


def purposes(**rules: Any) -> Policy:
    """The shipped policy with fields of purposes changed."""
    whole = documents_of(shipped())["purposes.yaml"]["purposes"]
    return changed(shipped(), "purposes.yaml", purposes={key: {**whole[key], **rule} for key, rule in rules.items()})
