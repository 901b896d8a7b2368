"""Random histories with unmerges and their undo: the mapping equals the model, derived data its recomputation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import isclose
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cdp.accounting.model import State
from cdp.behavior.store.buckets import recompute_buckets
from cdp.behavior.traits import compile_traits
from cdp.consent.store.projection import bits_of
from cdp.flows.consent import withdrawal
from cdp.flows.consent.verdicts import current_verdicts, project_traits
from cdp.flows.identifiers import evidence_of
from cdp.flows.identity.unmerge import rebuild, remerge, unmerge
from cdp.flows.ingest.plan import compile_ingest_plan
from cdp.identity.model import Evidence, Identifier, ResolutionStep
from cdp.identity.rules import Rules
from cdp.identity.run import replay
from cdp.kit.db import Database, Transaction
from cdp.kit.errors import Fault
from cdp.policy.model import Policy
from cdp.sources.model import Source
from tests.generative.test_identity_batches import check_map, empty
from tests.support.budget import IS_LONG, examples
from tests.support.messages import consent_context, track
from tests.support.people import NOON, SHOP, WEB
from tests.support.pipeline import Pipeline, open_pipeline
from tests.support.policies import permit_all, shipped
from tests.support.requests import RequestPipeline

pytestmark = pytest.mark.postgres
PURPOSES = ("analytics", "personalization", "email_marketing")


@dataclass(frozen=True, slots=True)
class Send:
    """One message from one source."""

    body: Mapping[str, Any]
    source: Source
    has_gpc: bool


@dataclass(frozen=True, slots=True)
class Undo:
    """An unmerge of two identifiers, or its undo."""

    one: Identifier
    other: Identifier
    is_undo: bool


@st.composite
def sending(draw: st.DrawFn) -> Send:
    body: dict[str, Any] = track(draw(st.sampled_from(["Product Viewed", "Order Completed"])))
    body["properties"] = {"revenue": draw(st.integers(1, 50)), "price": 3}
    if draw(st.booleans()):
        body["userId"] = f"u{draw(st.integers(1, 3))}"
    if draw(st.integers(0, 9)) < 7 or "userId" not in body:
        body["anonymousId"] = f"a{draw(st.integers(1, 4))}"
    traits: dict[str, Any] = {}
    if draw(st.integers(0, 9)) < 4:
        traits["email"] = f"p{draw(st.integers(1, 3))}@example.com"
    if draw(st.integers(0, 9)) < 3:
        traits["country"] = draw(st.sampled_from(["DE", "FR"]))
    if draw(st.integers(0, 9)) < 2:
        traits["age"] = draw(st.sampled_from([12, 40]))
    context: dict[str, Any] = {"traits": traits} if traits else {}
    if draw(st.integers(0, 9)) < 6:
        choices = draw(st.dictionaries(st.sampled_from(PURPOSES), st.booleans(), min_size=1))
        context |= consent_context(**choices)
    if context:
        body["context"] = context
    if draw(st.integers(0, 9)) < 2:
        body["timestamp"] = (NOON - timedelta(days=draw(st.integers(1, 40)))).isoformat()
    return Send(body, draw(st.sampled_from([SHOP, WEB])), draw(st.integers(0, 9)) < 1)


def names() -> st.SearchStrategy[Identifier]:
    return st.one_of(
        st.builds(lambda n: Identifier("user_id", f"u{n}"), st.integers(1, 3)),
        st.builds(lambda n: Identifier("anonymous_id", f"a{n}"), st.integers(1, 4)),
        st.builds(lambda n: Identifier("email", f"p{n}@example.com"), st.integers(1, 3)),
    )


def histories() -> st.SearchStrategy[list[Send | Undo]]:
    undo = st.builds(Undo, names(), names(), st.integers(0, 2).map(lambda n: n == 0))
    return st.lists(st.one_of(sending(), sending(), sending(), undo), min_size=2, max_size=14)


@pytest.mark.parametrize("policy", [permit_all(), shipped()], ids=["permit_all", "shipped"])
@settings(
    max_examples=examples(20),
    deadline=None,
    derandomize=not IS_LONG,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(acts=histories())
def test_an_unmerge_has_the_result_of_a_history_without_the_link(
    policy: Policy, acts: Sequence[Send | Undo], database: Database, tmp_path: Path
) -> None:
    empty(database)
    pipeline = open_pipeline(database, policy, tmp_path)
    pipeline.register()
    stored: list[Send] = []
    separated: set[frozenset[Identifier]] = set()
    for at, act in enumerate(acts):
        pipeline.clock.instant = NOON + timedelta(minutes=at)
        if isinstance(act, Send):
            body = {**act.body, "messageId": f"m-{at:03d}"}
            (outcome,) = pipeline.send(body, source=act.source, has_gpc=act.has_gpc)
            if outcome.state is State.STORED:
                stored.append(replace(act, body=body))
        else:
            undo(pipeline, act, separated)
    assert pipeline.partition() == model_of(policy, stored, separated)
    check_map(pipeline)
    check_derived(pipeline)
    check_covered(RequestPipeline(pipeline, pipeline.context, tmp_path))
    assert rebuild(pipeline.context).changed == 0


def undo(pipeline: Pipeline, act: Undo, separated: set[frozenset[Identifier]]) -> None:
    pair = frozenset({act.one, act.other})
    try:
        if act.is_undo:
            remerge(pipeline.context, act.one, act.other, dry_run=False)
            separated.discard(pair)
        else:
            unmerge(pipeline.context, act.one, act.other, dry_run=False)
            separated.add(pair)
    except Fault as fault:
        assert fault.code in {"unknown_profile", "not_merged", "not_kept_apart"}  # noqa: PT017


def model_of(
    policy: Policy, stored: Sequence[Send], separated: set[frozenset[Identifier]]
) -> set[frozenset[tuple[str, str]]]:
    """The sequential model over the stored messages, with these pairs kept apart from the start."""
    plan = compile_ingest_plan(policy)
    numbers: dict[Identifier, int] = {}
    anchors: dict[frozenset[int], int] = {}
    steps: list[ResolutionStep] = []
    stated: dict[int, Evidence] = {}
    for send in stored:
        members = tuple(
            numbers.setdefault(identifier, len(numbers) + 1)
            for identifier in plan.reader.promote(send.body).identifiers
        )
        anchor = anchors.setdefault(frozenset(members), len(anchors) + 1)
        stated[anchor] = max(evidence_of(send.source), stated.get(anchor, Evidence.BROWSER))
        at = NOON + timedelta(minutes=int(send.body["messageId"].removeprefix("m-")))
        occurred_at = datetime.fromisoformat(send.body["timestamp"]) if "timestamp" in send.body else at
        steps.append(ResolutionStep(len(steps) + 1, anchor, members, at, occurred_at=occurred_at))
    steps = [step._replace(authority=stated[step.anchor_id]) for step in steps]
    never: dict[int, set[int]] = {}
    for pair in separated:
        one, other = (numbers[identifier] for identifier in pair)
        never.setdefault(one, set()).add(other)
        never.setdefault(other, set()).add(one)
    named = {number: name for name, number in numbers.items()}
    run = replay(Rules(policy.identifiers), {number: name.type for name, number in numbers.items()}, steps, never=never)
    return {frozenset(named[member] for member in group.members) for group in run.world.groups.values()}


def check_derived(pipeline: Pipeline) -> None:
    """Verdicts, projections and computed traits equal a recomputation from the ledger and the events."""
    context, now = pipeline.context, pipeline.clock.now()
    with context.database.transaction() as tx:
        living = [row[0] for row in tx.execute("SELECT DISTINCT profile_id FROM identity.canonical")]
        decided = {
            (profile_id, purpose, verdict.since, verdict.until)
            for profile_id, verdicts in current_verdicts(tx, context.policy, living, now=now).items()
            for purpose, verdict in verdicts.items()
            if verdict.allowed
        }
        assert {
            tuple(row) for row in tx.execute("SELECT profile_id, purpose, since, until FROM consent.permitted")
        } == decided
        masks = bits_of(tx)
        projected, buckets = _projected(tx), _buckets(tx)
        with tx.dry_run():
            project_traits(tx, context.policy, masks, profile_ids=living, now=now)
            anchors = [row[0] for row in tx.execute("SELECT anchor_id FROM identity.anchor")]
            recompute_buckets(tx, compile_traits(context.policy, masks), anchors, now=now)
            assert _projected(tx) == projected
            again = _buckets(tx)
        assert buckets.keys() == again.keys()
        assert all(
            one[0] == other[0] and isclose(one[1], other[1], rel_tol=1e-9) and one[2:] == other[2:]
            for one, other in ((buckets[key], again[key]) for key in buckets)
        )


def check_covered(rights: RequestPipeline) -> None:
    """Once the worker has run, every event and trait counts only for purposes that its profile permits."""
    pipeline = rights.pipeline
    while withdrawal.clear_withdrawn(rights.context).withdrawals:
        continue
    with pipeline.context.database.transaction(read_only=True) as tx:
        masks = bits_of(tx)
        permitted = {
            (row[0], masks[row[1]]): row[2]
            for row in tx.execute("SELECT profile_id, purpose, since FROM consent.permitted")
        }
        held = [
            *tx.execute(
                "SELECT profile_id, bits, occurred_at FROM behavior.event JOIN identity.canonical USING (anchor_id)"
            ),
            *tx.execute(
                "SELECT profile_id, bits, occurred_at FROM behavior.trait JOIN identity.canonical USING (anchor_id)"
            ),
        ]
    never = NOON + timedelta(days=9999)
    for profile_id, bits, at in held:
        assert bits
        for mask in masks.values():
            assert not bits & mask or permitted.get((profile_id, mask), never) <= at
    check_derived(pipeline)


def _projected(tx: Transaction) -> dict[Any, Any]:
    return {(row[0], row[1]): row[2] for row in tx.execute("SELECT profile_id, purpose, traits FROM consent.permitted")}


def _buckets(tx: Transaction) -> dict[Any, Any]:
    rows = tx.execute(
        "SELECT anchor_id, trait, day, generation, events, total, last_at, last_plain FROM behavior.bucket"
    )
    return {tuple(row[:4]): tuple(row[4:]) for row in rows}
