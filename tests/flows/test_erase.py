"""Erasing a person: what goes, what stays, and that a run which was stopped goes on."""

import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cdp.accounting.model import Outcome, State
from cdp.flows.rights import requests
from cdp.flows.rights.erase import erase
from cdp.flows.rights.legal_hold import HOLD_COLUMN
from cdp.flows.rights.results import RequestResult
from cdp.flows.rights.review import review
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from cdp.rights.model import Status, Verb
from cdp.vault.vault import Item
from tests.support import messages
from tests.support.messages import consent_context, identify, track
from tests.support.people import ADA, BOB, SHOP, WEB
from tests.support.policies import permit_all
from tests.support.requests import RequestPipeline, open_request_pipeline

pytestmark = pytest.mark.postgres


@pytest.fixture
def rights(database: Database, tmp_path: Path) -> RequestPipeline:
    return open_request_pipeline(database, permit_all(), tmp_path)


def order(user_id: str, **fields: Any) -> dict[str, Any]:
    return messages.order(userId=user_id, properties={"order_id": "o-77", "revenue": 12.5}, **fields)


def test_nothing_of_the_person_is_left_and_others_are_untouched(rights: RequestPipeline) -> None:
    rights.pipeline.send(BOB, order("bob"))
    before = rights.counts()
    rights.pipeline.send(ADA, track(userId="ada"), track(userId="ada", anonymousId="ada-phone"))
    ended = rights.erase(("email", "ada@example.com"))
    assert ended.status is Status.FULFILLED
    assert rights.counts() == before
    assert rights.pipeline.partition() == {frozenset({("user_id", "bob"), ("email", "bob@example.com")})}


def test_the_keys_are_shredded(rights: RequestPipeline) -> None:
    rights.pipeline.send(BOB)
    keys = rights.pipeline.one("SELECT count(*) FROM vault.subject_key")
    rights.pipeline.send(ADA)
    rights.erase(("user_id", "ada"))
    assert rights.pipeline.one("SELECT count(*) FROM vault.subject_key") == keys


@pytest.mark.parametrize("named", [("email", "ADA@example.com "), ("user_id", "ada"), ("anonymous_id", "ada-phone")])
def test_any_verified_identifier_reaches_all_that_servers_linked(
    rights: RequestPipeline, named: tuple[str, str]
) -> None:
    rights.pipeline.send(ADA, track(userId="ada", anonymousId="ada-phone"), track(anonymousId="ada-phone"))
    rights.erase(named)
    assert rights.pipeline.people() == {}
    assert rights.pipeline.one("SELECT count(*) FROM behavior.event") == 0


def test_a_retry_of_an_old_message_does_not_bring_the_person_back(rights: RequestPipeline) -> None:
    old = order("ada", anonymousId="ada-phone", messageId="old")
    rights.pipeline.send(ADA, old)
    rights.erase(("user_id", "ada"))
    outcomes = rights.pipeline.send(old, ADA, track(anonymousId="ada-phone"))
    assert [each.state for each in outcomes] == [State.SUPPRESSED] * 3
    assert rights.pipeline.people() == {}


def test_from_verified_on_nothing_is_stored(rights: RequestPipeline) -> None:
    rights.pipeline.send(ADA)
    request = requests.open_request(
        rights.context, kind="erasure", regime="gdpr", identifiers=[("user_id", "ada")], now=rights.pipeline.clock.now()
    )
    assert rights.pipeline.send(order("ada"))[0].state is State.STORED
    requests.verify(rights.context, request.request_id, rights.pipeline.clock.now())
    assert rights.pipeline.send(order("ada"))[0] == Outcome(State.SUPPRESSED, "person")
    linked = identify(userId="new", traits={"email": "ada@example.com"})
    assert rights.pipeline.send(linked)[0].state is State.SUPPRESSED


