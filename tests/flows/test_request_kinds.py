"""Every kind of request, under every regime, ends in *fulfilled*, and what it asked for holds in the store."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cdp.accounting.model import Outcome, State
from cdp.consent.model import Reason
from cdp.flows.consent.verdicts import current_verdicts
from cdp.flows.consent.withdrawal import clear_withdrawn
from cdp.flows.identity.lookup import look_up
from cdp.flows.rights import requests
from cdp.flows.rights.erase import preview
from cdp.flows.rights.kinds import FLOWS
from cdp.flows.rights.requests import RequestDetails
from cdp.flows.rights.restrict import release
from cdp.identity.model import Identifier
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from cdp.policy.jurisdictions import Right
from cdp.rights.model import Request, Status, Verb
from cdp.sources.model import Source
from tests.support.controllers import with_controller
from tests.support.messages import consent_context, identify, order, track
from tests.support.people import ADA_EMAIL, SHOP
from tests.support.policies import shipped
from tests.support.requests import RequestPipeline, open_request_pipeline

pytestmark = pytest.mark.postgres

KINDS = [(kind, key) for key, regime in shipped().jurisdictions.regimes.items() for kind in regime.rights]
GRANTED = consent_context(analytics=True, personalization=True, email_marketing=True, advertising=True)
DETAILS = {Right.RECTIFICATION: RequestDetails(values={"country": "FR", "city": "Lyon"})}


@pytest.fixture
def rights(database: Database, tmp_path: Path) -> RequestPipeline:
    """A store in which Ada gave every consent and was seen."""
    rights = open_request_pipeline(database, shipped(), tmp_path)
    traits = {"email": "ada@example.com", "country": "DE", "city": "Berlin", "age": 36}
    rights.pipeline.send(identify(userId="ada", traits=traits, context=GRANTED), source=source_of(rights, "gdpr"))
    rights.pipeline.send(track(userId="ada"), order(userId="ada", properties={"order_id": "1", "revenue": 10}))
    return rights


def source_of(rights: RequestPipeline, regime: str) -> Source:
    return replace(SHOP, jurisdiction="eu" if regime == "gdpr" else "us-ca")


def open_(rights: RequestPipeline, kind: str, regime: str = "gdpr", details: RequestDetails | None = None) -> Request:
    return requests.open_request(
        rights.context,
        kind=kind,
        regime=regime,
        identifiers=[ADA_EMAIL],
        now=rights.pipeline.clock.now(),
        details=details,
    )


def fulfill(
    rights: RequestPipeline, kind: Right, regime: str = "gdpr", details: RequestDetails | None = None
) -> Request:
    request = open_(rights, kind.value, regime, details or DETAILS.get(kind))
    if request.status is Status.RECEIVED:
        requests.verify(rights.context, request.request_id, rights.pipeline.clock.now())
        request = requests.run(rights.context, request.request_id, rights.pipeline.clock.now()).request
    assert request.status is Status.FULFILLED
    return request


def verdicts(rights: RequestPipeline) -> dict[str, Reason]:
    """The verdicts of Ada's profile, by the rules and as they are in force."""
    (profile_id,) = (key for key, named in rights.pipeline.people().items() if "ada" in named.get("user_id", ()))
    with rights.context.database.transaction(read_only=True) as tx:
        found = current_verdicts(tx, rights.context.policy, [profile_id], now=rights.pipeline.clock.now())[profile_id]
        in_force = {
            purpose
            for (purpose,) in tx.execute(
                "SELECT purpose FROM consent.permitted WHERE profile_id = %(id)s", {"id": profile_id}
            )
        }
    assert in_force == {key for key, verdict in found.items() if verdict.allowed}
    return {key: verdict.reason for key, verdict in found.items()}


def stored_traits(rights: RequestPipeline) -> dict[str, Any]:
    return dict(rights.opened(rights.ask("access", ADA_EMAIL))["data"])


def objected(rights: RequestPipeline) -> None:
    found = verdicts(rights)
    assert {key for key, reason in found.items() if reason is Reason.OBJECTED} == {"email_marketing", "advertising"}
    assert found["analytics"] is Reason.GRANTED


def opted_out(rights: RequestPipeline) -> None:
    found = verdicts(rights)
    assert found["advertising"] is Reason.OPTED_OUT
    assert found["email_marketing"] is Reason.GRANTED


