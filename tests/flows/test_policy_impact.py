"""What a policy plan announces is what applying the policy does."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from cdp.accounting.model import Outcome, State
from cdp.flows.context import Context
from cdp.flows.ingest.batch import Ingest
from cdp.flows.operations import policy_history, retention
from cdp.flows.operations.policy import apply_policy
from cdp.flows.operations.policy_effects import Effect
from cdp.flows.operations.policy_impact import deletes, measure_impact
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from cdp.policy.load import build_policy
from cdp.policy.model import Policy
from tests.support.messages import consent_context, page, track
from tests.support.policies import changed, documents_of, shipped
from tests.support.policy_changes import VIEW, applied, consenting_people, purposes
from tests.support.requests import RequestPipeline

pytestmark = pytest.mark.postgres


@pytest.fixture
def rights(database: Database, tmp_path: Path) -> RequestPipeline:
    return consenting_people(database, tmp_path)


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
    members = announced(rights, policy, Effect.LEAVE, "people")
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
    begins_later = announced(rights, shipped(), Effect.SHORTEN, "people whose permission begins later")
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


def classes(**days: int) -> dict[str, Any]:
    """The shipped classes of events with other periods."""
    shipped_classes = documents_of(shipped())["retention.yaml"]["classes"]
    return {key: {**shipped_classes[key], "keep_for_days": number} for key, number in days.items()}


def kept_otherwise(policy: Policy, moved: Mapping[str, str], **days: int) -> Policy:
    """The policy with events in other classes, and classes with other periods."""
    events = documents_of(policy)["events.yaml"]["events"]
    filed = {name: {**events[name], "retention_class": key} for name, key in moved.items()}
    return changed(changed(policy, "events.yaml", events=filed), "retention.yaml", classes=classes(**days))


SHORTER: Final = {
    "the period of a class": kept_otherwise(shipped(), {}, browsing=60),
    "another class": kept_otherwise(shipped(), {VIEW: "system"}),
    "another class of a shorter period": kept_otherwise(shipped(), {VIEW: "engagement"}, engagement=60),
    "a longer period of a class that the name leaves": kept_otherwise(shipped(), {VIEW: "system"}, browsing=3_000),
}


class StoredEvent(NamedTuple):
    """The class of a stored event, its purposes, and whether it has expired under a policy."""

    retention_class: str
    purposes: frozenset[str]
    is_expired: bool


def stored_events(rights: RequestPipeline, policy: Policy) -> dict[str, StoredEvent]:
    now = rights.pipeline.clock.now()
    with rights.context.database.transaction(read_only=True) as tx:
        rows = tx.execute(
            "SELECT event_id::text, retention_class, occurred_at, "
            "ARRAY(SELECT purpose FROM consent.purpose WHERE bits & (1::bigint << bit) <> 0) FROM behavior.event"
        )
    return {
        event_id: StoredEvent(
            key,
            frozenset(used_for),
            occurred_at <= now - timedelta(days=policy.retention.classes[key].keep_for_days),
        )
        for event_id, key, occurred_at, used_for in rows
    }


@pytest.mark.parametrize("name", list(SHORTER))
def test_the_events_that_expire_are_those_of_the_run(rights: RequestPipeline, name: str) -> None:
    """Each once by the class whose period ends them, and once for each purpose that used them."""
    policy = SHORTER[name]
    before = stored_events(rights, rights.context.policy)
    by_class = announced(rights, policy, Effect.DELETE, "events past their retention")
    by_purpose = announced(rights, policy, Effect.EXCLUDE, "events past their retention")
    assert deletes(measure_impact(rights.context, policy))
    assert stored_events(rights, rights.context.policy) == before, "a plan changes nothing"
    present = apply_policy(rights.context, policy).context
    expired = {
        event_id: event
        for event_id, event in stored_events(rights, policy).items()
        if event.is_expired and not before[event_id].is_expired
    }
    assert by_class == Counter(event.retention_class for event in expired.values())
    assert by_purpose == Counter(purpose for event in expired.values() for purpose in event.purposes)
    assert by_class
    assert len(by_purpose) > 1
    again = announced_from(rights, policy, shipped())
    assert sum(again.values()) == len(expired), "until they are swept, a longer period makes them readable again"
    rights.later(days=31)
    retention.sweep(present, rights.pipeline.clock.now())
    assert not expired.keys() & stored_events(rights, policy).keys()


def announced_from(rights: RequestPipeline, present: Policy, policy: Policy) -> dict[str, int]:
    return {
        impact.scope: impact.number
        for impact in measure_impact(rights.context.with_policy(present), policy)
        if impact.effect is Effect.REVEAL and impact.what == "expired events not yet swept"
    }


def test_a_reader_role_that_begins_or_ends_is_counted(rights: RequestPipeline) -> None:
    agency = changed(shipped(), "readers.yaml", roles={"agency": {"legal_bases": [], "purposes": ["analytics"]}})
    people = counted(rights)["people"]["analytics"]
    assert people
    assert read_by_role(rights.context, agency) == {(Effect.REVEAL, "agency", "analytics"): people}
    present = apply_policy(rights.context, agency).context
    assert rights.pipeline.one("SELECT count(*) FROM consent.projection_agency_analytics") == people
    narrower = changed(agency, "readers.yaml", roles={"marketer": {"legal_bases": [], "purposes": ["analytics"]}})
    ends = changed(narrower, "readers.yaml", roles={"agency": None})
    found = read_by_role(present, ends)
    assert found.pop((Effect.EXCLUDE, "agency", "analytics")) == people
    others = {key: number for key, number in counted(rights)["people"].items() if key not in {"analytics", "service"}}
    assert found == {(Effect.EXCLUDE, "marketer", key): number for key, number in others.items()}
    assert deletes(measure_impact(present, ends)), "their ids end"


def read_by_role(context: Context, policy: Policy) -> dict[tuple[Effect, str, str | None], int]:
    return {
        (impact.effect, impact.scope, impact.purpose): impact.number
        for impact in measure_impact(context, policy)
        if impact.what == "people read by a role"
    }


def test_narrower_categories_tell_what_is_no_longer_used(rights: RequestPipeline) -> None:
    categories = documents_of(shipped())["purposes.yaml"]["purposes"]["personalization"]["categories"]
    narrower = [category for category in categories if category != "user.account"]
    assert narrower != categories
    documents = documents_of(shipped())
    del documents["segments/abandoned_carts.yaml"]  # it uses the event that the purpose no longer covers
    documents["purposes.yaml"]["purposes"]["personalization"] |= {
        "categories": narrower,
        "events": [VIEW, "Product Added"],
    }
    policy = build_policy(documents)
    found = measure_impact(rights.context, policy)
    named = {(impact.effect, impact.what, impact.scope) for impact in found}
    assert (Effect.EXCLUDE, "events no longer covered", "personalization") in named
    assert (Effect.EXCLUDE, "stated traits by their category", "personalization") in named
    assert projected(rights, "personalization") == {"age", "plan"}
    rights.context = applied(rights, policy)
    assert projected(rights, "personalization") == {"age"}
    assert projected(rights, "email_marketing") == {"age", "plan"}


def projected(rights: RequestPipeline, purpose: str) -> set[str]:
    """The stated traits in the projection of a purpose."""
    with rights.context.database.transaction(read_only=True) as tx:
        query = "SELECT DISTINCT jsonb_object_keys(traits) FROM consent.permitted WHERE purpose = %(purpose)s"
        return {name for (name,) in tx.execute(query, {"purpose": purpose})}


@pytest.mark.parametrize("days", [200, 30, 1])
def test_a_shorter_validity_ends_grants_that_were_given(rights: RequestPipeline, days: int) -> None:
    """Those that are older end at once, and the others sooner."""
    rights.pipeline.send(page(userId="late", context=consent_context(analytics=True)))
    rights.later(hours=2)
    policy = purposes(analytics={"validity_days": days})
    before, ends_before = counted(rights), ends(rights, "analytics")
    people_lost = announced(rights, policy, Effect.EXCLUDE, "people")
    deleted = announced(rights, policy, Effect.DELETE, "events without another purpose")
    people_ending = announced(rights, policy, Effect.SHORTEN, "people whose permission ends earlier")
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
