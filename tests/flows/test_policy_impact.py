"""What a policy plan announces is what applying the policy does."""

from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cdp.accounting.model import Outcome, State
from cdp.flows.consent.withdrawal import clear_withdrawn
from cdp.flows.context import Context
from cdp.flows.ingest.batch import Ingest
from cdp.flows.operations import policy_history, retention
from cdp.flows.operations.policy import apply_policy
from cdp.flows.operations.policy_impact import Effect, deletes, measure_impact
from cdp.flows.segments import definitions, memberships
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from cdp.policy.load import build_policy
from cdp.policy.model import Policy
from cdp.segments.model import Draft, SegmentKey
from tests.support.messages import consent_context, identify, page, track
from tests.support.policies import changed, documents_of, shipped
from tests.support.requests import RequestPipeline, open_request_pipeline

pytestmark = pytest.mark.postgres

ORDER, VIEW = "Order Completed", "Product Viewed"
PURPOSES = ("analytics", "personalization", "email_marketing")


@pytest.fixture
def rights(database: Database, tmp_path: Path) -> RequestPipeline:
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


def counted(rights: RequestPipeline) -> dict[str, Counter[str]]:
    """People by purpose, events by class, traits, and members by segment."""
    with rights.context.database.transaction(read_only=True) as tx:
        return {
            "people": Counter(
                dict(tx.execute("SELECT purpose, count(*)::int FROM consent.permitted GROUP BY purpose"))
            ),
            "events": Counter(
                dict(tx.execute("SELECT retention_class, count(*)::int FROM behavior.event GROUP BY retention_class"))
            ),
            "traits": Counter(dict(tx.execute("SELECT 'traits', count(*)::int FROM behavior.trait"))),
            "members": Counter(dict(tx.execute("SELECT key, count(*)::int FROM segments.membership GROUP BY key"))),
        }


def lost(before: Counter[str], after: Counter[str]) -> dict[str, int]:
    return {key: before[key] - after[key] for key in before if before[key] > after[key]}


def announced(rights: RequestPipeline, policy: Policy, effect: Effect, what: str) -> dict[str, int]:
    return {
        impact.scope: impact.number
        for impact in measure_impact(rights.context, policy)
        if impact.effect is effect and impact.what.startswith(what)
    }


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
        memberships.refresh(context, segment.key)
    return context


def purposes(**rules: Any) -> Policy:
    """The shipped policy with fields of purposes changed."""
    whole = documents_of(shipped())["purposes.yaml"]["purposes"]
    return changed(shipped(), "purposes.yaml", purposes={key: {**whole[key], **rule} for key, rule in rules.items()})


def changes() -> dict[str, Policy]:
    return {
        "older": purposes(email_marketing={"minimum_age": 21, "unknown_age": "refuse"}),
        "adults": purposes(personalization={"minimum_age": 21, "unknown_age": "refuse"}),
        "opt-out": purposes(personalization={"model": {"eu": "opt_out", "us-ca": "opt_out", "unknown": "opt_out"}}),
    }


@pytest.mark.parametrize("name", list(changes()))
def test_the_numbers_are_those_of_the_run(rights: RequestPipeline, name: str) -> None:
    policy = changes()[name]
    before = counted(rights)
    people_lost = announced(rights, policy, Effect.EXCLUDE, "people")
    people_gained = announced(rights, policy, Effect.PERMIT, "people")
    events = announced(rights, policy, Effect.DELETE, "events without another purpose")
    traits = announced(rights, policy, Effect.DELETE, "stated traits without another purpose")
    members = announced(rights, policy, Effect.EXCLUDE, "memberships")
    assert counted(rights) == before, "a plan changes nothing"
    applied(rights, policy)
    after = counted(rights)
    assert people_lost == lost(before["people"], after["people"])
    assert people_gained == lost(after["people"], before["people"])
    assert events == lost(before["events"], after["events"])
    assert traits == lost(before["traits"], after["traits"])
    assert members == lost(before["members"], after["members"])
    assert people_lost or people_gained