def test_a_withdrawn_erasure_lowers_the_barrier_and_shreds_what_it_named(rights: RequestPipeline) -> None:
    rights.pipeline.send(ADA)
    request = rights.ask("erasure", ("user_id", "ada"))
    requests.withdraw(rights.context, request.request_id, rights.pipeline.clock.now())
    assert rights.pipeline.send(order("ada"))[0].state is State.STORED
    assert rights.pipeline.one("SELECT count(*) FROM rights.request_identifier") == 0
    assert rights.pipeline.one("SELECT count(*) FROM rights.suppression") == 0


def test_a_suppressed_device_is_dropped_beside_others_and_refused_alone(rights: RequestPipeline) -> None:
    rights.pipeline.send(ADA, track(userId="ada", anonymousId="tablet"))
    rights.erase(("user_id", "ada"))
    assert rights.pipeline.send(track(anonymousId="tablet"))[0] == Outcome(State.SUPPRESSED, "device")
    assert rights.pipeline.send(track(userId="bob", anonymousId="tablet"))[0].state is State.STORED
    assert rights.pipeline.partition() == {frozenset({("user_id", "bob")})}


def test_an_unknown_person_ends_like_anybody(rights: RequestPipeline) -> None:
    ended = rights.erase(("email", "nobody@example.com"))
    assert ended.status is Status.FULFILLED
    assert rights.pipeline.send(identify(traits={"email": "nobody@example.com"}, anonymousId="x"))[0].state is (
        State.SUPPRESSED
    )


def test_the_dry_run_tells_rows_and_touches_nothing(rights: RequestPipeline) -> None:
    rights.pipeline.send(ADA, order("ada"), order("ada", messageId="2"))
    request = rights.ask("erasure", ("user_id", "ada"))
    before = rights.counts()
    plan = requests.run(rights.context, request.request_id, rights.pipeline.clock.now(), dry_run=True)
    rows = {(each.table, each.verb): each.rows for each in plan.steps}
    assert rows["behavior.event", Verb.DELETE] == 3
    assert rows["identity.identifier", Verb.DELETE] == 2
    assert all(each.reason for each in plan.steps)
    assert rights.counts() == before
    assert plan.request.status is Status.VERIFIED


def test_what_the_dry_run_says_is_what_is_done(rights: RequestPipeline) -> None:
    rights.pipeline.send(ADA, order("ada"), track(userId="ada", anonymousId="ada-phone"))
    request = rights.ask("erasure", ("user_id", "ada"))
    now = rights.pipeline.clock.now()
    planned = requests.run(rights.context, request.request_id, now, dry_run=True)
    done = requests.run(rights.context, request.request_id, now)
    told = {(each.table, each.verb): each.rows for each in done.steps}
    assert told == {(each.table, each.verb): each.rows for each in planned.steps}
    assert (told["rights.hold", Verb.KEEP], told["rights.suppression", Verb.KEEP]) == (1, 3)
    assert all(each.is_done for each in done.steps)


