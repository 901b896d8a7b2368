"""An objection to legitimate interests that is weighed against compelling grounds (GDPR Art. 18(1)(d), 21(1) and (3))."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from cdp.accounting.model import State
from cdp.consent.model import Reason
from cdp.flows.consent.as_of import AsOf
from cdp.flows.consent.lookup import look_up
from cdp.flows.consent.withdrawal import clear_withdrawn
from cdp.flows.rights import requests
from cdp.flows.rights.replay import replay
from cdp.flows.rights.requests import RequestDetails
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from cdp.policy.model import Policy
from cdp.rights.lifecycle import StepRefusal
from cdp.rights.model import Request, Status
from tests.support.messages import identify, track
from tests.support.people import ADA_EMAIL
from tests.support.policies import changed, permit_all, shipped
from tests.support.requests import RequestPipeline, open_request_pipeline

pytestmark = pytest.mark.postgres

FRAUD, POST = "fraud_prevention", "post"


def with_interests() -> Policy:
    """A policy with two purposes on legitimate interests, of which one is direct marketing, and nothing else."""
    policy = permit_all()
    purposes = json.loads(json.dumps(policy.documents["purposes.yaml"]))["purposes"]
    basis = {
        "text": "For the test.",
        "legal_basis": "legitimate_interests",
        "assessment": "LIA-1",
        "categories": purposes["analytics"]["categories"],
        "data_use": "essential.service",
    }
    purposes |= {
        FRAUD: {"name": "Preventing fraud", **basis},
        POST: {"name": "Letters with offers", "direct_marketing": True, **basis},
    }
    return changed(policy, "purposes.yaml", purposes=purposes)


@pytest.fixture
def rights(database: Database, tmp_path: Path) -> RequestPipeline:
    rights = open_request_pipeline(database, with_interests(), tmp_path)
    rights.pipeline.send(identify(userId="ada", traits={"email": "ada@example.com"}), track(userId="ada"))
    rights.later(hours=1)
    return rights


def weigh(rights: RequestPipeline, *purposes: str) -> Request:
    return requests.open_request(
        rights.context,
        kind="objection",
        regime="gdpr",
        identifiers=[ADA_EMAIL],
        now=rights.pipeline.clock.now(),
        details=RequestDetails(purposes=purposes, is_weighed=True),
    )


def reasons(rights: RequestPipeline, as_of: AsOf | None = None) -> dict[str, Reason]:
    found = look_up(rights.context, ADA_EMAIL, rights.pipeline.clock.now(), actor="privacy", as_of=as_of)
    return {key: verdict.reason for key, verdict in found.verdicts.items()}


def stored_for(rights: RequestPipeline, purpose: str) -> int:
    """How many events are stored for a purpose."""
    return int(
        rights.pipeline.one(
            "SELECT count(*) FROM behavior.event WHERE bits & (SELECT 1::bigint << bit FROM consent.purpose "
            f"WHERE purpose = '{purpose}') <> 0"
        )
    )


def test_meanwhile_the_purpose_is_restricted_and_nothing_is_cleared(rights: RequestPipeline) -> None:
    before = stored_for(rights, FRAUD)
    request = weigh(rights)
    assert (request.status, set(request.weighed)) == (Status.IN_PROGRESS, {FRAUD, "analytics"})
    assert request.due_at > request.received_at + timedelta(days=27), "the answer is due in a month"
    found = reasons(rights)
    assert found[FRAUD] is Reason.RESTRICTED
    assert found[POST] is Reason.OBJECTED, "direct marketing ends at once"
    assert found["email_marketing"] is not Reason.RESTRICTED, "consent is not objected to"
    clear_withdrawn(rights.context)
    assert stored_for(rights, FRAUD) == before, "what is stored stays stored"
    assert rights.pipeline.send(track(userId="ada"))[0].state is State.NOT_PERMITTED
    assert stored_for(rights, FRAUD) == before, "nothing is stored for it"


def test_an_objection_that_is_upheld_is_in_force_and_clears(rights: RequestPipeline) -> None:
    request = weigh(rights)
    rights.later(days=3)
    done = requests.run(rights.context, request.request_id, rights.pipeline.clock.now()).request
    assert done.status is Status.FULFILLED
    assert reasons(rights)[FRAUD] is Reason.OBJECTED
    clear_withdrawn(rights.context)
    assert stored_for(rights, FRAUD) == 0
    rights.sequence()
    assert requests.receipt(rights.context, request.request_id)["body"]["purposes"] == ["analytics", FRAUD]


def test_an_objection_that_is_overridden_is_denied_with_reason_authority_and_remedy(rights: RequestPipeline) -> None:
    before = stored_for(rights, FRAUD)
    request = weigh(rights, FRAUD)
    weighing_at = rights.pipeline.clock.now() + timedelta(days=1)
    rights.later(days=3)
    now = rights.pipeline.clock.now()
    with pytest.raises(Fault, match="not_informed"):
        requests.deny(rights.context, request.request_id, "overriding_interests", now=now)
    assert reasons(rights)[FRAUD] is Reason.RESTRICTED
    requests.deny(rights.context, request.request_id, "overriding_interests", now=now, is_informed=True)
    notice = requests.show(rights.context, request.request_id).denial
    assert notice is not None
    assert "Preventing fraud" in notice.reason
    assert "21(1)" in notice.reason
    assert notice.authority
    assert notice.remedy
    assert reasons(rights)[FRAUD] is Reason.LEGAL_BASIS
    assert reasons(rights)[POST] is Reason.LEGAL_BASIS, "it was not named"
    assert stored_for(rights, FRAUD) == before
    assert reasons(rights, AsOf(weighing_at))[FRAUD] is Reason.RESTRICTED
    assert rights.pipeline.one("SELECT count(*) FROM rights.request_identifier") == 0


def test_an_objection_that_is_withdrawn_ends_the_restriction(rights: RequestPipeline) -> None:
    request = weigh(rights, FRAUD)
    rights.later(days=3)
    requests.withdraw(rights.context, request.request_id, rights.pipeline.clock.now())
    assert reasons(rights)[FRAUD] is Reason.LEGAL_BASIS


@pytest.mark.parametrize("purpose", [POST, "email_marketing", "service"])
def test_direct_marketing_and_consent_are_never_weighed(rights: RequestPipeline, purpose: str) -> None:
    with pytest.raises(Fault, match="never_weighed"):
        weigh(rights, purpose)
    assert rights.pipeline.one("SELECT count(*) FROM rights.request") == 0


def test_a_purpose_that_the_policy_does_not_declare_is_unknown(rights: RequestPipeline) -> None:
    with pytest.raises(Fault, match="unknown_purpose"):
        weigh(rights, "shoes")
    assert rights.pipeline.one("SELECT count(*) FROM rights.request") == 0


def test_interests_override_no_other_request(rights: RequestPipeline) -> None:
    request = rights.ask("erasure", ADA_EMAIL)
    with pytest.raises(Fault, match=f"request_{StepRefusal.NOT_WEIGHED}"):
        requests.deny(
            rights.context,
            request.request_id,
            "overriding_interests",
            now=rights.pipeline.clock.now(),
            is_informed=True,
        )


def test_a_policy_without_such_purposes_weighs_nothing(database: Database, tmp_path: Path) -> None:
    rights = open_request_pipeline(database, shipped(), tmp_path)
    with pytest.raises(Fault, match="nothing_to_weigh"):
        weigh(rights)


def test_a_restored_copy_keeps_the_restriction(rights: RequestPipeline) -> None:
    weigh(rights, FRAUD)
    with rights.context.database.transaction() as tx:
        tx.execute("DELETE FROM consent.record WHERE act = 'restrict'")
        tx.execute("UPDATE rights.replay SET number = 0, digest = ''")
    replay(rights.context, rights.pipeline.clock.now())
    assert reasons(rights)[FRAUD] is Reason.RESTRICTED


def test_the_deadline_can_be_extended(rights: RequestPipeline) -> None:
    request = weigh(rights, FRAUD)
    extended = requests.extend(rights.context, request.request_id, rights.pipeline.clock.now())
    assert extended.due_at > request.due_at
