"""What an unmerge means for consent, and what a refused message may not teach."""

from pathlib import Path

import pytest

from cdp.accounting.model import Outcome, State
from cdp.flows.consent import acts, clearing, withdrawal
from cdp.flows.consent.acts import ConsentStatement
from cdp.flows.identity.unmerge import unmerge
from cdp.identity.model import Identifier
from cdp.kit.db import Database
from tests.generative.test_identity_batches import check_map
from tests.generative.test_identity_undo import check_covered, check_derived
from tests.support.messages import consent_context, track
from tests.support.people import SHOP, WEB
from tests.support.policies import shipped
from tests.support.requests import RequestPipeline, open_request_pipeline

pytestmark = pytest.mark.postgres
U1, U2, A1 = ("user_id", "u1"), ("user_id", "u2"), ("anonymous_id", "a1")


@pytest.fixture
def rights(database: Database, tmp_path: Path) -> RequestPipeline:
    return open_request_pipeline(database, shipped(), tmp_path)


def say(rights: RequestPipeline, identifier: tuple[str, str], act: str, purpose: str = "analytics") -> None:
    rights.later(minutes=1)
    told = ConsentStatement(identifier, purpose, act, authority="authenticated", jurisdiction="eu")
    acts.record(rights.context, told)
    rights.later(minutes=1)


def clear(rights: RequestPipeline) -> clearing.ClearedWithdrawals:
    return withdrawal.clear_withdrawn(rights.context)


def test_what_was_stored_by_the_consent_of_somebody_else_goes_with_the_unmerge(rights: RequestPipeline) -> None:
    pipeline = rights.pipeline
    say(rights, U1, "grant")
    pipeline.send(track(userId="u1"), track(userId="u1", anonymousId="a1"))
    age = {"context": {"traits": {"age": 40}}}
    assert pipeline.send(track(anonymousId="a1", **age))[0].state is State.STORED
    assert unmerge(pipeline.context, Identifier(*U1), Identifier(*A1), dry_run=True).erased_events == 1
    assert pipeline.one("SELECT count(*) FROM behavior.event") == 3
    assert unmerge(pipeline.context, Identifier(*U1), Identifier(*A1), dry_run=False).erased_events == 1
    assert pipeline.one("SELECT count(*) FROM behavior.event") == 2
    assert pipeline.one("SELECT count(*) FROM behavior.trait") == 0
    check_covered(rights)


def test_what_a_shared_device_did_by_the_consent_of_one_goes_once_it_is_known(rights: RequestPipeline) -> None:
    pipeline = rights.pipeline
    say(rights, U1, "grant")
    say(rights, U2, "grant")
    pipeline.send(track(userId="u1", anonymousId="a1"), track(anonymousId="a1"))
    assert pipeline.send(track(userId="u2", anonymousId="a1"))[0].state is State.STORED
    assert pipeline.partition() == {frozenset({U1}), frozenset({U2}), frozenset({A1})}
    assert clear(rights).events_deleted == 1
    check_covered(rights)


def test_what_both_sides_permit_is_kept(rights: RequestPipeline) -> None:
    pipeline = rights.pipeline
    say(rights, U1, "grant")
    say(rights, A1, "grant")
    pipeline.send(track(userId="u1", anonymousId="a1"))
    pipeline.send(track(anonymousId="a1"))
    unmerge(pipeline.context, Identifier(*U1), Identifier(*A1), dry_run=False)
    assert clear(rights).withdrawals == 0
    assert pipeline.one("SELECT count(*) FROM behavior.event") == 2


def test_a_withdrawal_that_was_waiting_finds_the_events_on_either_side(rights: RequestPipeline) -> None:
    pipeline = rights.pipeline
    say(rights, A1, "grant")
    pipeline.send(track(userId="u1", anonymousId="a1"), track(userId="u1"), track(anonymousId="a1"))
    say(rights, A1, "withdraw")
    unmerge(pipeline.context, Identifier(*U1), Identifier(*A1), dry_run=False)
    clear(rights)
    assert pipeline.one("SELECT count(*) FROM behavior.event") == 0
    check_covered(rights)


