"""Consent from its recording to what everybody may do afterwards, on a real database under the shipped policy."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, LiteralString

import pytest
from psycopg.errors import DivisionByZero

from cdp.accounting.model import Outcome, State
from cdp.consent.model import Reason
from cdp.consent.receipt import is_genuine
from cdp.flows.consent import acts, lookup, recompute, withdrawal
from cdp.flows.consent.acts import ConsentStatement
from cdp.flows.consent.as_of import AsOf, AsOfBasis
from cdp.flows.operations.startup import PolicyWatcher
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from cdp.policy.load import build_policy
from cdp.sources.model import SourceKind
from cdp.vault.sign import is_signed
from cdp.worker import withdrawals
from tests.support import messages
from tests.support.messages import consent_context
from tests.support.people import ADA_EMAIL, CALIFORNIA, SHOP, WEB
from tests.support.policies import documents_of, shipped
from tests.support.requests import RequestPipeline, open_request_pipeline

pytestmark = pytest.mark.postgres


@pytest.fixture
def rights(database: Database, tmp_path: Path) -> RequestPipeline:
    rights = open_request_pipeline(database, shipped(), tmp_path)
    with database.transaction() as tx:
        tx.execute(
            "INSERT INTO sources.source (source_id, name, kind, write_key_hash, scopes, jurisdiction, request_bytes_max, "
            "created_at) VALUES (3, 'west', 'browser', 'w', '{ingest}', 'us-ca', 512000, now())"
        )
    return rights


def told(
    act: str, purpose: str = "email_marketing", identifier: tuple[str, str] = ADA_EMAIL, **more: Any
) -> ConsentStatement:
    return ConsentStatement(identifier, purpose, act, **({"authority": "authenticated", "jurisdiction": "eu"} | more))


def tell(rights: RequestPipeline, act: str, purpose: str = "email_marketing", **more: Any) -> acts.RecordedAct:
    return acts.record(rights.context, told(act, purpose, **more))


def verdicts(
    rights: RequestPipeline, identifier: tuple[str, str] = ADA_EMAIL, as_of: datetime | None = None
) -> Mapping[str, Any]:
    return lookup.look_up(
        rights.context,
        identifier,
        rights.pipeline.clock.now(),
        actor="privacy",
        as_of=None if as_of is None else AsOf(as_of),
    ).verdicts


def identify(**more: Any) -> dict[str, Any]:
    return {**messages.identify(userId="ada", traits={"email": ADA_EMAIL[1], "country": "DE"}), **more}


def view(**more: Any) -> dict[str, Any]:
    return {**messages.track(userId="ada"), **more}


def order(**more: Any) -> dict[str, Any]:
    return {**messages.order(userId="ada", properties={"revenue": 10.0}), **more}


def said(**categories: bool) -> dict[str, Any]:
    return {"context": consent_context(**categories)}


def rows(rights: RequestPipeline, query: str) -> list[tuple[Any, ...]]:
    with rights.context.database.transaction(read_only=True) as tx:
        return tx.execute(query)


def change(rights: RequestPipeline, *statements: LiteralString) -> None:
    with rights.context.database.transaction() as tx:
        for statement in statements:
            tx.execute(statement)


class TestRecording:
    def test_a_grant_opens_the_door_and_fills_the_projection(self, rights: RequestPipeline) -> None:
        assert rights.pipeline.send(view()) == [Outcome(State.NOT_PERMITTED, "no_grant")]
        tell(rights, "grant", identifier=("user_id", "ada"))
        rights.later(minutes=1)
        assert rights.pipeline.send(identify(), view()) == [Outcome(State.STORED)] * 2
        [(traits,)] = rows(rights, "SELECT traits FROM consent.permitted_email_marketing")
        assert set(traits) == {"country"}
        assert rows(rights, "SELECT purpose FROM consent.permitted ORDER BY 1") == [("email_marketing",), ("service",)]

    def test_the_receipt_says_what_was_told_and_is_genuine(self, rights: RequestPipeline) -> None:
        recorded = tell(rights, "grant", notice_version="2026-01", notice_text="We write to you.")
        receipt = recorded.receipt
        assert receipt["record_id"] == recorded.record
        (event,), (purpose,) = receipt["event"], receipt["pii_processing"]["purposes"]
        assert event["event_state"] == "dpv:ConsentGiven"
        assert receipt["pii_processing"]["privacy_notice"]["version"] == "2026-01"
        assert purpose["lawful_basis"] == "eu-gdpr:A6-1-a"
        key = rights.context.vault.root_keys.signer().public_key
        assert is_genuine(receipt, key, is_signed)
        assert not is_genuine({**receipt, "record_id": "con_other"}, key, is_signed)
        assert ADA_EMAIL[1] not in str(receipt)

    def test_every_act_is_in_the_log(self, rights: RequestPipeline) -> None:
        recorded = tell(rights, "grant")
        [(body,)] = rows(rights, "SELECT body FROM audit.fact WHERE kind = 'consent.recorded'")
        assert body["record"] == recorded.record
        assert (body["purpose"], body["act"], body["actor"]) == ("email_marketing", "grant", "privacy")

    def test_a_no_waits_for_a_person_never_seen(self, rights: RequestPipeline) -> None:
        tell(rights, "refuse")
        assert rows(rights, "SELECT count(*)::int FROM identity.profile") == [(0,)]
        tell(rights, "grant", "analytics", identifier=("user_id", "ada"))
        rights.later(minutes=1)
        rights.pipeline.send(identify())
        assert verdicts(rights, ("user_id", "ada"))["email_marketing"].reason is Reason.REFUSED
        assert rows(rights, "SELECT count(*)::int FROM consent.permitted_email_marketing") == [(0,)]

    def test_a_no_is_in_the_replay_file_before_the_answer(self, rights: RequestPipeline) -> None:
        tell(rights, "grant")
        assert list(rights.context.replay.lines_after(0)) == []
        tell(rights, "withdraw")
        [line] = rights.context.replay.lines_after(0)
        assert line.line.act == "withdraw"  # type: ignore[union-attr]

    @pytest.mark.parametrize(
        ("wrong", "code"),
        [
            ({"purpose": "astrology"}, "unknown_purpose"),
            ({"act": "shrug"}, "unknown_act"),
            ({"authority": "royal"}, "unknown_authority"),
            ({"purpose": "service", "act": "object"}, "not_refusable"),
            ({"purpose": "service"}, "not_refusable"),
            ({"identifier": ("email", "nobody")}, "invalid_identifier"),
            ({"identifier": ("fax", "1")}, "invalid_identifier"),
            ({"notice_version": "x" * 101}, "invalid_notice"),
            ({"source": WEB}, "browser_cannot_record_consent"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_what_cannot_be_recorded_is_a_fault_without_values(
        self, rights: RequestPipeline, wrong: dict[str, Any], code: str
    ) -> None:
        with pytest.raises(Fault) as raised:
            acts.record(rights.context, replace(told("grant"), **wrong))
        assert raised.value.code == code
        if code == "not_refusable":
            assert raised.value.detail.endswith("Acts change purposes on consent or legitimate interests.")
        assert "ada@" not in raised.value.detail + raised.value.title
        assert rows(rights, "SELECT count(*)::int FROM consent.record") == [(0,)]

    def test_the_authority_is_that_of_who_records(self, rights: RequestPipeline) -> None:
        assert tell(rights, "grant", source=SHOP).authority == "authenticated"
        assert tell(rights, "grant", authority=None).authority == "operator"

    def test_an_undeclared_jurisdiction_is_unknown_and_the_strictest(self, rights: RequestPipeline) -> None:
        assert tell(rights, "refuse", jurisdiction="atlantis").receipt["pii_processing"]["jurisdiction"] == "unknown"

    def test_a_suppressed_identifier_takes_nothing(self, rights: RequestPipeline) -> None:
        tell(rights, "grant", identifier=("user_id", "ada"))
        rights.later(minutes=1)
        rights.pipeline.send(identify())
        rights.erase(ADA_EMAIL)
        with pytest.raises(Fault) as raised:
            tell(rights, "grant")
        assert (raised.value.code, raised.value.status) == ("identifier_suppressed", 409)


class TestLookingUp:
    def test_shows_the_acts_in_order_and_what_follows(self, rights: RequestPipeline) -> None:
        tell(rights, "grant")
        rights.later(days=1)
        tell(rights, "withdraw")
        found = lookup.look_up(rights.context, ADA_EMAIL, rights.pipeline.clock.now(), actor="auditor")
        assert [each["act"] for each in found.records] == ["grant", "withdraw"]
        assert {each["identifier_type"] for each in found.records} == {"email"}
        assert found.verdicts["email_marketing"].reason is Reason.WITHDRAWN
        assert rows(rights, "SELECT body->>'actor' FROM audit.fact WHERE kind = 'data.read'") == [("auditor",)]

    def test_as_of_shows_what_held_then(self, rights: RequestPipeline) -> None:
        tell(rights, "grant", identifier=("user_id", "ada"))
        rights.later(minutes=1)
        rights.pipeline.send(identify())
        then = rights.pipeline.clock.now()
        rights.later(days=1)
        tell(rights, "withdraw", identifier=("user_id", "ada"))
        assert verdicts(rights, as_of=then)["email_marketing"].allowed
        assert not verdicts(rights)["email_marketing"].allowed

    def test_somebody_unknown_gets_the_verdicts_of_silence(self, rights: RequestPipeline) -> None:
        found = lookup.look_up(
            rights.context, ("email", "who@example.com"), rights.pipeline.clock.now(), actor="privacy"
        )
        assert found.records == ()
        assert not any(each.allowed for each in found.verdicts.values())

    def test_of_a_shared_device_no_grant_permits_anything_as_in_ingest(self, rights: RequestPipeline) -> None:
        granting = consent_context(analytics=True)
        rights.pipeline.send(messages.track(userId="ada", anonymousId="tablet", context=granting))
        rights.later(minutes=1)
        owned_until = rights.pipeline.clock.now()
        rights.later(minutes=1)
        rights.pipeline.send(messages.track(userId="bob", anonymousId="tablet", context=granting))
        rights.later(minutes=1)
        shared = ("anonymous_id", "tablet")
        assert rights.pipeline.send(messages.track(anonymousId="tablet", context=granting)) == [
            Outcome(State.NOT_PERMITTED, "no_grant")
        ]
        rights.later(minutes=1)
        now = rights.pipeline.clock.now()
        instants = {None: False, AsOf(now, AsOfBasis.OCCURRED): False, AsOf(now, AsOfBasis.RECORDED): False}
        for as_of, is_allowed in {**instants, AsOf(owned_until, AsOfBasis.RECORDED): True}.items():
            found = lookup.look_up(rights.context, shared, now, actor="privacy", as_of=as_of)
            assert found.verdicts["analytics"].allowed is is_allowed, as_of

    def test_tells_from_when_one_may_ask_again(self, rights: RequestPipeline) -> None:
        tell(rights, "refuse", "advertising", jurisdiction="us-ca")
        found = lookup.look_up(rights.context, ADA_EMAIL, rights.pipeline.clock.now(), actor="privacy")
        assert found.may_ask_from == {"advertising": rights.pipeline.clock.now().replace(year=2027)}


class TestSignalsAtTheDoor:
    def test_a_browser_grants_for_its_device_and_refuses_for_everybody(self, rights: RequestPipeline) -> None:
        yes = view(anonymousId="a1", **said(Analytics=True, Advertising=False))
        assert rights.pipeline.send(yes, source=WEB) == [Outcome(State.STORED)]
        found = rows(
            rights,
            "SELECT i.type, r.purpose, r.act, r.authority FROM consent.record r JOIN identity.identifier i "
            "USING (identifier_id) ORDER BY 1, 2",
        )
        assert found == [
            ("anonymous_id", "advertising", "refuse", "device"),
            ("anonymous_id", "analytics", "grant", "device"),
            ("user_id", "advertising", "refuse", "device"),
        ]

    def test_a_refused_message_leaves_only_its_no(self, rights: RequestPipeline) -> None:
        no = view(anonymousId="a1", **said(Analytics=False, Functional=True))
        assert rights.pipeline.send(no | {"userId": None}, source=WEB)[0].state is State.STORED
        tell(rights, "refuse", "personalization", identifier=("anonymous_id", "a2"))
        other = {**view(anonymousId="a2", **said(Analytics=False, Functional=True)), "userId": None}
        assert rights.pipeline.send(other, source=WEB) == [Outcome(State.NOT_PERMITTED, "refused")]
        assert rows(rights, "SELECT count(*)::int FROM consent.record WHERE act = 'grant'") == [(1,)]

    def test_a_browser_that_names_only_an_address_refuses_nothing_and_is_counted(self, rights: RequestPipeline) -> None:
        """Anybody can name any address, so the refusal takes nothing from its owner; the operator learns of it."""
        tell(rights, "grant")
        rights.later(minutes=1)
        typed = {"type": "track", "event": "Unsubscribed", "context": {"traits": {"email": ADA_EMAIL[1]}}}
        choice = {**typed, "context": typed["context"] | said(email_marketing=False)["context"]}
        ended = rights.pipeline.send(typed, choice, typed | {"userId": None}, source=WEB)
        assert {outcome.state for outcome in ended} == {State.NOT_PERMITTED}
        assert verdicts(rights)["email_marketing"].allowed
        assert rows(rights, "SELECT count(*)::int FROM consent.record WHERE act <> 'grant'") == [(0,)]
        counted = (
            "SELECT subject, sum(messages)::int FROM accounting.notice WHERE kind = 'unrecorded_refusal' GROUP BY 1"
        )
        assert rows(rights, counted) == [("email", 3)]
        rights.pipeline.send(typed | {"anonymousId": "a1"}, source=WEB)
        assert rows(rights, counted) == [("email", 3)], "the refusal of a device is recorded for the device"
        assert rows(rights, "SELECT count(*)::int FROM consent.record WHERE act <> 'grant'") == [(1,)]
        rights.pipeline.send(typed, source=SHOP)
        assert not verdicts(rights)["email_marketing"].allowed
        assert rows(rights, counted) == [("email", 3)]

    def test_gpc_refuses_advertising_and_nothing_else(self, rights: RequestPipeline) -> None:
        message = {**view(anonymousId="a1"), "userId": None}
        assert rights.pipeline.send(message, source=CALIFORNIA)[0].state is State.STORED
        assert {"analytics", "advertising"} <= {row[0] for row in rows(rights, "SELECT purpose FROM consent.permitted")}
        assert rights.pipeline.send(message, source=CALIFORNIA, has_gpc=True)[0].state is State.STORED
        found = verdicts(rights, ("anonymous_id", "a1"))
        assert found["advertising"].reason is Reason.OPTED_OUT
        assert found["analytics"].allowed
        assert rights.pipeline.send(message, source=CALIFORNIA)[0].state is State.STORED
        assert verdicts(rights, ("anonymous_id", "a1"))["advertising"].reason is Reason.OPTED_OUT

    def test_gpc_on_one_browser_counts_after_a_merge(self, rights: RequestPipeline) -> None:
        west = replace(CALIFORNIA, kind=SourceKind.SERVER)
        rights.pipeline.send({**view(anonymousId="a1"), "userId": None}, source=CALIFORNIA, has_gpc=True)
        rights.pipeline.send(view(anonymousId="a2"), source=west)
        assert verdicts(rights, ("user_id", "ada"))["advertising"].allowed
        rights.pipeline.send(view(anonymousId="a1"), source=west)
        assert verdicts(rights, ("user_id", "ada"))["advertising"].reason is Reason.OPTED_OUT

    def test_the_same_signal_is_recorded_once_and_each_repetition_of_a_refusal(self, rights: RequestPipeline) -> None:
        for _ in range(3):
            rights.pipeline.send(view(anonymousId="a1", **said(Analytics=True, Advertising=False)), source=WEB)
            rights.later(minutes=1)
        assert rows(rights, "SELECT count(*)::int FROM consent.record") == [(3,)]
        assert rows(rights, "SELECT count(*)::int FROM consent.repetition") == [(4,)]

    def test_a_grant_that_comes_late_lifts_no_repeated_no(self, rights: RequestPipeline) -> None:
        def at(minute: int, *, yes: bool) -> dict[str, Any]:
            when = {"timestamp": f"2026-06-01T12:{minute:02}:00+00:00", "sentAt": "2026-06-01T13:00:00+00:00"}
            return {**view(anonymousId="a1", **said(Analytics=yes, Functional=True), **when), "userId": None}

        rights.later(hours=1)
        rights.pipeline.send(at(1, yes=False), source=WEB)
        rights.pipeline.send(at(9, yes=False), source=WEB)
        rights.pipeline.send(at(5, yes=True), source=WEB)
        assert not verdicts(rights, ("anonymous_id", "a1"))["analytics"].allowed
        rights.pipeline.send(at(11, yes=True), source=WEB)
        assert verdicts(rights, ("anonymous_id", "a1"))["analytics"].since.minute == 11


class TestWithdrawal:
    def stored(self, rights: RequestPipeline) -> None:
        """Ada with an order for service and e-mail marketing, and a view for e-mail marketing alone."""
        tell(rights, "grant", identifier=("user_id", "ada"))
        rights.later(minutes=1)
        rights.pipeline.send(identify(), order(messageId="order"), view(messageId="view"))
        rights.later(days=1)

    def test_is_effective_with_the_answer_and_erased_by_the_worker(self, rights: RequestPipeline) -> None:
        self.stored(rights)
        before = rows(rights, "SELECT count(*)::int FROM behavior.event")
        assert before == [(3,)]
        tell(rights, "withdraw", identifier=("user_id", "ada"))
        assert rows(rights, "SELECT count(*)::int FROM consent.permitted WHERE purpose = 'email_marketing'") == [(0,)]
        done = withdrawal.clear_withdrawn(rights.context)
        assert (done.withdrawals, done.events_deleted, done.events_cleared) == (1, 2, 1)
        masks = dict(rows(rights, "SELECT purpose, 1 << bit FROM consent.purpose"))
        assert rows(rights, "SELECT bits::int FROM behavior.event") == [(masks["service"],)]
        assert rows(rights, "SELECT count(*)::int FROM behavior.trait") == [(0,)]
        assert withdrawal.clear_withdrawn(rights.context).withdrawals == 0

    def test_the_worker_leaves_what_comes_meanwhile_to_its_next_run(self, rights: RequestPipeline) -> None:
        self.stored(rights)
        task, database = withdrawals.create_task(PolicyWatcher(rights.context)), rights.context.database
        spent = []
        for run in (lambda: withdrawal.clear_withdrawn(rights.context),) * 2 + (task.run,):
            tell(rights, "withdraw", identifier=("user_id", "ada"))
            begun = database.statements
            run()
            spent.append(database.statements - begun)
            assert withdrawal.clear_withdrawn(rights.context).withdrawals == 0
            rights.later(minutes=1)
            tell(rights, "grant", identifier=("user_id", "ada"))
            rights.later(minutes=1)
        assert spent[1] == spent[2], "the lock is not taken a second time for nothing"

    def test_takes_fewer_statements_than_a_grant_because_it_computes_nothing_again(
        self, rights: RequestPipeline
    ) -> None:
        self.stored(rights)
        database = rights.context.database
        buckets = "SELECT count(*)::int FROM behavior.bucket WHERE trait = ANY(%(traits)s)"
        traits = {"traits": [key for key, one in shipped().traits.items() if one.purpose == "email_marketing"]}
        with database.transaction() as tx:
            assert tx.execute(buckets, traits) != [(0,)]
        spent = {}
        for act in ("withdraw", "grant"):
            begun = database.statements
            tell(rights, act, identifier=("user_id", "ada"))
            spent[act] = database.statements - begun
            rights.later(minutes=1)
            if act == "withdraw":
                with database.transaction() as tx:
                    assert tx.execute(buckets, traits) == [(0,)]
        assert spent["withdraw"] <= spent["grant"], spent

    def test_a_step_that_fails_half_way_leaves_all_of_it_to_the_next(self, rights: RequestPipeline) -> None:
        self.stored(rights)
        tell(rights, "withdraw", identifier=("user_id", "ada"))
        change(
            rights,
            "CREATE FUNCTION consent.fail() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE division_by_zero; END'",
            "CREATE TRIGGER fail BEFORE DELETE ON consent.withdrawal EXECUTE FUNCTION consent.fail()",
        )
        with pytest.raises(DivisionByZero):
            withdrawal.clear_withdrawn(rights.context)
        assert rows(rights, "SELECT count(*)::int FROM behavior.event") == [(3,)]
        change(rights, "DROP TRIGGER fail ON consent.withdrawal")
        assert withdrawal.clear_withdrawn(rights.context).events_deleted == 2

    def test_granting_again_brings_nothing_back(self, rights: RequestPipeline) -> None:
        self.stored(rights)
        tell(rights, "withdraw", identifier=("user_id", "ada"))
        rights.later(hours=1)
        tell(rights, "grant", identifier=("user_id", "ada"))
        again = rights.pipeline.clock.now()
        assert rows(rights, "SELECT since, traits FROM consent.permitted_email_marketing") == [(again, {})]
        rights.later(hours=1)
        rights.pipeline.send(view(messageId="new"))
        withdrawal.clear_withdrawn(rights.context)
        found = rows(
            rights,
            "SELECT occurred_at >= (SELECT since FROM consent.permitted_email_marketing) FROM behavior.event "
            "WHERE bits & (SELECT 1 << bit FROM consent.purpose WHERE purpose = 'email_marketing') <> 0",
        )
        assert found == [(True,)]

    def test_a_retry_of_an_erased_message_stays_away(self, rights: RequestPipeline) -> None:
        self.stored(rights)
        tell(rights, "withdraw", identifier=("user_id", "ada"))
        withdrawal.clear_withdrawn(rights.context)
        rights.later(hours=1)
        tell(rights, "grant", identifier=("user_id", "ada"))
        assert rights.pipeline.send(view(messageId="view"))[0].state is State.DUPLICATE

    def test_an_ended_grant_acts_like_a_withdrawal(self, rights: RequestPipeline) -> None:
        self.stored(rights)
        assert recompute.end_grants(rights.context, rights.pipeline.clock.now()) == 0
        rights.later(days=730)
        assert recompute.end_grants(rights.context, rights.pipeline.clock.now()) == 1
        assert recompute.end_grants(rights.context, rights.pipeline.clock.now()) == 0
        assert verdicts(rights)["email_marketing"].reason is Reason.EXPIRED
        assert withdrawal.clear_withdrawn(rights.context).events_deleted == 2

    def test_takes_no_more_than_it_is_told_to(self, rights: RequestPipeline) -> None:
        for user in ("u1", "u2"):
            tell(rights, "grant", identifier=("user_id", user))
        rights.later(minutes=1)
        rights.pipeline.send(view(userId="u1"), view(userId="u2"))
        for user in ("u1", "u2"):
            tell(rights, "withdraw", identifier=("user_id", user))
        assert [withdrawal.clear_withdrawn(rights.context, withdrawals_max=1).withdrawals for _ in range(3)] == [
            1,
            1,
            0,
        ]
        assert rows(rights, "SELECT count(*)::int FROM behavior.event") == [(0,)]


def test_a_stricter_policy_is_put_in_force_for_everybody(rights: RequestPipeline) -> None:
    for number in range(5):
        rights.pipeline.send({**view(anonymousId=f"a{number}"), "userId": None}, source=CALIFORNIA)
    assert rows(rights, "SELECT count(*)::int FROM consent.permitted_analytics") == [(5,)]
    documents = documents_of(shipped())
    documents["purposes.yaml"]["purposes"]["analytics"]["model"]["us-ca"] = "opt_in"
    strict = build_policy(documents)
    context = rights.context
    total = recompute.recompute_all_verdicts(context.database, strict, profiles_max=2)
    assert total == 5
    assert rows(rights, "SELECT count(*)::int FROM consent.permitted_analytics") == [(0,)]
    assert rows(rights, "SELECT count(*)::int FROM consent.permitted_advertising") == [(5,)]