def test_a_permission_that_begins_later_tells_what_it_no_longer_covers(rights: RequestPipeline) -> None:
    """Silence was enough for what a person did before they agreed; where it is not, that is no longer used."""
    silent = apply_policy(rights.context, changes()["opt-out"]).context
    pipeline = rights.pipeline
    pipeline.context = rights.context = silent
    ingest = Ingest(silent.database, silent.vault, silent.policy, clock=pipeline.clock, replay=silent.replay)
    for user, first in (("late", {}), ("later", consent_context(analytics=True))):
        for context in (first, consent_context(personalization=True)):
            viewed = track(VIEW, userId=user, properties={"category": "shoes"}, context=context)
            assert ingest.process([pipeline.message(viewed)]) == [Outcome(State.STORED)]
            rights.later(minutes=1)
    before, used_before = counted(rights), used(rights, "personalization")
    granted = rights.pipeline.one(
        "SELECT count(DISTINCT identifier_id) FROM consent.record WHERE purpose = 'personalization'"
    )
    begins_later = announced(rights, shipped(), Effect.EXCLUDE, "people whose permission begins later")
    events = announced(rights, shipped(), Effect.EXCLUDE, "events")
    deleted = announced(rights, shipped(), Effect.DELETE, "events without another purpose")
    assert begins_later == {"personalization": granted}
    applied(rights, shipped())
    assert deleted == lost(before["events"], counted(rights)["events"]) == {"browsing": 1}
    assert events == {"personalization": used_before - used(rights, "personalization") - 1}
    assert events["personalization"] > 0


def test_deliveries_that_wait_are_counted(rights: RequestPipeline) -> None:
    with rights.context.database.transaction() as tx:
        tx.execute(
            "INSERT INTO destinations.outbox (destination, kind, profile_id, recipient_pseudonym, body, created_at, due_at, "
            "acknowledged_at) SELECT 'newsletter', 'membership', profile_id, '\\x01', '{}', now(), now(), acknowledged_at "
            "FROM consent.permitted CROSS JOIN (VALUES (NULL), (NULL), (now())) AS a (acknowledged_at) "
            "WHERE purpose = 'email_marketing'"
        )
    policy = changes()["older"]
    excluded = announced(rights, policy, Effect.EXCLUDE, "people")["email_marketing"]
    assert announced(rights, policy, Effect.EXCLUDE, "deliveries that wait") == {"newsletter": 2 * excluded}


def used(rights: RequestPipeline, purpose: str) -> int:
    """How many stored events a purpose uses."""
    with rights.context.database.transaction(read_only=True) as tx:
        query = "SELECT count(*) FROM behavior.event WHERE bits & (SELECT 1 << bit FROM consent.purpose WHERE purpose = %(p)s) <> 0"
        ((number,),) = tx.execute(query, {"p": purpose})
    return int(number)


def test_a_shorter_period_tells_what_expires(rights: RequestPipeline) -> None:
    classes = documents_of(shipped())["retention.yaml"]["classes"]
    shorter = changed(shipped(), "retention.yaml", classes={"browsing": {**classes["browsing"], "keep_for_days": 60}})
    found = announced(rights, shorter, Effect.DELETE, "events past their retention")
    with rights.context.database.transaction(read_only=True) as tx:
        expired_at = rights.pipeline.clock.now() - timedelta(days=60)
        ((expected,),) = tx.execute(
            "SELECT count(*) FROM behavior.event WHERE retention_class = 'browsing' AND occurred_at <= %(at)s",
            {"at": expired_at},
        )
    assert expected > 0
    assert found == {"browsing": expected}
    assert deletes(measure_impact(rights.context, shorter))
    apply_policy(rights.context, shorter)
    again = announced_from(rights, shorter, shipped())
    assert again == {"browsing": expected}, "until they are swept, a longer period makes them readable again"


def announced_from(rights: RequestPipeline, present: Policy, policy: Policy) -> dict[str, int]:
    return {
        impact.scope: impact.number
        for impact in measure_impact(rights.context.with_policy(present), policy)
        if impact.effect is Effect.REVEAL and impact.what == "expired events not yet swept"
    }