def test_the_preview_of_an_erasure_in_progress_includes_what_is_done(
    rights: RequestPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    rights.pipeline.send(ADA, order("ada"), order("ada", messageId="2"))
    request = rights.ask("erasure", ("user_id", "ada"))
    now = rights.pipeline.clock.now()
    planned = requests.run(rights.context, request.request_id, now, dry_run=True)
    with monkeypatch.context() as patch:
        patch.setattr("cdp.flows.rights.erase.finish_erasure", _stop)
        with pytest.raises(KeyboardInterrupt):
            erase(rights.context, request.request_id, rows_max=2)
    halfway = requests.run(rights.context, request.request_id, now, dry_run=True)
    assert halfway.request.status is Status.IN_PROGRESS
    assert any(each.is_done for each in halfway.steps)
    assert rows_by_step(halfway) == rows_by_step(planned)
    assert rows_by_step(erase(rights.context, request.request_id)) == rows_by_step(planned)


def _stop(*_args: Any, **_more: Any) -> None:
    raise KeyboardInterrupt


def rows_by_step(result: RequestResult) -> dict[tuple[str, Verb], int]:
    return {(each.table, each.verb): each.rows for each in result.steps}


def test_running_again_changes_nothing(rights: RequestPipeline) -> None:
    rights.pipeline.send(BOB, ADA)
    request = rights.ask("erasure", ("user_id", "ada"))
    first = requests.run(rights.context, request.request_id, rights.pipeline.clock.now())
    before = rights.counts()
    assert requests.run(rights.context, request.request_id, rights.pipeline.clock.now()) == first
    assert rights.counts() == before


@pytest.mark.parametrize("rows_max", [1, 3, 7, 100_000])
def test_chunks_of_any_size_come_to_the_same(rights: RequestPipeline, rows_max: int) -> None:
    rights.pipeline.send(BOB, order("bob"))
    before = rights.counts()
    rights.pipeline.send(ADA, *[track(userId="ada", messageId=f"m{n}") for n in range(20)])
    request = rights.ask("erasure", ("user_id", "ada"))
    ended = erase(rights.context, request.request_id, rows_max=rows_max)
    assert rights.counts() == before
    assert {each.table: each.rows for each in ended.steps}["behavior.event"] == 21


def test_an_erasure_ends_though_the_digests_fill_a_chunk(
    rights: RequestPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    rights.pipeline.send(track(userId="ada"))
    request = rights.ask("erasure", ("user_id", "ada"))
    transactions = itertools.count(1)

    def bounded(*args: Any, **more: Any) -> Any:
        assert next(transactions) < 100, "the erasure makes no progress"
        return start_transaction(*args, **more)

    start_transaction = Database.transaction
    monkeypatch.setattr(Database, "transaction", bounded)
    done = erase(rights.context, request.request_id, rows_max=1)
    assert done.request.status is Status.FULFILLED


def test_only_a_verified_request_is_carried_out(rights: RequestPipeline) -> None:
    now = rights.pipeline.clock.now()
    request = requests.open_request(
        rights.context, kind="erasure", regime="gdpr", identifiers=[("user_id", "ada")], now=now
    )
    with pytest.raises(Fault, match="request_not_next"):
        requests.run(rights.context, request.request_id, now)
    requests.deny(rights.context, request.request_id, "unverified", now=now)
    with pytest.raises(Fault, match="request_not_next"):
        requests.run(rights.context, request.request_id, now)


def test_the_request_names_nobody_afterwards_and_its_facts_stay(rights: RequestPipeline) -> None:
    rights.pipeline.send(ADA)
    ended = rights.erase(("user_id", "ada"))
    assert rights.pipeline.one("SELECT count(*) FROM rights.request_identifier") == 0
    assert rights.pipeline.one("SELECT count(*) FROM rights.suppression WHERE request_id <> 0") == 0
    shown = requests.show(rights.context, ended.request_id)
    assert shown.identifiers == ()
    assert (shown.request.status, shown.request.kind) == (Status.FULFILLED, "erasure")


def test_a_notice_waits_for_whoever_received_the_person(rights: RequestPipeline) -> None:
    rights.pipeline.send(ADA)
    with rights.context.database.transaction() as tx:
        for destination, attempts in (("newsletter", 2), ("never_sent", 0)):
            tx.execute(
                "INSERT INTO destinations.outbox (destination, kind, profile_id, recipient_pseudonym, body, created_at, "
                "due_at, attempts) SELECT %(to)s, 'membership', profile_id, 'theirs', '{}', %(now)s, %(now)s, %(attempts)s "
                "FROM identity.profile",
                {"to": destination, "attempts": attempts, "now": rights.pipeline.clock.now()},
            )
    ended = rights.erase(("user_id", "ada"))
    with rights.context.database.transaction() as tx:
        rows = tx.execute(
            "SELECT destination, kind, profile_id, recipient_pseudonym, body ->> 'request' FROM destinations.outbox"
        )
    assert rows == [("newsletter", "erasure", None, b"theirs", ended.outward_id)]
    body = rights.pipeline.one("SELECT body FROM audit.fact WHERE kind = 'request.fulfilled'")
    assert (body["recipients"], body["recipients_notified"]) == (["newsletter"], 0)


def test_two_runs_at_once_erase_once_while_messages_come_in(rights: RequestPipeline) -> None:
    rights.pipeline.send(BOB)
    before = rights.counts()
    rights.pipeline.send(ADA, *[track(userId="ada", messageId=f"m{n}") for n in range(30)])
    request = rights.ask("erasure", ("user_id", "ada"))
    with ThreadPoolExecutor(3) as pool:
        runs = [pool.submit(erase, rights.context, request.request_id, rows_max=5) for _ in range(2)]
        flood = pool.submit(rights.pipeline.send_each, [track(userId="ada", messageId=f"late{n}") for n in range(10)])
        assert {each.state for each in flood.result()} == {State.SUPPRESSED}
        assert {each.result().request.status for each in runs} == {Status.FULFILLED}
    assert rights.counts() == before
    assert rights.pipeline.one("SELECT count(*) FROM audit.fact WHERE kind = 'request.fulfilled'") == 1


class TestReach:
    """docs/explanation/rights.md, "How far a request reaches"."""

    def test_what_only_a_browser_linked_waits_for_a_reviewer(self, rights: RequestPipeline) -> None:
        rights.pipeline.send(track(anonymousId="victim"), source=WEB)
        rights.pipeline.send({**ADA, "anonymousId": "victim"}, source=WEB)
        request = rights.ask("erasure", ("email", "ada@example.com"))
        review(rights.context, request.request_id, excludes_rest=True, now=rights.pipeline.clock.now())
        requests.run(rights.context, request.request_id, rights.pipeline.clock.now())
        assert rights.pipeline.partition() == {frozenset({("anonymous_id", "victim")})}
        assert rights.pipeline.one("SELECT count(*) FROM behavior.event") == 1

    def test_what_waits_is_shown_to_the_reviewer(self, rights: RequestPipeline) -> None:
        rights.pipeline.send(track(anonymousId="hers"), source=WEB)
        rights.pipeline.send({**ADA, "anonymousId": "hers"}, source=WEB)
        rights.pipeline.send(ADA, source=SHOP)
        request = rights.ask("erasure", ("email", "ada@example.com"))
        shown = requests.show(rights.context, request.request_id)
        assert [(each.type, each.value) for each in shown.waiting] == [("anonymous_id", "hers")]

    def test_a_profile_that_goes_on_keeps_its_id_and_stands_on_what_is_left(self, rights: RequestPipeline) -> None:
        grant = {"context": consent_context(advertising=True)}
        rights.pipeline.send({**ADA, "anonymousId": "hers", **grant}, source=WEB)
        rights.pipeline.send(track(anonymousId="hers"), source=WEB)
        (profile,) = rights.pipeline.people()
        traits = "SELECT traits::text FROM consent.permitted WHERE purpose = 'analytics'"
        assert "36" in rights.pipeline.one(traits)
        rights.erase(("email", "ada@example.com"), ("user_id", "ada"))
        assert set(rights.pipeline.people()) == {profile}
        assert rights.pipeline.one(traits) == "{}"
        assert rights.pipeline.one(
            "SELECT p.origin_sequence = r.sequence FROM identity.profile p, identity.resolution r"
        )

    def test_a_second_request_that_names_it_takes_the_rest(self, rights: RequestPipeline) -> None:
        rights.pipeline.send(track(anonymousId="hers"), source=WEB)
        rights.pipeline.send({**ADA, "anonymousId": "hers"}, source=WEB)
        rights.erase(("email", "ada@example.com"), ("anonymous_id", "hers"), ("user_id", "ada"))
        assert rights.pipeline.people() == {}
        assert rights.pipeline.one("SELECT count(*) FROM behavior.event") == 0

    def test_a_shared_tablet_stays_with_the_others(self, rights: RequestPipeline) -> None:
        rights.pipeline.send(BOB, track(userId="bob", anonymousId="tablet"))
        rights.pipeline.send(ADA, track(userId="ada", anonymousId="tablet"), track(anonymousId="tablet"))
        rights.erase(("user_id", "ada"))
        assert rights.pipeline.partition() == {
            frozenset({("user_id", "bob"), ("email", "bob@example.com")}),
            frozenset({("anonymous_id", "tablet")}),
        }
        assert rights.pipeline.send(track(anonymousId="tablet"))[0].state is State.STORED
        assert rights.pipeline.one("SELECT count(*) FROM behavior.event") == 4

    def test_a_shared_identifier_reaches_only_its_own_profile(self, rights: RequestPipeline) -> None:
        rights.pipeline.send(BOB, track(userId="bob", anonymousId="tablet"))
        rights.pipeline.send(ADA, track(userId="ada", anonymousId="tablet"), track(anonymousId="tablet"))
        rights.erase(("anonymous_id", "tablet"))
        assert rights.pipeline.one("SELECT count(*) FROM behavior.event") == 4
        people = rights.pipeline.partition()
        assert frozenset({("user_id", "ada"), ("email", "ada@example.com")}) in people
        assert frozenset({("user_id", "bob"), ("email", "bob@example.com")}) in people

    def test_merged_profiles_go_too(self, rights: RequestPipeline) -> None:
        rights.pipeline.send_each([track(anonymousId="a1"), track(anonymousId="a2")])
        rights.pipeline.send(track(userId="ada", anonymousId="a2"))
        rights.pipeline.send(track(userId="ada", anonymousId="a1"))
        rights.erase(("user_id", "ada"))
        assert rights.pipeline.one("SELECT count(*) FROM identity.profile") == 0


class TestHold:
    """A law keeps some columns of some events: without the person."""

    def test_held_columns_survive_under_their_own_key_and_nothing_else(self, rights: RequestPipeline) -> None:
        rights.pipeline.send(ADA, order("ada"), track(userId="ada"))
        rights.erase(("user_id", "ada"))
        assert rights.pipeline.one("SELECT count(*) FROM rights.hold") == 1
        assert rights.pipeline.one("SELECT retention_class FROM rights.hold") == "transactions"
        held = _held(rights)
        assert held == {
            "event": "Order Completed",
            "occurred_at": held["occurred_at"],
            "order_id": "o-77",
            "revenue": 12.5,
        }

    def test_a_hold_ends_by_itself(self, rights: RequestPipeline) -> None:
        rights.pipeline.send(ADA, order("ada"))
        rights.erase(("user_id", "ada"))
        rights.later(days=2921)
        assert requests.sweep_requests(rights.context, rights.pipeline.clock.now())["holds_ended"] == 0
        rights.later(days=2)
        keys = rights.pipeline.one("SELECT count(*) FROM vault.subject_key")
        assert requests.sweep_requests(rights.context, rights.pipeline.clock.now())["holds_ended"] == 1
        assert rights.pipeline.one("SELECT count(*) FROM vault.subject_key") == keys - 1
        assert rights.pipeline.one("SELECT count(*) FROM rights.hold") == 0


def _held(rights: RequestPipeline) -> dict[str, Any]:
    with rights.context.database.transaction() as tx:
        hold_id, sealed = tx.execute("SELECT hold_id, sealed FROM rights.hold")[0]
        opened = rights.context.vault.open(tx, HOLD_COLUMN, Item(hold_id, hold_id, bytes(sealed)))
    assert opened is not None
    found: dict[str, Any] = json.loads(opened)
    return found


def test_an_erasure_takes_as_many_statements_for_many_rows_as_for_few(rights: RequestPipeline) -> None:
    rights.pipeline.send(ADA, *[order("ada") for _ in range(3)])
    rights.pipeline.send(BOB, *[order("bob") for _ in range(60)], *[track(userId="bob") for _ in range(60)])
    rights.pipeline.send(order("first"))
    sent = []
    for name in ("first", "ada", "bob"):  # the first one makes the replay file
        request = rights.ask("erasure", ("user_id", name))
        before = rights.context.database.statements
        erase(rights.context, request.request_id)
        sent.append(rights.context.database.statements - before)
    assert sent[1] == sent[2]
    assert rights.pipeline.one("SELECT count(*) FROM behavior.event") == 0