def test_a_message_that_is_refused_for_what_it_would_teach_teaches_nothing(rights: RequestPipeline) -> None:
    """Only if the device is shared does its no count for u2; but then the message is refused, and proves nothing."""
    pipeline = rights.pipeline
    say(rights, U1, "grant")
    say(rights, U2, "grant")
    pipeline.send(track(userId="u1", anonymousId="a1"))
    refused = {"context": consent_context(analytics=False)}
    assert pipeline.send(track(anonymousId="a1", **refused), source=WEB)[0].state is State.NOT_PERMITTED
    rights.later(minutes=1)
    assert pipeline.send(track(userId="u2", anonymousId="a1"), track(userId="u2"), source=SHOP) == [
        Outcome(State.NOT_PERMITTED, "refused"),
        Outcome(State.STORED, ""),
    ]
    assert pipeline.one("SELECT count(*) FROM identity.identifier WHERE is_shared") == 0
    assert pipeline.partition() == {frozenset({U1, A1}), frozenset({U2})}
    check_map(pipeline)
    check_derived(pipeline)


def test_a_forgotten_age_is_forgotten_in_the_verdicts_too(rights: RequestPipeline) -> None:
    pipeline = rights.pipeline
    say(rights, U1, "grant")
    say(rights, U1, "grant", "email_marketing")
    pipeline.send(track(userId="u1", context={"traits": {"age": 12}}))
    assert pipeline.one("SELECT reason FROM consent.refused WHERE purpose = 'email_marketing'") == "too_young"
    say(rights, U1, "withdraw")
    clear(rights)
    assert pipeline.one("SELECT count(*) FROM consent.refused WHERE purpose = 'email_marketing'") == 0
    check_derived(pipeline)


def test_a_permission_that_ends_within_the_batch_that_began_it_leaves_nothing(rights: RequestPipeline) -> None:
    pipeline = rights.pipeline
    granted = {"context": consent_context(analytics=True)}
    refused = {"context": consent_context(analytics=False)}
    states = [
        each.state
        for each in pipeline.send(
            track(anonymousId="a1", messageId="1", **granted),
            track(anonymousId="a2", messageId="2", **granted),
            track(anonymousId="a2", messageId="3", **refused),
        )
    ]
    assert states == [State.STORED, State.STORED, State.NOT_PERMITTED]
    check_derived(pipeline)
    assert clear(rights).events_deleted == 1
    check_covered(rights)


@pytest.mark.parametrize("is_batch", [True, False])
def test_what_a_message_proves_does_not_change_what_was_decided_before_it(
    rights: RequestPipeline, *, is_batch: bool
) -> None:
    """The visit was permitted by u1, whose device it was until u2 came; then it goes, in one batch as in two."""
    pipeline = rights.pipeline
    say(rights, U1, "grant")
    say(rights, U2, "grant")
    pipeline.send(track(userId="u1", anonymousId="a1"))
    rights.later(minutes=1)
    bodies = [track(anonymousId="a1", messageId="1"), track(userId="u2", anonymousId="a1", messageId="2")]
    outcomes = pipeline.send(*bodies) if is_batch else pipeline.send_each(bodies)
    assert [each.state for each in outcomes] == [State.STORED, State.STORED]
    assert pipeline.partition() == {frozenset({U1}), frozenset({U2}), frozenset({A1})}
    check_derived(pipeline)
    assert clear(rights).events_deleted == 1
    check_covered(rights)


def test_the_reason_of_a_refusal_does_not_hang_on_whether_somebody_looked(rights: RequestPipeline) -> None:
    pipeline = rights.pipeline
    order = track("Order Completed", anonymousId="a2")
    assert pipeline.send(order) == [Outcome(State.NOT_PERMITTED, "no_unique_identifier")]
    say(rights, ("anonymous_id", "a2"), "grant", "advertising")
    pipeline.send(track(anonymousId="a2"))
    assert pipeline.send({**order, "messageId": "again"}) == [Outcome(State.NOT_PERMITTED, "no_unique_identifier")]