def test_narrower_categories_tell_what_is_no_longer_used(rights: RequestPipeline) -> None:
    categories = documents_of(shipped())["purposes.yaml"]["purposes"]["personalization"]["categories"]
    narrower = [category for category in categories if category != "user.account"]
    assert narrower != categories
    found = measure_impact(
        rights.context, purposes(personalization={"categories": narrower, "events": [VIEW, "Product Added"]})
    )
    named = {(impact.effect, impact.what, impact.scope) for impact in found}
    assert (Effect.EXCLUDE, "events no longer covered", "personalization") in named
    assert (Effect.EXCLUDE, "stated traits by their category", "personalization") in named


@pytest.mark.parametrize("days", [30, 1])
def test_a_shorter_validity_ends_grants_that_were_given(rights: RequestPipeline, days: int) -> None:
    """Those that are older end at once, and the others sooner."""
    rights.pipeline.send(page(userId="late", context=consent_context(analytics=True)))
    rights.later(hours=2)
    policy = purposes(analytics={"validity_days": days})
    before, ends_before = counted(rights), ends(rights, "analytics")
    people_lost = announced(rights, policy, Effect.EXCLUDE, "people")
    deleted = announced(rights, policy, Effect.DELETE, "events without another purpose")
    people_ending = announced(rights, policy, Effect.EXCLUDE, "people whose permission ends earlier")
    assert deletes(measure_impact(rights.context, policy))
    applied(rights, policy)
    after, ends_after = counted(rights), ends(rights, "analytics")
    assert people_ending == {"analytics": sum(ends_after[person] < ends_before[person] for person in ends_after)}
    assert people_lost | people_ending == lost(before["people"], after["people"]) | people_ending
    assert deleted == lost(before["events"], after["events"])
    assert people_ending["analytics"] > 0


def test_a_longer_validity_brings_nothing_back(rights: RequestPipeline) -> None:
    rights.pipeline.send(page(userId="late", context=consent_context(analytics=True)))
    everybody = counted(rights)["people"]["analytics"]
    rights.context = applied(rights, purposes(analytics={"validity_days": 50}))
    short, ends_at = counted(rights), ends(rights, "analytics")
    assert 0 < short["people"]["analytics"] < everybody
    rights.later(hours=1)
    for policy in (shipped(), purposes(analytics={"validity_days": 5_000})):
        assert measure_impact(rights.context, policy) == []
        rights.context = applied(rights, policy)
        assert counted(rights) == short
        assert ends(rights, "analytics") == ends_at


def ends(rights: RequestPipeline, purpose: str) -> dict[int, datetime]:
    """When the permission of each profile ends."""
    with rights.context.database.transaction(read_only=True) as tx:
        query = "SELECT profile_id, coalesce(until, '9999-01-01') FROM consent.permitted WHERE purpose = %(purpose)s"
        return dict(tx.execute(query, {"purpose": purpose}))


def test_examples_are_random_ids_of_the_people(rights: RequestPipeline) -> None:
    found = measure_impact(rights.context, changes()["older"])
    examples = [example for impact in found for example in impact.examples]
    assert examples
    assert all(example.startswith("prf_") for example in examples)


def test_a_text_that_changes_affects_nothing_stored(rights: RequestPipeline) -> None:
    assert measure_impact(rights.context, purposes(analytics={"text": "Another sentence."})) == []


def test_the_policy_of_a_date_is_the_one_that_was_applied(rights: RequestPipeline, tmp_path: Path) -> None:
    start = rights.pipeline.clock.now()
    with pytest.raises(Fault, match="no_policy_then"):
        policy_history.policy_at(rights.context, start - timedelta(days=10_000))
    rights.later(days=1)
    newer = purposes(analytics={"text": "Another sentence."})
    context = apply_policy(rights.context, newer).context
    rights.later(days=1)
    periods = policy_history.history(context)
    assert periods[-1].fingerprint == newer.fingerprint
    assert periods[-1].ended_at is None
    assert [change.path for change in periods[-1].differences or ()] == [("purposes", "analytics", "text")]
    then = policy_history.policy_at(context, start)
    assert build_policy(then.content).fingerprint == shipped().fingerprint
    assert policy_history.policy_at(context, rights.pipeline.clock.now()).fingerprint.hex() == newer.fingerprint