def limited(rights: RequestPipeline) -> None:
    found = verdicts(rights)
    refused = {key for key, reason in found.items() if reason not in (Reason.GRANTED, Reason.LEGAL_BASIS)}
    assert refused == {"personalization", "email_marketing"}


def restricted(rights: RequestPipeline) -> None:
    assert set(verdicts(rights).values()) == {Reason.RESTRICTED}
    assert rights.pipeline.one("SELECT count(*) FROM behavior.event") == 3
    assert rights.pipeline.send(order(userId="ada")) == [Outcome(State.NOT_PERMITTED, "restricted")]


def erased(rights: RequestPipeline) -> None:
    assert rights.pipeline.people() == {}
    assert rights.pipeline.one("SELECT count(*) FROM behavior.event") == 0
    assert rights.pipeline.send(track(context={"traits": {"email": "ada@example.com"}}))[0].state is State.SUPPRESSED


def rectified(rights: RequestPipeline) -> None:
    traits = {row["name"]: row["value"] for row in stored_traits(rights)["behavior.trait"]}
    assert (traits["country"], traits["city"]) == ("FR", "Lyon")


def readable(rights: RequestPipeline) -> None:
    request = next(one for one in requests.listing(rights.context) if one.kind in (Right.ACCESS, Right.PORTABILITY))
    assert len(rights.opened(request)["data"]["behavior.event"]) == 3


HOLDS: Mapping[Right, Callable[[RequestPipeline], None]] = {
    Right.ACCESS: readable,
    Right.PORTABILITY: readable,
    Right.ERASURE: erased,
    Right.RECTIFICATION: rectified,
    Right.RESTRICTION: restricted,
    Right.OBJECTION: objected,
    Right.OPT_OUT: opted_out,
    Right.LIMIT: limited,
}


def test_every_right_has_a_flow() -> None:
    assert set(FLOWS) == set(Right) == set(HOLDS)


@pytest.mark.parametrize(("kind", "regime"), KINDS, ids=[f"{kind.value}-{regime}" for kind, regime in KINDS])
def test_each_kind_is_fulfilled_and_what_it_asked_for_holds(rights: RequestPipeline, kind: Right, regime: str) -> None:
    fulfill(rights, kind, regime)
    HOLDS[kind](rights)


class TestAtOnce:
    @pytest.mark.parametrize(("kind", "regime"), [("objection", "gdpr"), ("opt_out", "ccpa"), ("limit", "ccpa")])
    def test_it_needs_no_verification_and_is_in_force_when_it_is_answered(
        self, rights: RequestPipeline, kind: str, regime: str
    ) -> None:
        request = open_(rights, kind, regime)
        assert request.status is Status.FULFILLED
        assert request.verified_at is None
        HOLDS[Right(kind)](rights)
        assert requests.show(rights.context, request.request_id).identifiers == ()

    def test_it_concerns_the_purposes_that_it_names(self, rights: RequestPipeline) -> None:
        open_(rights, "objection", details=RequestDetails(purposes=["analytics"]))
        assert verdicts(rights)["analytics"] is Reason.OBJECTED
        assert verdicts(rights)["email_marketing"] is Reason.GRANTED

    @pytest.mark.parametrize(("purpose", "code"), [("service", "not_refusable"), ("shoes", "unknown_purpose")])
    def test_a_purpose_that_cannot_be_refused_is_not_recorded(
        self, rights: RequestPipeline, purpose: str, code: str
    ) -> None:
        with pytest.raises(Fault) as caught:
            open_(rights, "objection", details=RequestDetails(purposes=[purpose]))
        assert caught.value.code == code
        assert requests.listing(rights.context) == []

    def test_it_waits_for_a_person_who_is_not_known_yet(self, rights: RequestPipeline) -> None:
        requests.open_request(
            rights.context,
            kind="opt_out",
            regime="ccpa",
            identifiers=[("email", "cy@example.com")],
            now=rights.pipeline.clock.now(),
        )
        rights.later(minutes=1)
        (sent,) = rights.pipeline.send(
            identify(userId="cy", traits={"email": "cy@example.com"}), source=source_of(rights, "ccpa")
        )
        assert sent.state is State.STORED
        assert rights.pipeline.one("SELECT count(*) FROM consent.refused WHERE purpose = 'advertising'") == 1

    def test_one_received_by_an_earlier_release_is_carried_out(self, rights: RequestPipeline) -> None:
        request = open_(rights, "access")
        with rights.context.database.transaction() as tx:
            tx.execute("UPDATE rights.request SET kind = 'opt_out', regime = 'ccpa'")
        rights.later(days=60)
        counts = requests.sweep_requests(rights.context, rights.pipeline.clock.now())
        assert (counts["expired"], counts["carried_out"]) == (0, 1)
        assert requests.show(rights.context, request.request_id).request.status is Status.FULFILLED
        opted_out(rights)

    def test_a_suppressed_person_is_still_refused_once_the_suppression_ends(self, rights: RequestPipeline) -> None:
        fulfill(rights, Right.ERASURE)
        assert open_(rights, "opt_out", "ccpa").status is Status.FULFILLED
        with rights.context.database.transaction(read_only=True) as tx:
            rows = tx.execute("SELECT purpose FROM rights.suppression WHERE purpose <> ''")
        assert rows == [("advertising",)]


