"""A reviewer rejects a case with a reason: it is recorded, and comes back only when its evidence changes."""

from dataclasses import replace
from pathlib import Path

import pytest

from cdp.flows.context import Context
from cdp.flows.identity.accept import accept
from cdp.flows.identity.reject import list_rejected, reject
from cdp.flows.identity.review import Review, list_review
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from tests.flows.test_review import BO, GUEST, ODD, earlier, later, mailed
from tests.support.messages import identify, track
from tests.support.people import SHOP, WEB
from tests.support.pipeline import Pipeline, open_pipeline
from tests.support.policies import changed, documents_of, permit_all
from tests.support.requests import RequestPipeline, open_request_pipeline

pytestmark = pytest.mark.postgres


@pytest.fixture
def rights(database: Database, tmp_path: Path) -> RequestPipeline:
    return open_request_pipeline(database, earlier(), tmp_path)


@pytest.fixture
def pipeline(rights: RequestPipeline) -> Pipeline:
    return rights.pipeline


@pytest.fixture
def today(pipeline: Pipeline) -> Context:
    """The same store under the rules of today."""
    return replace(pipeline.context, policy=later())


def listed(context: Context, limit: int = 100) -> Review:
    return list_review(context, limit=limit, actor="privacy")


def test_a_rejected_value_is_not_listed_again_and_changes_nothing(pipeline: Pipeline, today: Context) -> None:
    pipeline.send(mailed(ODD, userId="u1"), mailed(BO, userId="u2"), track(anonymousId=GUEST[1]))
    before = pipeline.partition()
    (odd,) = (case for case in listed(today).reread if case.value == ODD)
    reject(today, odd.identifier, reason="different_people", actor="operator")
    assert [case.value for case in listed(today).reread] == [GUEST[1]]
    assert listed(today).reread_total == 1
    assert pipeline.partition() == before
    (rejected,) = list_rejected(today, limit=10, actor="operator").rejected
    assert (rejected.case, rejected.kind, rejected.value) == (odd.identifier, "reread", ODD)
    assert rejected.reason == "different_people"
    facts = pipeline.context.database
    with facts.transaction(read_only=True) as tx:
        ((body,),) = tx.execute("SELECT body FROM audit.fact WHERE kind = 'identity.case_rejected'")
    assert (body["actor"], body["reason"], body["rule"]) == ("operator", "different_people", "reread")


def test_a_rejected_value_comes_back_when_it_reads_differently(pipeline: Pipeline, today: Context) -> None:
    pipeline.send(mailed(ODD, userId="u1"))
    (odd,) = listed(today).reread
    reject(today, odd.identifier, reason="correct_as_stored", actor="operator")
    assert listed(today).reread_total == 0
    blocked = documents_of(later())["identifiers.yaml"]["blocked"]
    stricter = changed(later(), "identifiers.yaml", blocked=blocked | {"values": [*blocked["values"], BO]})
    (again,) = listed(replace(today, policy=stricter)).reread
    assert (again.identifier, again.reads_as, again.reason) == (odd.identifier, None, "blocked")


def test_a_rejected_value_comes_back_when_somebody_has_the_value_that_it_means(
    pipeline: Pipeline, today: Context
) -> None:
    pipeline.send(mailed(ODD, userId="u1"))
    (odd,) = listed(today).reread
    reject(today, odd.identifier, reason="correct_as_stored", actor="operator")
    assert listed(today).reread_total == 0
    pipeline.send(mailed(BO, userId="u2"))
    (again,) = listed(today).reread
    assert again.identifier == odd.identifier
    assert again.other_profile is not None


def test_a_rejected_case_can_still_be_accepted(pipeline: Pipeline, today: Context) -> None:
    pipeline.send(mailed(ODD), mailed(BO))
    (odd,) = listed(today).reread
    reject(today, odd.identifier, reason="different_people", actor="operator")
    accept(today, odd.identifier, dry_run=False)
    assert list_rejected(today, limit=10, actor="operator").rejected == ()
    assert pipeline.partition() == {frozenset({("email", BO)})}


def test_a_rejected_claim_comes_back_with_a_new_claim(database: Database, tmp_path: Path) -> None:
    pipeline = open_pipeline(database, permit_all(), tmp_path)
    pipeline.send(identify(userId="ada", traits={"email": "ada@example.com"}), source=SHOP)
    pipeline.send(identify(userId="mallory", traits={"email": "ada@example.com"}), source=WEB)
    (claim,) = listed(pipeline.context).left_out
    reject(pipeline.context, claim.case, reason="unproven", actor="operator")
    found = listed(pipeline.context)
    assert (found.left_out_total, found.left_out) == (0, ())
    (rejected,) = list_rejected(pipeline.context, limit=10, actor="operator").rejected
    assert (rejected.case, rejected.kind, rejected.value) == (claim.case, "left_out", "ada@example.com")
    pipeline.send(identify(userId="trudy", traits={"email": "ada@example.com"}), source=WEB)
    (again,) = listed(pipeline.context).left_out
    assert (again.case, again.words) == (claim.case, 1)


def test_what_is_no_case_cannot_be_rejected(pipeline: Pipeline, today: Context) -> None:
    pipeline.send(mailed("al@x.example", userId="u1"))
    for case in ("idn_0000000000001", "clm_0000000000001", "prf_0000000000001", "nothing"):
        with pytest.raises(Fault, match="unknown_case"):
            reject(today, case, reason="unproven", actor="operator")
    with pytest.raises(Fault, match="invalid_reason"):
        reject(today, "idn_0000000000001", reason="because", actor="operator")


def test_an_erasure_ends_the_record_of_a_rejection(rights: RequestPipeline, today: Context) -> None:
    pipeline = rights.pipeline
    pipeline.send(mailed(ODD, userId="u1"))
    (odd,) = listed(today).reread
    reject(today, odd.identifier, reason="correct_as_stored", actor="operator")
    assert pipeline.one("SELECT count(*) FROM identity.rejected_case") == 1
    rights.erase(("user_id", "u1"))
    assert pipeline.one("SELECT count(*) FROM identity.rejected_case") == 0
