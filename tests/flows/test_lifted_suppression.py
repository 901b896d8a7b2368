"""A person who was erased comes back: refused until they lift the suppression, and nothing from before returns."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cdp.accounting.model import State
from cdp.flows.consent import acts
from cdp.flows.consent.acts import ConsentStatement
from cdp.flows.rights.replay import replay
from cdp.flows.rights.suppression import lift_suppression
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from tests.flows.test_replay import Copy
from tests.support.messages import order, page
from tests.support.policies import shipped
from tests.support.requests import RequestPipeline, open_request_pipeline

pytestmark = pytest.mark.postgres

EMAIL = ("email", "cb@example.org")
CASES = Path(__file__).parents[1] / "data" / "cases" / "coming_back"
FIRST = json.loads((CASES / "first.json").read_text())["batch"]
AGAIN = json.loads((CASES / "again.json").read_text())["batch"]


@pytest.fixture
def rights(database: Database, tmp_path: Path) -> RequestPipeline:
    """A store from which the person was erased months ago."""
    rights = open_request_pipeline(database, shipped(), tmp_path)
    sent = rights.pipeline.send(*FIRST)
    assert [outcome.state for outcome in sent] == [State.STORED, State.STORED]
    rights.erase(EMAIL, ("user_id", "cb1"))
    rights.later(days=90)
    return rights


def lift(rights: RequestPipeline, *identifiers: tuple[str, str]) -> int:
    now = rights.pipeline.clock.now()
    return lift_suppression(rights.context, identifiers or [EMAIL], is_verified=True, now=now)


def grant(rights: RequestPipeline, **more: Any) -> None:
    statement = ConsentStatement(EMAIL, "email_marketing", "grant", "authenticated", "eu", **more)
    acts.record(rights.context, statement)


def test_until_somebody_acts_they_are_refused(rights: RequestPipeline) -> None:
    assert {outcome.state for outcome in rights.pipeline.send(*AGAIN)} == {State.SUPPRESSED}
    with pytest.raises(Fault, match="identifier_suppressed"):
        grant(rights)


def test_after_the_act_the_new_order_and_the_consent_count_and_nothing_from_before(rights: RequestPipeline) -> None:
    rights.pipeline.send(*AGAIN)
    rights.later(minutes=1)
    assert lift(rights) == 1
    rights.later(minutes=1)
    grant(rights)
    assert [outcome.state for outcome in rights.pipeline.send(*AGAIN)] == [State.STORED]
    assert rights.pipeline.one("SELECT count(*) FROM behavior.event") == 1
    assert rights.pipeline.one("SELECT count(*) FROM consent.permitted WHERE purpose = 'email_marketing'") == 1
    assert rights.pipeline.one("SELECT count(*) FROM audit.fact WHERE body::text LIKE '%suppression.lifted%'") == 1
    # A message that occurred before comes late, also once the person is known and cached.
    before = (rights.pipeline.clock.now() - timedelta(minutes=2)).isoformat()
    for number in range(3):
        known = order(userId="cb77", messageId=f"n{number}", context={"traits": {"email": EMAIL[1]}})
        late = order(userId="cb77", messageId=f"l{number}", timestamp=before, context={"traits": {"email": EMAIL[1]}})
        states = [rights.pipeline.send(body)[0].state for body in (known, late)]
        assert states == [State.STORED, State.SUPPRESSED]


def test_a_consent_from_before_does_not_count_and_a_refusal_does(rights: RequestPipeline) -> None:
    lift(rights)
    before = rights.pipeline.clock.now() - timedelta(days=100)
    rights.later(minutes=1)
    with pytest.raises(Fault, match="identifier_suppressed"):
        grant(rights, occurred_at=before)
    statement = ConsentStatement(EMAIL, "email_marketing", "object", "authenticated", "eu", occurred_at=before)
    acts.record(rights.context, statement)


def test_only_the_named_identifiers_of_a_verified_person_are_lifted(rights: RequestPipeline) -> None:
    now = rights.pipeline.clock.now()
    with pytest.raises(Fault, match="person_not_verified"):
        lift_suppression(rights.context, [EMAIL], is_verified=False, now=now)
    with pytest.raises(Fault, match="not_suppressed"):
        lift(rights, ("email", "zoe@example.org"))
    lift(rights)
    rights.later(minutes=1)
    assert rights.pipeline.send(page(userId="cb1"))[0].state is State.SUPPRESSED


def test_a_later_erasure_suppresses_again(rights: RequestPipeline) -> None:
    lift(rights)
    rights.later(minutes=1)
    rights.pipeline.send(*AGAIN)
    rights.erase(EMAIL)
    rights.later(minutes=1)
    assert {outcome.state for outcome in rights.pipeline.send(*AGAIN)} == {State.SUPPRESSED}


def test_a_restored_database_knows_that_it_was_lifted(rights: RequestPipeline) -> None:
    copy = Copy(rights)
    lift(rights)
    rights.later(minutes=1)
    copy.restore()
    assert {outcome.state for outcome in rights.pipeline.send(*AGAIN)} == {State.SUPPRESSED}
    replay(rights.context, rights.pipeline.clock.now())
    assert [outcome.state for outcome in rights.pipeline.send(*AGAIN)] == [State.STORED]