class TestRestriction:
    def test_no_consent_and_no_merge_ends_it(self, rights: RequestPipeline) -> None:
        fulfill(rights, Right.RESTRICTION)
        rights.later(minutes=1)
        sent = rights.pipeline.send(
            identify(userId="ada", anonymousId="phone", traits={"email": "ada@example.com"}, context=GRANTED),
            track(anonymousId="phone", context=GRANTED),
        )
        assert sent[0] == Outcome(State.NOT_PERMITTED, "restricted")
        assert set(verdicts(rights).values()) == {Reason.RESTRICTED}

    def test_its_end_brings_back_what_is_still_permitted(self, rights: RequestPipeline) -> None:
        fulfill(rights, Right.RESTRICTION)
        rights.later(days=3)
        clear_withdrawn(rights.context)
        assert rights.pipeline.one("SELECT count(*) FROM behavior.event") == 3
        open_(rights, "objection")
        with pytest.raises(Fault, match="not_informed"):
            release(rights.context, [ADA_EMAIL], is_informed=False, now=rights.pipeline.clock.now())
        released = release(rights.context, [ADA_EMAIL], is_informed=True, now=rights.pipeline.clock.now())
        assert released == 2
        objected(rights)
        with pytest.raises(Fault, match="not_restricted"):
            release(rights.context, [ADA_EMAIL], is_informed=True, now=rights.pipeline.clock.now())
        clear_withdrawn(rights.context)
        marketing = (
            "SELECT count(*) FROM behavior.event WHERE bits & (SELECT 1::bigint << bit FROM consent.purpose WHERE "
        )
        assert rights.pipeline.one(marketing + "purpose = 'email_marketing') <> 0") == 0
        assert rights.pipeline.one(marketing + "purpose = 'analytics') <> 0") > 0
        assert rights.pipeline.send(order(userId="ada"))[0].state is State.STORED

    def test_a_withdrawal_before_it_is_cleared_after_it(self, rights: RequestPipeline) -> None:
        open_(rights, "objection", details=RequestDetails(purposes=["analytics"]))
        fulfill(rights, Right.RESTRICTION)
        assert clear_withdrawn(rights.context).withdrawals == 0
        rights.later(minutes=1)
        release(rights.context, [ADA_EMAIL], is_informed=True, now=rights.pipeline.clock.now())
        assert clear_withdrawn(rights.context).withdrawals > 0


