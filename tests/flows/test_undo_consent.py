"""What an unmerge means for consent, and what a refused message may not teach."""

from pathlib import Path
from typing import Any

import pytest

from cdp.accounting.model import Outcome, State
from cdp.flows.consent import acts, withdrawal
from cdp.flows.consent.acts import ConsentStatement
from cdp.flows.identity.unmerge import unmerge
from cdp.identity.model import Identifier
from cdp.kit.db import Database
from tests.generative.test_identity_batches import check_map
from tests.generative.test_identity_undo import check_covered, check_derived
from tests.support.pipeline import SHOP, WEB
from tests.support.policies import shipped
from tests.support.requests import RequestPipeline, open_request_pipeline

pytestmark = pytest.mark.postgres
U1, U2, A1 = ("user_id", "u1"), ("user_id", "u2"), ("anonymous_id", "a1")


@pytest.fixture
def office(database: Database, tmp_path: Path) -> RequestPipeline:
    return open_request_pipeline(database, shipped(), tmp_path)


def view(**fields: Any) -> dict[str, Any]:
    return {"type": "track", "event": "Product Viewed", **fields}


def say(office: RequestPipeline, identifier: tuple[str, str], act: str, purpose: str = "analytics") -> None:
    office.later(minutes=1)
    told = ConsentStatement(identifier, purpose, act, authority="authenticated", jurisdiction="eu")
    acts.record(office.context, told, office.pipeline.clock.now())
    office.later(minutes=1)


def clear(office: RequestPipeline) -> withdrawal.ClearedWithdrawals:
    return withdrawal.clear_withdrawn(office.context, office.pipeline.clock.now())


def test_what_was_stored_by_the_consent_of_somebody_else_goes_with_the_unmerge(office: RequestPipeline) -> None:
    town = office.pipeline
    say(office, U1, "grant")
    town.send(view(userId="u1"), view(userId="u1", anonymousId="a1"))
    age = {"context": {"traits": {"age": 40}}}
    assert town.send(view(anonymousId="a1", **age))[0].state is State.STORED
    assert unmerge(town.context, Identifier(*U1), Identifier(*A1), dry_run=True).erased_events == 1
    assert town.one("SELECT count(*) FROM behavior.event") == 3
    assert unmerge(town.context, Identifier(*U1), Identifier(*A1), dry_run=False).erased_events == 1
    assert town.one("SELECT count(*) FROM behavior.event") == 2
    assert town.one("SELECT count(*) FROM behavior.trait") == 0
    check_covered(office)


def test_what_a_shared_device_did_by_the_consent_of_one_goes_once_it_is_known(office: RequestPipeline) -> None:
    town = office.pipeline
    say(office, U1, "grant")
    say(office, U2, "grant")
    town.send(view(userId="u1", anonymousId="a1"), view(anonymousId="a1"))
    assert town.send(view(userId="u2", anonymousId="a1"))[0].state is State.STORED
    assert town.partition() == {frozenset({U1}), frozenset({U2}), frozenset({A1})}
    assert clear(office).events_deleted == 1
    check_covered(office)


def test_what_both_sides_permit_is_kept(office: RequestPipeline) -> None:
    town = office.pipeline
    say(office, U1, "grant")
    say(office, A1, "grant")
    town.send(view(userId="u1", anonymousId="a1"))
    town.send(view(anonymousId="a1"))
    unmerge(town.context, Identifier(*U1), Identifier(*A1), dry_run=False)
    assert clear(office).withdrawals == 0
    assert town.one("SELECT count(*) FROM behavior.event") == 2


def test_a_withdrawal_that_was_waiting_finds_the_events_on_either_side(office: RequestPipeline) -> None:
    town = office.pipeline
    say(office, A1, "grant")
    town.send(view(userId="u1", anonymousId="a1"), view(userId="u1"), view(anonymousId="a1"))
    say(office, A1, "withdraw")
    unmerge(town.context, Identifier(*U1), Identifier(*A1), dry_run=False)
    clear(office)
    assert town.one("SELECT count(*) FROM behavior.event") == 0
    check_covered(office)


