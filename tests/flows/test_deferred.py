"""Messages of a source that defers wait, sealed, until the device answers or the term ends (docs/explanation/consent.md)."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cdp.accounting.model import State
from cdp.flows.consent.acts import ConsentStatement, record
from cdp.flows.ingest.batch import Ingest
from cdp.flows.ingest.defer import opened_message
from cdp.kit.db import Database
from cdp.policy.model import Policy
from tests.support.deferring import PATIENT, PATIENT_SHOP, Deferring, open_deferring
from tests.support.messages import consent_context, identify, track
from tests.support.people import SHOP, WEB
from tests.support.policies import changed, shipped
from tests.support.requests import open_request_pipeline

pytestmark = pytest.mark.postgres


def bounded(**bounds: int) -> Policy:
    """The shipped policy with these bounds of what waits."""
    return changed(shipped(), "purposes.yaml", deferral=bounds)


@pytest.fixture
def policy() -> Policy:
    return shipped()


@pytest.fixture
def store(database: Database, tmp_path: Path, policy: Policy) -> Deferring:
    return open_deferring(database, open_request_pipeline(database, policy, tmp_path))


def test_without_an_answer_a_message_waits_and_teaches_nothing(store: Deferring) -> None:
    assert store.view(properties={"name": "A lamp"}) == "deferred"
    assert store.waiting == 1
    assert store.states == {"deferred": 1}
    for table in (
        "identity.identifier",
        "identity.profile",
        "behavior.event",
        "behavior.duplicate",
        "consent.permitted",
    ):
        assert store.one(f"SELECT count(*) FROM {table}") == 0
    assert b"lamp" not in bytes(store.one("SELECT sealed FROM consent.deferred_message"))


def test_only_a_source_that_was_told_to_defers(store: Deferring) -> None:
    assert store.send(track(anonymousId="d"), source=WEB) == "not_permitted"
    assert store.waiting == 0


def test_a_grant_opens_them_for_what_it_grants_with_their_own_times(store: Deferring) -> None:
    first = store.now
    store.view()
    store.rights.later(hours=2)
    second = store.now
    store.view()
    store.rights.later(hours=1)
    assert store.answer(analytics=True) == "stored"
    assert store.stored() == {}
    store.work()
    assert store.stored() == {first: {"analytics"}, second: {"analytics"}}
    assert store.since("analytics") == first
    assert store.states == {"stored": 3}
    assert store.waiting == 0


def test_an_answer_about_something_else_lets_them_wait_on(store: Deferring) -> None:
    at = store.now
    store.view()
    store.rights.later(hours=1)
    assert store.send(identify(anonymousId="other", context=consent_context(analytics=True))) == "stored"
    store.work()
    assert store.waiting == 1
    store.answer(email_marketing=True)
    store.work()
    assert store.stored() == {at: {"email_marketing"}}


def test_a_no_ends_them(store: Deferring) -> None:
    store.view()
    store.view("elsewhere")
    store.answer(analytics=False)
    assert store.waiting == 1
    assert store.states == {"deferred": 1, "not_permitted refused": 2}
    store.answer("elsewhere", analytics=True)
    store.work()
    assert len(store.stored()) == 1


def test_who_said_no_to_anything_has_answered(store: Deferring) -> None:
    store.answer(analytics=False)
    assert store.view() == "not_permitted"
    assert store.send(track(anonymousId="private"), has_gpc=True) == "not_permitted"
    assert store.waiting == 0


@pytest.mark.parametrize("is_split", [False, True])
def test_what_is_granted_is_opened_although_the_rest_is_refused(store: Deferring, is_split: bool) -> None:
    at = store.now
    store.view()
    store.rights.later(hours=1)
    if is_split:
        store.answer(analytics=True)
        store.answer(advertising=False)
    else:
        store.answer(analytics=True, advertising=False)
    store.work()
    assert store.stored() == {at: {"analytics"}}
    assert store.waiting == 0


def test_what_was_granted_and_withdrawn_before_the_worker_came_is_not_stored(store: Deferring) -> None:
    store.view()
    store.answer(analytics=True)
    store.rights.later(minutes=1)
    store.answer(analytics=False)
    store.work()
    assert store.stored() == {}
    assert store.waiting == 0


def test_what_a_grant_opened_and_does_not_cover_ends_with_a_later_no(store: Deferring) -> None:
    assert store.send(track("Cart Viewed", anonymousId="d")) == "deferred"
    store.answer(email_marketing=True)
    store.answer(analytics=False)
    store.work()
    assert store.waiting == 0


def test_the_end_of_the_term_ends_them(store: Deferring) -> None:
    store.view()
    store.rights.later(hours=12)
    store.view()
    store.rights.later(hours=12)
    store.work()
    assert store.waiting == 1
    assert store.states == {"deferred": 1, "not_permitted not_answered": 1}
    assert store.answer(analytics=True) == "stored"
    store.work()
    assert store.since("analytics") == store.now - timedelta(hours=12)


def test_what_is_beyond_its_term_is_not_opened_even_if_nobody_ended_it(store: Deferring) -> None:
    store.view()
    store.rights.later(hours=24)
    store.answer(analytics=True)
    assert store.since("analytics") == store.now
    store.work()
    assert store.stored() == {}
    assert store.waiting == 0


@pytest.mark.parametrize("policy", [bounded(messages_max=2)])
def test_no_more_messages_wait_than_policy_allows(store: Deferring) -> None:
    assert [store.view() for _ in range(3)] == ["deferred", "deferred", "not_permitted"]
    assert store.view("another") == "deferred"
    assert store.send(track(anonymousId="d"), source=PATIENT_SHOP) == "deferred"
    assert store.send(*[track(anonymousId="b") for _ in range(3)]) == "deferred deferred not_permitted"
    assert store.states["not_permitted too_many_deferred"] == 2


@pytest.mark.parametrize("policy", [bounded(kilobytes_max=1)])
def test_no_more_bytes_wait_than_policy_allows(store: Deferring) -> None:
    properties = {"text": "x" * 300}
    assert [store.view(properties=properties) for _ in range(3)] == ["deferred", "not_permitted", "not_permitted"]


@pytest.mark.parametrize("policy", [bounded(source_messages_max=3)])
def test_no_more_messages_of_a_source_wait_than_policy_allows_whatever_their_devices(store: Deferring) -> None:
    assert [store.view(device) for device in "abc"] == ["deferred"] * 3
    assert [store.view(device) for device in "ad"] == ["not_permitted"] * 2
    assert store.send(track(anonymousId="a"), source=PATIENT_SHOP) == "deferred"
    assert store.states["not_permitted too_many_deferred_of_source"] == 2
    store.rights.later(seconds=1)
    store.answer("b", analytics=False)
    assert store.send(*[track(anonymousId=device) for device in "ef"]) == "deferred not_permitted"
    store.answer("c", analytics=True)
    store.work()
    assert store.view("g") == "deferred"
    store.rights.erase(("anonymous_id", "g"))
    assert store.view("h") == "deferred"
    store.rights.later(hours=24)
    store.work()
    assert store.send(*[track(anonymousId=device) for device in "ijkl"]) == "deferred deferred deferred not_permitted"
    assert store.waiting == 3


@pytest.mark.parametrize("policy", [bounded(source_kilobytes_max=1)])
def test_no_more_bytes_of_a_source_wait_than_policy_allows(store: Deferring) -> None:
    properties = {"text": "x" * 300}
    assert [store.view(device, properties=properties) for device in "abc"] == ["deferred", *["not_permitted"] * 2]
    assert store.states["not_permitted too_many_deferred_of_source"] == 2


@pytest.mark.parametrize("policy", [bounded(source_messages_max=2)])
def test_a_refusal_leaves_room_for_the_messages_after_it_in_one_batch(store: Deferring) -> None:
    store.view("a")
    pipeline, messages = store.rights.pipeline, []
    no = track("Answered", anonymousId="a", context=consent_context(analytics=False))
    for body in (track(anonymousId="a"), track(anonymousId="b"), no, *[track(anonymousId=device) for device in "cde"]):
        store.rights.later(seconds=1)
        messages.append(pipeline.message(body, source=PATIENT))
    states = [outcome.state.value for outcome in pipeline.ingest.process(messages)]
    assert states == [*["not_permitted"] * 3, "deferred", "deferred", "not_permitted"]
    assert store.waiting == 2


@pytest.mark.parametrize("policy", [bounded(source_messages_max=10)])
def test_services_that_receive_at_once_do_not_exceed_the_bound_of_a_source(store: Deferring) -> None:
    context, pipeline = store.rights.context, store.rights.pipeline
    services = [
        Ingest(context.database, context.vault, context.policy, clock=context.clock, replay=context.replay)
        for _ in "ab"
    ]
    batches = [
        [pipeline.message(track(anonymousId=f"device-{at}-{n}"), source=PATIENT) for n in range(2)] for at in range(8)
    ]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda at: services[at % 2].process(batches[at]), range(8)))
    assert sum(outcome.state is State.DEFERRED for outcomes in found for outcome in outcomes) == 10
    assert store.waiting == 10


def test_each_message_id_waits_once(store: Deferring) -> None:
    assert store.view(message="m") == "deferred"
    assert store.view(message="m") == "duplicate"
    assert (
        store.send(track(anonymousId="e", messageId="n"), track(anonymousId="e", messageId="n")) == "deferred duplicate"
    )
    store.rights.later(minutes=1)
    store.answer(analytics=True)
    store.work()
    assert store.view(message="m") == "duplicate"
    assert len(store.stored()) == 1


def test_a_copy_that_was_sent_after_the_grant_counts_once(store: Deferring) -> None:
    store.view(message="m")
    store.rights.later(minutes=1)
    store.answer(analytics=True)
    assert store.view(message="m") == "stored"
    store.work()
    assert store.states == {"stored": 2, "duplicate": 1}


def test_the_no_of_somebody_else_meets_the_message_when_it_is_opened(store: Deferring) -> None:
    at = store.now
    assert store.send(track(anonymousId="d", userId="ada"), source=PATIENT_SHOP) == "deferred"
    assert store.send(track(anonymousId="d"), source=PATIENT_SHOP) == "deferred"
    store.rights.later(minutes=1)
    statement = ConsentStatement(("user_id", "ada"), "analytics", "refuse", jurisdiction="eu")
    record(store.rights.context, statement)
    assert store.waiting == 2
    store.answer(analytics=True)
    store.work()
    assert store.stored().keys() == {at}
    assert store.states["not_permitted refused"] == 1


def test_the_erasure_of_somebody_else_meets_the_message_when_it_is_opened(store: Deferring) -> None:
    assert store.send(track(anonymousId="d", userId="ada"), source=PATIENT_SHOP) == "deferred"
    store.rights.erase(("user_id", "ada"))
    assert store.waiting == 1
    store.rights.later(minutes=1)
    store.answer(analytics=True)
    store.work()
    assert store.stored() == {}
    assert store.states == {"stored": 1, "suppressed person": 1}


def test_permission_never_begins_before_the_last_no(store: Deferring) -> None:
    store.answer("d", analytics=False)
    store.rights.later(hours=1)
    store.answer("d", email_marketing=True)
    refused_at = store.now - timedelta(hours=1)
    record(store.rights.context, ConsentStatement(("anonymous_id", "d"), "analytics", "grant", jurisdiction="eu"))
    assert store.since("analytics") == store.now
    late = {"timestamp": (refused_at - timedelta(hours=1)).isoformat(), "sentAt": store.now.isoformat()}
    assert store.view("e", **late) == "deferred"
    store.rights.later(hours=1)
    store.send(identify(anonymousId="d", userId="ada", context=consent_context(analytics=True)), source=SHOP)
    store.send(identify(anonymousId="e", userId="ada", context=consent_context(analytics=True)), source=SHOP)
    assert store.since("analytics") == refused_at + timedelta.resolution
    store.work()
    assert store.stored() == {}


def test_an_answer_by_the_interface_opens_and_ends_likewise(store: Deferring) -> None:
    at = store.now
    store.view("yes")
    store.view("no")
    store.rights.later(minutes=5)
    for device, act in (("yes", "grant"), ("no", "refuse")):
        record(store.rights.context, ConsentStatement(("anonymous_id", device), "analytics", act, jurisdiction="eu"))
    assert store.waiting == 1
    store.work()
    assert store.stored() == {at: {"analytics"}}
    assert store.states == {"stored": 1, "not_permitted refused": 1}


def test_messages_that_come_together_with_the_answer_do_not_wait(store: Deferring) -> None:
    earlier = (store.now - timedelta(minutes=3)).isoformat()
    sent = {"sentAt": store.now.isoformat()}
    yes = track(
        "Answered", anonymousId="d", context=consent_context(analytics=True), timestamp=store.now.isoformat(), **sent
    )
    assert store.send(track(anonymousId="d", timestamp=earlier, **sent), yes) == "stored stored"
    assert store.since("analytics") == store.now - timedelta(minutes=3)
    no = track("Answered", anonymousId="e", context=consent_context(analytics=False), **sent)
    assert store.send(track(anonymousId="e", timestamp=earlier, **sent), no) == "not_permitted not_permitted"
    assert store.waiting == 0


@pytest.mark.parametrize("answer", [True, False])
def test_messages_of_one_batch_that_came_before_the_answer(store: Deferring, answer: bool) -> None:
    pipeline, at = store.rights.pipeline, store.now
    view = pipeline.message(track(anonymousId="d"), source=PATIENT)
    store.rights.later(seconds=1)
    answered = track("Answered", anonymousId="d", context=consent_context(analytics=answer))
    outcomes = pipeline.ingest.process([view, pipeline.message(answered, source=PATIENT)])
    assert outcomes[0].state.value == ("deferred" if answer else "not_permitted")
    store.work()
    assert store.stored() == ({at: {"analytics"}} if answer else {})
    assert store.waiting == 0


def test_imported_rows_and_messages_without_a_device_do_not_wait(store: Deferring) -> None:
    assert store.send(track(userId="ada"), source=PATIENT_SHOP) == "not_permitted"
    message = replace(store.rights.pipeline.message(track(anonymousId="d"), source=PATIENT), is_imported=True)
    assert store.rights.pipeline.ingest.process([message])[0].state.value == "not_permitted"


def test_a_known_device_that_has_not_answered_about_something_waits(store: Deferring) -> None:
    store.answer(analytics=True)
    assert [store.view() for _ in range(3)] == ["stored"] * 3
    assert store.send(identify(anonymousId="d", traits={"name": "Ada"})) in ("stored", "deferred")


def test_what_cannot_be_processed_ends_as_invalid_and_the_rest_is_opened(
    store: Deferring, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.view(message="bad")
    store.view(message="good")

    def broken(text: bytes, source: Any) -> Any:
        message = opened_message(text, source)
        return replace(message, body={**message.body, "event": object()}) if message.message_id == "bad" else message

    monkeypatch.setattr("cdp.flows.ingest.reopen.opened_message", broken)
    store.answer(analytics=True)
    store.work()
    assert store.states == {"stored": 2, "invalid unprocessable": 1}
    assert store.waiting == 0


def test_each_device_has_a_key_of_its_own(store: Deferring) -> None:
    store.view("d")
    store.view("d")
    store.view("e")
    assert store.one("SELECT count(DISTINCT subject_id) FROM consent.deferred_message") == 2
    assert store.waiting == 3