class TestRectification:
    @pytest.mark.parametrize(
        ("values", "code"),
        [
            ({}, "no_value"),
            ({"shoe_size": 43}, "unknown_trait"),
            ({"avatar": "a.png"}, "unknown_trait"),
            ({"age": "forty"}, "invalid_trait_value"),
            ({"city": None}, "invalid_trait_value"),
        ],
    )
    def test_what_cannot_be_corrected_is_refused(
        self, rights: RequestPipeline, values: dict[str, Any], code: str
    ) -> None:
        with pytest.raises(Fault) as caught:
            open_(rights, "rectification", details=RequestDetails(values=values))
        assert caught.value.code == code
        assert "forty" not in caught.value.detail

    def test_no_later_statement_overrides_it(self, rights: RequestPipeline) -> None:
        fulfill(rights, Right.RECTIFICATION)
        rights.later(days=1)
        wrong = {"email": "ada@example.com", "country": "DE", "city": "Berlin"}
        rights.pipeline.send(
            identify(userId="ada", traits=wrong), identify(userId="ada", anonymousId="new", traits=wrong)
        )
        shown = rights.pipeline.one("SELECT traits ->> 'country' FROM consent.permitted WHERE purpose = 'analytics'")
        term = rights.pipeline.one("SELECT term_id FROM behavior.term WHERE term = 'FR'")
        assert shown == str(term)
        assert values_of(rights) == {"country": "FR", "city": "Lyon"}

    def test_a_purpose_granted_later_sees_the_corrected_value(self, rights: RequestPipeline) -> None:
        open_(rights, "objection", details=RequestDetails(purposes=["email_marketing"]))
        clear_withdrawn(rights.context)
        fulfill(rights, Right.RECTIFICATION)
        rights.later(days=1)
        with rights.context.database.transaction() as tx:
            tx.execute("ALTER TABLE consent.record DISABLE TRIGGER ALL")
            tx.execute("DELETE FROM consent.record WHERE purpose = 'email_marketing'")
        granted = consent_context(email_marketing=True)
        rights.pipeline.send(
            identify(userId="ada", traits={"email": "ada@example.com", "country": "DE"}, context=granted)
        )
        shown = rights.pipeline.one(
            "SELECT traits ->> 'country' FROM consent.permitted WHERE purpose = 'email_marketing'"
        )
        assert shown == str(rights.pipeline.one("SELECT term_id FROM behavior.term WHERE term = 'FR'"))

    @pytest.mark.parametrize("value", [{"age": 12}, {"birthday": "2014-01-31"}])
    def test_an_age_that_is_corrected_changes_the_verdict(self, rights: RequestPipeline, value: dict[str, Any]) -> None:
        fulfill(rights, Right.RECTIFICATION, details=RequestDetails(values=value))
        rights.later(days=1)
        rights.pipeline.send(identify(userId="ada", traits={"email": "ada@example.com", "age": 36}))
        assert verdicts(rights)["email_marketing"] is Reason.TOO_YOUNG

    def test_of_somebody_about_whom_nothing_is_held_it_stores_nothing(self, rights: RequestPipeline) -> None:
        """And corrects no later statement: a value for a person whom the store does not know would be new data."""
        before = rights.counts()
        now = rights.pipeline.clock.now()
        opened = requests.open_request(
            rights.context,
            kind="rectification",
            regime="gdpr",
            identifiers=[("user_id", "nobody")],
            now=now,
            details=RequestDetails(values={"age": 12}),
        )
        requests.verify(rights.context, opened.request_id, now)
        done = requests.run(rights.context, opened.request_id, now)
        assert (done.request.status, done.is_nothing_held) == (Status.FULFILLED, True)
        assert {table: rows for table, rows in rights.counts().items() if rows != before[table]} == {}
        rights.later(days=1)
        rights.pipeline.send(identify(userId="nobody", traits={"age": 36}, context=consent_context(analytics=True)))
        assert rights.pipeline.one("SELECT count(*) FROM behavior.trait WHERE is_rectified") == 0

    def test_its_values_are_sealed_and_end_with_the_request(self, rights: RequestPipeline) -> None:
        request = open_(rights, "rectification", details=DETAILS[Right.RECTIFICATION])
        assert (
            rights.pipeline.one("SELECT count(*) FROM rights.request_value WHERE position('Lyon'::bytea IN sealed) > 0")
            == 0
        )
        named = requests.show(rights.context, request.request_id).values
        assert {(trait.name, trait.value) for trait in named} == {("city", "Lyon"), ("country", "FR")}
        requests.withdraw(rights.context, request.request_id, rights.pipeline.clock.now())
        assert rights.pipeline.one("SELECT count(*) FROM rights.request_value") == 0


def values_of(rights: RequestPipeline) -> dict[str, Any]:
    """The values in force of the traits that were corrected, as privacy staff see them."""
    view = look_up(rights.context, Identifier(*ADA_EMAIL), actor="privacy")
    return {name: view.traits[name] for name in ("country", "city")}


