"""What was stored under earlier rules is listed for review, and accepting a case gives what a fresh ingest would."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cdp.flows.audit.act_check import check_acts
from cdp.flows.consent.acts import ConsentStatement, record
from cdp.flows.consent.lookup import look_up
from cdp.flows.context import Context
from cdp.flows.identity.accept import accept
from cdp.flows.identity.review import RereadList, list_reread
from cdp.flows.identity.simulate import simulate
from cdp.flows.identity.unmerge import rebuild
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from cdp.kit.ids import encode_id
from cdp.policy.model import Policy
from cdp.postgres.server import EmbeddedPostgres
from tests.generative.test_identity_batches import check_map
from tests.support.databases import temporary_database
from tests.support.messages import identify, order, track
from tests.support.people import NOON
from tests.support.pipeline import Pipeline
from tests.support.policies import changed, documents_of, permit_all
from tests.support.requests import RequestPipeline, open_request_pipeline

pytestmark = pytest.mark.postgres

BO, ODD = "bo@x.example", "mailto:bo@x.example"
GUEST = ("anonymous_id", "guest")
BLOCKED = [value for value in documents_of(permit_all())["identifiers.yaml"]["blocked"]["values"] if value != "guest"]


def earlier() -> Policy:
    """Rules that took addresses and customer numbers as they were sent, and `guest` for an identifier."""
    types = documents_of(permit_all())["identifiers.yaml"]["types"]
    types["email"] |= {"normalizer": "id"}
    blocked = documents_of(permit_all())["identifiers.yaml"]["blocked"] | {"values": BLOCKED}
    return changed(permit_all(), "identifiers.yaml", types={"email": types["email"]}, blocked=blocked)


def later() -> Policy:
    """The rules of today, under which a customer number is the same in upper and lower case."""
    types = documents_of(permit_all())["identifiers.yaml"]["types"]
    return changed(
        permit_all(), "identifiers.yaml", types={"user_id": types["user_id"] | {"normalizer": "advertising_id"}}
    )


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


def listed(today: Context, limit: int = 100) -> RereadList:
    return list_reread(today, limit=limit, actor="operator")


def accept_all(today: Context) -> None:
    """Accepting one case can end the sharing of another value, which is a new case then."""
    for _ in range(3):
        for case in listed(today).reread:
            accept(today, case.identifier, dry_run=False)
    assert listed(today).reread_total == 0


def mailed(address: str, **fields: Any) -> dict[str, Any]:
    return identify(traits={"email": address}, **fields)


def test_what_reads_differently_is_listed_with_whom_it_concerns(pipeline: Pipeline, today: Context) -> None:
    pipeline.send(mailed(ODD, userId="u1"), mailed(BO, userId="u2"), mailed("x.example", anonymousId="a1"))
    pipeline.send(track(anonymousId="guest", context={"traits": {"email": "cy@x.example."}}))
    found = listed(today)
    assert {(case.type, case.value, case.reads_as, case.reason) for case in found.reread} == {
        ("email", ODD, BO, None),
        ("email", "x.example", None, "malformed"),
        ("email", "cy@x.example.", "cy@x.example", None),
        ("anonymous_id", "guest", None, "blocked"),
    }
    assert found.reread_total == 4
    (split,) = (case for case in found.reread if case.value == ODD)
    assert (split.identifiers, split.profile == split.other_profile) == (2, False)
    assert split.other_profile is not None
    assert len(listed(today, limit=2).reread) == 2
    assert pipeline.one("SELECT count(*) FROM audit.fact WHERE body->>'read' = 'identifiers'") >= 2
    assert list_reread(pipeline.context, limit=10, actor="operator").reread == ()


def test_two_spellings_become_one_person_whom_every_request_reaches(rights: RequestPipeline, today: Context) -> None:
    pipeline = rights.pipeline
    pipeline.send(
        mailed(ODD), order(context={"traits": {"email": BO}}, properties={"revenue": 5}), mailed("al@x.example")
    )
    record(pipeline.context, ConsentStatement(("email", ODD), "email_marketing", "withdraw"))
    (case,) = listed(today).reread
    preview = accept(today, case.identifier, dry_run=True)
    assert (len(preview.before), len(preview.after), preview.reads_as) == (2, 1, BO)
    assert [case.identifier] == [again.identifier for again in listed(today).reread]
    done = accept(today, case.identifier, dry_run=False)
    assert (done.after, done.is_dry_run) == (preview.after, False)
    assert listed(today).reread_total == 0
    assert pipeline.partition() == {frozenset({("email", BO)}), frozenset({("email", "al@x.example")})}
    found = look_up(today, ("email", BO), now=NOON, actor="privacy")
    assert [stated["act"] for stated in found.records] == ["withdraw"]
    check_map(pipeline)
    replace(rights, context=today).erase(("email", BO))
    assert pipeline.partition() == {frozenset({("email", "al@x.example")})}
    assert pipeline.one("SELECT count(*) FROM behavior.event") == 1


@pytest.mark.parametrize("stated", [(BO,), (ODD,), (BO, ODD), ()])
def test_the_acts_about_both_spellings_stay_in_the_ledger(
    rights: RequestPipeline, today: Context, stated: tuple[str, ...]
) -> None:
    rights.pipeline.send(mailed(ODD), mailed(BO))
    purposes = ("email_marketing", "personalization")
    for address, purpose in zip(stated, purposes, strict=False):
        record(rights.context, ConsentStatement(("email", address), purpose, "withdraw"))
    accept_all(today)
    found = look_up(today, ("email", BO), now=NOON, actor="privacy")
    assert {(act["purpose"], act["act"]) for act in found.records} == {
        (purpose, "withdraw") for purpose in purposes[: len(stated)]
    }
    rights.sequence()
    with today.database.transaction(read_only=True) as tx:
        assert check_acts(tx).wrong is None
    check_map(rights.pipeline)


def test_two_spellings_of_a_customer_number_become_one(pipeline: Pipeline, today: Context) -> None:
    """Although two values of a unique type would never be linked."""
    pipeline.send(track(userId="A-17", anonymousId="d1"), track(userId="a-17", anonymousId="d2"))
    accept_all(today)
    assert pipeline.partition() == {frozenset({("user_id", "a-17"), ("anonymous_id", "d1"), ("anonymous_id", "d2")})}
    check_map(pipeline)


def test_people_whom_a_placeholder_joined_are_separated_for_good(pipeline: Pipeline, today: Context) -> None:
    pipeline.send(*(mailed(f"p{at}@x.example", anonymousId="guest") for at in range(3)), track(anonymousId="guest"))
    assert len(pipeline.partition()) == 1
    accept_all(today)
    alone = {frozenset({("email", f"p{at}@x.example")}) for at in range(3)} | {frozenset({GUEST})}
    assert pipeline.partition() == alone
    assert simulate(today, today.policy).split == 0
    rebuild(today)
    assert pipeline.partition() == alone
    pipeline.send(mailed("p9@x.example", anonymousId="guest"))
    assert pipeline.partition() == alone | {frozenset({("email", "p9@x.example")})}


def test_what_is_not_a_case_is_refused(pipeline: Pipeline, today: Context) -> None:
    pipeline.send(mailed(ODD))
    (case,) = listed(today).reread
    accept(today, case.identifier, dry_run=False)
    for name in ("idn_0000000000001", "nonsense"):
        with pytest.raises(Fault) as refused:
            accept(today, name, dry_run=False)
        assert refused.value.code == "unknown_case"
    (remaining,) = (identifier_id for identifier_id in _ids(pipeline))
    with pytest.raises(Fault) as refused:
        accept(today, remaining, dry_run=False)
    assert refused.value.code == "nothing_to_review"


def _ids(pipeline: Pipeline) -> list[str]:
    with pipeline.context.database.transaction(read_only=True) as tx:
        return [encode_id("idn", number) for (number,) in tx.execute("SELECT identifier_id FROM identity.identifier")]


@pytest.mark.parametrize("seed", range(4))
def test_accepting_everything_gives_what_a_fresh_ingest_gives(
    database: Database, server: EmbeddedPostgres, template: str, tmp_path: Path, seed: int
) -> None:
    drawn = random.Random(seed)
    addresses = [BO, ODD, "Bo <bo@x.example>", "cy@x.example", "cy@x.example.", "two@x.example;three@x.example"]
    bodies = [
        {
            **track(),
            **({"userId": drawn.choice(["A-1", "a-1", "B-2", "b-2"])} if drawn.random() < 0.5 else {}),
            "anonymousId": drawn.choice(["guest", "d1", "d2", "d3"]),
            "context": {"traits": {"email": drawn.choice(addresses)}} if drawn.random() < 0.7 else {},
        }
        for _ in range(12)
    ]
    stored = open_request_pipeline(database, earlier(), tmp_path / "stored").pipeline
    stored.send_each(bodies)
    accept_all(replace(stored.context, policy=later()))
    check_map(stored)
    with temporary_database(server, template) as url:
        other = Database(url)
        try:
            fresh = open_request_pipeline(other, later(), tmp_path / "fresh").pipeline
            fresh.send_each(bodies)
            assert stored.partition() - {frozenset({GUEST})} == fresh.partition()
        finally:
            other.close()