def test_a_message_that_is_refused_for_what_it_would_teach_teaches_nothing(office: RequestPipeline) -> None:
    """Only if the device is shared does its no count for u2; but then the message is refused, and proves nothing."""
    town = office.pipeline
    say(office, U1, "grant")
    say(office, U2, "grant")
    town.send(view(userId="u1", anonymousId="a1"))
    no = {"context": {"consent": {"categoryPreferences": {"analytics": False}}}}
    assert town.send(view(anonymousId="a1", **no), source=WEB)[0].state is State.NOT_PERMITTED
    office.later(minutes=1)
    assert town.send(view(userId="u2", anonymousId="a1"), view(userId="u2"), source=SHOP) == [
        Outcome(State.NOT_PERMITTED, "refused"),
        Outcome(State.STORED, ""),
    ]
    assert town.one("SELECT count(*) FROM identity.identifier WHERE is_shared") == 0
    assert town.partition() == {frozenset({U1, A1}), frozenset({U2})}
    check_map(town)
    check_derived(town)


def test_a_forgotten_age_is_forgotten_in_the_verdicts_too(office: RequestPipeline) -> None:
    town = office.pipeline
    say(office, U1, "grant")
    say(office, U1, "grant", "email_marketing")
    town.send(view(userId="u1", context={"traits": {"age": 12}}))
    assert town.one("SELECT reason FROM consent.refused WHERE purpose = 'email_marketing'") == "too_young"
    say(office, U1, "withdraw")
    clear(office)
    assert town.one("SELECT count(*) FROM consent.refused WHERE purpose = 'email_marketing'") == 0
    check_derived(town)


def test_a_permission_that_ends_within_the_batch_that_began_it_leaves_nothing(office: RequestPipeline) -> None:
    town = office.pipeline
    yes = {"context": {"consent": {"categoryPreferences": {"analytics": True}}}}
    no = {"context": {"consent": {"categoryPreferences": {"analytics": False}}}}
    states = [
        each.state
        for each in town.send(
            view(anonymousId="a1", messageId="1", **yes),
            view(anonymousId="a2", messageId="2", **yes),
            view(anonymousId="a2", messageId="3", **no),
        )
    ]
    assert states == [State.STORED, State.STORED, State.NOT_PERMITTED]
    check_derived(town)
    assert clear(office).events_deleted == 1
    check_covered(office)


@pytest.mark.parametrize("is_batch", [True, False])
def test_what_a_message_proves_does_not_change_what_was_decided_before_it(
    office: RequestPipeline, *, is_batch: bool
) -> None:
    """The visit was permitted by u1, whose device it was until u2 came; then it goes, in one batch as in two."""
    town = office.pipeline
    say(office, U1, "grant")
    say(office, U2, "grant")
    town.send(view(userId="u1", anonymousId="a1"))
    office.later(minutes=1)
    bodies = [view(anonymousId="a1", messageId="1"), view(userId="u2", anonymousId="a1", messageId="2")]
    outcomes = town.send(*bodies) if is_batch else town.send_each(bodies)
    assert [each.state for each in outcomes] == [State.STORED, State.STORED]
    assert town.partition() == {frozenset({U1}), frozenset({U2}), frozenset({A1})}
    check_derived(town)
    assert clear(office).events_deleted == 1
    check_covered(office)


def test_the_reason_of_a_refusal_does_not_hang_on_whether_somebody_looked(office: RequestPipeline) -> None:
    town = office.pipeline
    order = {"type": "track", "event": "Order Completed", "anonymousId": "a2"}
    assert town.send(order) == [Outcome(State.NOT_PERMITTED, "no_unique_identifier")]
    say(office, ("anonymous_id", "a2"), "grant", "advertising")
    town.send(view(anonymousId="a2"))
    assert town.send({**order, "messageId": "again"}) == [Outcome(State.NOT_PERMITTED, "no_unique_identifier")]