class TestErasureModes:
    @pytest.mark.parametrize("mode", ["erase", "suppress"])
    def test_each_part_can_be_asked_for_alone(self, rights: RequestPipeline, mode: str) -> None:
        opened = open_(rights, "erasure", details=RequestDetails(mode=mode))
        requests.verify(rights.context, opened.request_id, rights.pipeline.clock.now())
        planned = preview(rights.context, opened.request_id).steps
        done = requests.run(rights.context, opened.request_id, rights.pipeline.clock.now())
        old = order(userId="ada", timestamp=(rights.pipeline.clock.now() - timedelta(hours=1)).isoformat())
        rights.later(minutes=1)
        new = order(userId="ada")
        outcomes = [rights.pipeline.send(body)[0].state for body in (old, new)]
        if mode == "erase":
            assert outcomes == [State.SUPPRESSED, State.STORED]
            assert rights.pipeline.one("SELECT count(*) FROM behavior.event") == 1
        else:
            assert outcomes == [State.SUPPRESSED, State.SUPPRESSED]
            assert rights.pipeline.one("SELECT count(*) FROM behavior.event") == 3
        rights.sequence()
        body = requests.receipt(rights.context, opened.request_id)["body"]
        assert (body["mode"], body["suppressed"]) == (mode, 0 if mode == "erase" else 2)
        if mode == "erase":
            for steps in (planned, done.steps, preview(rights.context, opened.request_id).steps):
                reasons = [
                    step.reason for step in steps if (step.table, step.verb) == ("rights.suppression", Verb.KEEP)
                ]
                assert reasons == [
                    "lifted at once; without it, a late message from before the erasure would be stored again"
                ]

    def test_a_detail_of_another_kind_is_refused(self, rights: RequestPipeline) -> None:
        for details in (RequestDetails(purposes=["analytics"]), RequestDetails(values={"city": "Lyon"})):
            with pytest.raises(Fault, match="detail_not_of_kind"):
                open_(rights, "erasure", details=details)
        with pytest.raises(Fault, match="unknown_mode"):
            open_(rights, "erasure", details=RequestDetails(mode="forget"))


class TestExpiry:
    def test_only_who_did_not_answer_a_question_runs_out_of_time(self, rights: RequestPipeline) -> None:
        unasked, asked = open_(rights, "access"), open_(rights, "access")
        rights.later(days=29)
        requests.ask(rights.context, asked.request_id, rights.pipeline.clock.now())
        rights.later(days=10)
        assert requests.sweep_requests(rights.context, rights.pipeline.clock.now())["expired"] == 0
        rights.later(days=10)
        assert requests.sweep_requests(rights.context, rights.pipeline.clock.now())["expired"] == 1
        statuses = {one.request_id: one.status for one in requests.listing(rights.context)}
        assert statuses == {unasked.request_id: Status.RECEIVED, asked.request_id: Status.EXPIRED}


class TestDenial:
    def test_it_names_the_reason_the_authority_and_the_remedy(self, rights: RequestPipeline) -> None:
        for regime, authority in (("gdpr", "supervisory authority"), ("ccpa", "California Privacy Protection Agency")):
            request = open_(rights, "access", regime)
            requests.deny(rights.context, request.request_id, "unverified", now=rights.pipeline.clock.now())
            denial = requests.show(rights.context, request.request_id).denial
            assert denial is not None
            assert "verify" in denial.reason
            assert authority in denial.authority
            assert denial.remedy == shipped().jurisdictions.regimes[regime].remedy

    def test_it_names_whom_to_ask_or_nobody(self, rights: RequestPipeline) -> None:
        request = open_(rights, "access")
        requests.deny(rights.context, request.request_id, "unverified", now=rights.pipeline.clock.now())
        named = replace(rights.context, policy=with_controller(shipped()))
        for context, expected in ((rights.context, None), (named, named.policy.responsible.questions_to)):
            shown = requests.show(context, request.request_id)
            assert shown.denial is not None
            assert (shown.denial.questions_to, shown.questions_to) == (expected, expected)

    def test_what_is_kept_cites_the_law_of_the_own_regime(self, rights: RequestPipeline) -> None:
        for regime, law in (("gdpr", "GDPR Art. 5(2)"), ("ccpa", "section 7101")):
            request = open_(rights, "erasure", regime)
            requests.verify(rights.context, request.request_id, rights.pipeline.clock.now())
            preview = requests.run(rights.context, request.request_id, rights.pipeline.clock.now(), dry_run=True)
            kept = next(step.reason for step in preview.steps if (step.table, step.verb) == ("rights.request", "keep"))
            assert law in kept
            assert ("7101" in kept) == (regime == "ccpa")
            requests.withdraw(rights.context, request.request_id, rights.pipeline.clock.now())
