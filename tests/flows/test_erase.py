"""Erasing a person: what goes, what stays, and that a run which was stopped goes on."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cdp.accounting.model import Outcome, State
from cdp.flows.rights import requests
from cdp.flows.rights.erase import erase
from cdp.flows.rights.legal_hold import HOLD_PLACE
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from cdp.rights.model import Status, Verb
from cdp.vault.vault import Item
from tests.support.pipeline import SHOP, WEB
from tests.support.policies import permit_all
from tests.support.requests import ADA, BOB, RequestPipeline, open_request_pipeline

pytestmark = pytest.mark.postgres


@pytest.fixture
def office(database: Database, tmp_path: Path) -> RequestPipeline:
    return open_request_pipeline(database, permit_all(), tmp_path)


def track(event: str = "Product Viewed", **fields: Any) -> dict[str, Any]:
    return {"type": "track", "event": event, **fields}


def order(user_id: str, **fields: Any) -> dict[str, Any]:
    return track("Order Completed", userId=user_id, properties={"order_id": "o-77", "revenue": 12.5}, **fields)


def test_nothing_of_the_person_is_left_and_others_are_untouched(office: RequestPipeline) -> None:
    office.pipeline.send(BOB, order("bob"))
    before = office.counts()
    office.pipeline.send(ADA, track(userId="ada"), track(userId="ada", anonymousId="ada-phone"))
    ended = office.erase(("email", "ada@example.com"))
    assert ended.status is Status.FULFILLED
    assert office.counts() == before
    assert office.pipeline.partition() == {frozenset({("user_id", "bob"), ("email", "bob@example.com")})}


def test_the_keys_are_shredded(office: RequestPipeline) -> None:
    office.pipeline.send(BOB)
    keys = office.pipeline.one("SELECT count(*) FROM vault.subject_key")
    office.pipeline.send(ADA)
    office.erase(("user_id", "ada"))
    assert office.pipeline.one("SELECT count(*) FROM vault.subject_key") == keys


@pytest.mark.parametrize("named", [("email", "ADA@example.com "), ("user_id", "ada"), ("anonymous_id", "ada-phone")])
def test_any_verified_identifier_reaches_all_that_servers_linked(
    office: RequestPipeline, named: tuple[str, str]
) -> None:
    office.pipeline.send(ADA, track(userId="ada", anonymousId="ada-phone"), track(anonymousId="ada-phone"))
    office.erase(named)
    assert office.pipeline.people() == {}
    assert office.pipeline.one("SELECT count(*) FROM behavior.event") == 0


def test_a_retry_of_an_old_message_does_not_bring_the_person_back(office: RequestPipeline) -> None:
    old = order("ada", anonymousId="ada-phone", messageId="old")
    office.pipeline.send(ADA, old)
    office.erase(("user_id", "ada"))
    outcomes = office.pipeline.send(old, ADA, track(anonymousId="ada-phone"))
    assert [each.state for each in outcomes] == [State.SUPPRESSED] * 3
    assert office.pipeline.people() == {}


def test_from_verified_on_nothing_is_stored(office: RequestPipeline) -> None:
    office.pipeline.send(ADA)
    request = requests.open_request(
        office.context, kind="erasure", regime="gdpr", identifiers=[("user_id", "ada")], now=office.pipeline.clock.now()
    )
    assert office.pipeline.send(order("ada"))[0].state is State.STORED
    requests.verify(office.context, request.request_id, office.pipeline.clock.now())
    assert office.pipeline.send(order("ada"))[0] == Outcome(State.SUPPRESSED, "person")
    linked = {"type": "identify", "userId": "new", "traits": {"email": "ada@example.com"}}
    assert office.pipeline.send(linked)[0].state is State.SUPPRESSED


def test_a_withdrawn_erasure_lowers_the_barrier_and_shreds_what_it_named(office: RequestPipeline) -> None:
    office.pipeline.send(ADA)
    request = office.ask("erasure", ("user_id", "ada"))
    requests.withdraw(office.context, request.request_id, office.pipeline.clock.now())
    assert office.pipeline.send(order("ada"))[0].state is State.STORED
    assert office.pipeline.one("SELECT count(*) FROM rights.request_identifier") == 0
    assert office.pipeline.one("SELECT count(*) FROM rights.suppression") == 0


def test_a_suppressed_device_is_dropped_beside_others_and_refused_alone(office: RequestPipeline) -> None:
    office.pipeline.send(ADA, track(userId="ada", anonymousId="tablet"))
    office.erase(("user_id", "ada"))
    assert office.pipeline.send(track(anonymousId="tablet"))[0] == Outcome(State.SUPPRESSED, "device")
    assert office.pipeline.send(track(userId="bob", anonymousId="tablet"))[0].state is State.STORED
    assert office.pipeline.partition() == {frozenset({("user_id", "bob")})}


def test_an_unknown_person_ends_like_anybody(office: RequestPipeline) -> None:
    ended = office.erase(("email", "nobody@example.com"))
    assert ended.status is Status.FULFILLED
    assert office.pipeline.send({"type": "identify", "traits": {"email": "nobody@example.com"}, "anonymousId": "x"})[
        0
    ].state is (State.SUPPRESSED)


def test_the_dry_run_tells_rows_and_touches_nothing(office: RequestPipeline) -> None:
    office.pipeline.send(ADA, order("ada"), order("ada", messageId="2"))
    request = office.ask("erasure", ("user_id", "ada"))
    before = office.counts()
    plan = requests.run(office.context, request.request_id, office.pipeline.clock.now(), dry_run=True)
    rows = {(each.table, each.verb): each.rows for each in plan.steps}
    assert rows["behavior.event", Verb.DELETE] == 3
    assert rows["identity.identifier", Verb.DELETE] == 2
    assert all(each.reason for each in plan.steps)
    assert office.counts() == before
    assert plan.request.status is Status.VERIFIED


def test_what_the_dry_run_says_is_what_is_done(office: RequestPipeline) -> None:
    office.pipeline.send(ADA, order("ada"), track(userId="ada", anonymousId="ada-phone"))
    request = office.ask("erasure", ("user_id", "ada"))
    now = office.pipeline.clock.now()
    planned = requests.run(office.context, request.request_id, now, dry_run=True)
    done = requests.run(office.context, request.request_id, now)
    told = {each.table: each.rows for each in done.steps if each.verb is not Verb.KEEP}
    assert told == {each.table: each.rows for each in planned.steps if each.verb is not Verb.KEEP}
    assert all(each.is_done for each in done.steps)


def test_running_again_changes_nothing(office: RequestPipeline) -> None:
    office.pipeline.send(BOB, ADA)
    request = office.ask("erasure", ("user_id", "ada"))
    first = requests.run(office.context, request.request_id, office.pipeline.clock.now())
    before = office.counts()
    assert requests.run(office.context, request.request_id, office.pipeline.clock.now()) == first
    assert office.counts() == before


@pytest.mark.parametrize("rows_max", [1, 3, 7, 100_000])
def test_chunks_of_any_size_come_to_the_same(office: RequestPipeline, rows_max: int) -> None:
    office.pipeline.send(BOB, order("bob"))
    before = office.counts()
    office.pipeline.send(ADA, *[track(userId="ada", messageId=f"m{n}") for n in range(20)])
    request = office.ask("erasure", ("user_id", "ada"))
    ended = erase(office.context, request.request_id, office.pipeline.clock.now(), rows_max=rows_max)
    assert office.counts() == before
    assert {each.table: each.rows for each in ended.steps}["behavior.event"] == 21


def test_only_a_verified_request_is_carried_out(office: RequestPipeline) -> None:
    now = office.pipeline.clock.now()
    request = requests.open_request(
        office.context, kind="erasure", regime="gdpr", identifiers=[("user_id", "ada")], now=now
    )
    with pytest.raises(Fault, match="request_not_next"):
        requests.run(office.context, request.request_id, now)
    requests.deny(office.context, request.request_id, "unverified", now=now)
    with pytest.raises(Fault, match="request_not_next"):
        requests.run(office.context, request.request_id, now)


def test_the_request_names_nobody_afterwards_and_its_facts_stay(office: RequestPipeline) -> None:
    office.pipeline.send(ADA)
    ended = office.erase(("user_id", "ada"))
    assert office.pipeline.one("SELECT count(*) FROM rights.request_identifier") == 0
    assert office.pipeline.one("SELECT count(*) FROM rights.suppression WHERE request_id <> 0") == 0
    shown = requests.show(office.context, ended.request_id)
    assert shown.identifiers == ()
    assert (shown.request.status, shown.request.kind) == (Status.FULFILLED, "erasure")


def test_whoever_received_the_person_is_told(office: RequestPipeline) -> None:
    office.pipeline.send(ADA)
    with office.context.database.transaction() as tx:
        for destination, attempts in (("newsletter", 2), ("never_sent", 0)):
            tx.execute(
                "INSERT INTO destinations.outbox (destination, kind, profile_id, recipient_pseudonym, body, created_at, "
                "due_at, attempts) SELECT %(to)s, 'membership', profile_id, 'theirs', '{}', %(now)s, %(now)s, %(attempts)s "
                "FROM identity.profile",
                {"to": destination, "attempts": attempts, "now": office.pipeline.clock.now()},
            )
    ended = office.erase(("user_id", "ada"))
    with office.context.database.transaction() as tx:
        rows = tx.execute(
            "SELECT destination, kind, profile_id, recipient_pseudonym, body ->> 'request' FROM destinations.outbox"
        )
    assert rows == [("newsletter", "erasure", None, b"theirs", ended.outward_id)]
    body = office.pipeline.one("SELECT body FROM audit.fact WHERE kind = 'request.fulfilled'")
    assert (body["recipients"], body["recipients_notified"]) == (["newsletter"], 1)


def test_two_runs_at_once_erase_once_while_messages_come_in(office: RequestPipeline) -> None:
    office.pipeline.send(BOB)
    before = office.counts()
    office.pipeline.send(ADA, *[track(userId="ada", messageId=f"m{n}") for n in range(30)])
    request = office.ask("erasure", ("user_id", "ada"))
    now = office.pipeline.clock.now()
    with ThreadPoolExecutor(3) as pool:
        runs = [pool.submit(erase, office.context, request.request_id, now, rows_max=5) for _ in range(2)]
        flood = pool.submit(office.pipeline.send_each, [track(userId="ada", messageId=f"late{n}") for n in range(10)])
        assert {each.state for each in flood.result()} == {State.SUPPRESSED}
        assert {each.result().request.status for each in runs} == {Status.FULFILLED}
    assert office.counts() == before
    assert office.pipeline.one("SELECT count(*) FROM audit.fact WHERE kind = 'request.fulfilled'") == 1


class TestReach:
    """rights.md, Erasure 0."""

    def test_what_only_a_browser_linked_waits_for_a_reviewer(self, office: RequestPipeline) -> None:
        office.pipeline.send(track(anonymousId="victim"), source=WEB)
        office.pipeline.send({**ADA, "anonymousId": "victim"}, source=WEB)
        request = office.ask("erasure", ("email", "ada@example.com"))
        done = requests.run(office.context, request.request_id, office.pipeline.clock.now())
        assert done.waiting == 1
        assert office.pipeline.partition() == {frozenset({("anonymous_id", "victim")})}
        assert office.pipeline.one("SELECT count(*) FROM behavior.event") == 1

    def test_what_waits_is_shown_to_the_reviewer(self, office: RequestPipeline) -> None:
        office.pipeline.send(track(anonymousId="hers"), source=WEB)
        office.pipeline.send({**ADA, "anonymousId": "hers"}, source=WEB)
        office.pipeline.send(ADA, source=SHOP)
        request = office.ask("erasure", ("email", "ada@example.com"))
        shown = requests.show(office.context, request.request_id)
        assert [(each.type, each.value) for each in shown.waiting] == [("anonymous_id", "hers")]

    def test_a_profile_that_goes_on_keeps_its_id_and_stands_on_what_is_left(self, office: RequestPipeline) -> None:
        grant = {"context": {"consent": {"categoryPreferences": {"advertising": True}}}}
        office.pipeline.send({**ADA, "anonymousId": "hers", **grant}, source=WEB)
        office.pipeline.send(track(anonymousId="hers"), source=WEB)
        (profile,) = office.pipeline.people()
        traits = "SELECT traits::text FROM consent.permitted WHERE purpose = 'analytics'"
        assert "36" in office.pipeline.one(traits)
        office.erase(("email", "ada@example.com"), ("user_id", "ada"))
        assert set(office.pipeline.people()) == {profile}
        assert office.pipeline.one(traits) == "{}"
        assert office.pipeline.one(
            "SELECT p.origin_sequence = r.sequence FROM identity.profile p, identity.resolution r"
        )

    def test_a_second_request_that_names_it_takes_the_rest(self, office: RequestPipeline) -> None:
        office.pipeline.send(track(anonymousId="hers"), source=WEB)
        office.pipeline.send({**ADA, "anonymousId": "hers"}, source=WEB)
        office.erase(("email", "ada@example.com"), ("anonymous_id", "hers"), ("user_id", "ada"))
        assert office.pipeline.people() == {}
        assert office.pipeline.one("SELECT count(*) FROM behavior.event") == 0

    def test_a_shared_tablet_stays_with_the_others(self, office: RequestPipeline) -> None:
        office.pipeline.send(BOB, track(userId="bob", anonymousId="tablet"))
        office.pipeline.send(ADA, track(userId="ada", anonymousId="tablet"), track(anonymousId="tablet"))
        office.erase(("user_id", "ada"))
        assert office.pipeline.partition() == {
            frozenset({("user_id", "bob"), ("email", "bob@example.com")}),
            frozenset({("anonymous_id", "tablet")}),
        }
        assert office.pipeline.send(track(anonymousId="tablet"))[0].state is State.STORED
        assert office.pipeline.one("SELECT count(*) FROM behavior.event") == 4

    def test_a_shared_identifier_reaches_only_its_own_profile(self, office: RequestPipeline) -> None:
        office.pipeline.send(BOB, track(userId="bob", anonymousId="tablet"))
        office.pipeline.send(ADA, track(userId="ada", anonymousId="tablet"), track(anonymousId="tablet"))
        office.erase(("anonymous_id", "tablet"))
        assert office.pipeline.one("SELECT count(*) FROM behavior.event") == 4
        people = office.pipeline.partition()
        assert frozenset({("user_id", "ada"), ("email", "ada@example.com")}) in people
        assert frozenset({("user_id", "bob"), ("email", "bob@example.com")}) in people

    def test_merged_profiles_go_too(self, office: RequestPipeline) -> None:
        office.pipeline.send_each([track(anonymousId="a1"), track(anonymousId="a2")])
        office.pipeline.send(track(userId="ada", anonymousId="a2"))
        office.pipeline.send(track(userId="ada", anonymousId="a1"))
        office.erase(("user_id", "ada"))
        assert office.pipeline.one("SELECT count(*) FROM identity.profile") == 0


class TestHold:
    """A law keeps some columns of some events: without the person."""

    def test_held_columns_survive_under_their_own_key_and_nothing_else(self, office: RequestPipeline) -> None:
        office.pipeline.send(ADA, order("ada"), track(userId="ada"))
        office.erase(("user_id", "ada"))
        assert office.pipeline.one("SELECT count(*) FROM rights.hold") == 1
        assert office.pipeline.one("SELECT retention_class FROM rights.hold") == "transactions"
        held = _held(office)
        assert held == {
            "event": "Order Completed",
            "occurred_at": held["occurred_at"],
            "order_id": "o-77",
            "revenue": 12.5,
        }

    def test_a_hold_ends_by_itself(self, office: RequestPipeline) -> None:
        office.pipeline.send(ADA, order("ada"))
        office.erase(("user_id", "ada"))
        office.later(days=2921)
        assert requests.sweep_requests(office.context, office.pipeline.clock.now())["holds_ended"] == 0
        office.later(days=2)
        keys = office.pipeline.one("SELECT count(*) FROM vault.subject_key")
        assert requests.sweep_requests(office.context, office.pipeline.clock.now())["holds_ended"] == 1
        assert office.pipeline.one("SELECT count(*) FROM vault.subject_key") == keys - 1
        assert office.pipeline.one("SELECT count(*) FROM rights.hold") == 0


def _held(office: RequestPipeline) -> dict[str, Any]:
    with office.context.database.transaction() as tx:
        hold_id, sealed = tx.execute("SELECT hold_id, sealed FROM rights.hold")[0]
        opened = office.context.vault.open(tx, HOLD_PLACE, Item(hold_id, hold_id, bytes(sealed)))
    assert opened is not None
    found: dict[str, Any] = json.loads(opened)
    return found


def test_an_erasure_takes_as_many_statements_for_many_rows_as_for_few(office: RequestPipeline) -> None:
    office.pipeline.send(ADA, *[order("ada") for _ in range(3)])
    office.pipeline.send(BOB, *[order("bob") for _ in range(60)], *[track(userId="bob") for _ in range(60)])
    office.pipeline.send(order("first"))
    sent = []
    for name in ("first", "ada", "bob"):  # the first one makes the replay file
        request = office.ask("erasure", ("user_id", name))
        before = office.context.database.statements
        erase(office.context, request.request_id, office.pipeline.clock.now())
        sent.append(office.context.database.statements - before)
    assert sent[1] == sent[2]
    assert office.pipeline.one("SELECT count(*) FROM behavior.event") == 0
