"""Erasure, export, restore and the log: but for its count, a deferred message is as one that was never sent."""

from pathlib import Path
from typing import Any

import pytest

from cdp.flows.consent.acts import ConsentStatement, record
from cdp.flows.ingest.batch import Ingest
from cdp.flows.operations.retention import sweep
from cdp.flows.rights import requests
from cdp.flows.rights.replay import is_behind, replay
from cdp.kit.db import Database
from tests.flows.test_replay import Copy
from tests.support.deferring import PATIENT_SHOP, Deferring, open_deferring
from tests.support.messages import track
from tests.support.policies import shipped
from tests.support.requests import open_request_pipeline, restarted

pytestmark = pytest.mark.postgres

DEVICE = ("anonymous_id", "d")


@pytest.fixture
def store(database: Database, tmp_path: Path) -> Deferring:
    return open_deferring(database, open_request_pipeline(database, shipped(), tmp_path))


def facts(store: Deferring) -> list[dict[str, Any]]:
    """The entries of the log without ids, salts and counts of messages."""
    with store.rights.context.database.transaction(read_only=True) as tx:
        rows = tx.execute(
            "SELECT kind, body - '{request,record,acts,states,key}'::text[] FROM audit.fact ORDER BY entry_id"
        )
    return [{"kind": kind, **body} for kind, body in rows]


def restore(store: Deferring, copy: Copy) -> None:
    """Restore a copy, and apply the replay file as a service that starts does."""
    rights = store.rights
    copy.restore()
    assert is_behind(restarted(rights.context))
    replay(restarted(rights.context), store.now)
    context = rights.context
    rights.pipeline.ingest = Ingest(
        context.database, context.vault, context.policy, clock=rights.pipeline.clock, replay=context.replay
    )


def test_an_erasure_ends_what_waits_from_its_verification_on(store: Deferring) -> None:
    store.view()
    store.view("another")
    request = store.rights.ask("erasure", DEVICE)
    assert store.waiting == 1
    assert store.states == {"deferred": 1, "suppressed device": 1}
    assert store.view() == "suppressed"
    done = requests.run(store.rights.context, request.request_id, store.now)
    assert done.is_nothing_held
    assert store.waiting == 1


def test_an_erasure_of_a_known_person_ends_what_waits_of_her_devices(store: Deferring) -> None:
    store.answer(analytics=True)
    assert store.send(track("Cart Viewed", anonymousId="d")) in ("stored", "deferred")
    store.send({"type": "identify", "anonymousId": "d", "userId": "ada"}, source=PATIENT_SHOP)
    store.rights.erase(("user_id", "ada"))
    assert store.waiting == 0


@pytest.mark.parametrize("end", ["refusal", "term", "erasure"])
def test_the_log_is_that_of_a_world_in_which_it_was_never_sent(
    end: str, store: Deferring, database: Database, tmp_path: Path
) -> None:
    """But for a count of the sweep."""
    found = []
    for device in ("d", "e"):
        before = len(facts(store))
        if device == "d":
            store.view(device)
            before += 1
        if end == "refusal":
            store.answer(device, analytics=False)
        elif end == "erasure":
            store.rights.erase(("anonymous_id", device))
        else:
            store.rights.later(hours=25)
        store.work()
        found.append([fact for fact in facts(store)[before:] if fact["kind"] != "sweep.run"])
        assert store.waiting == 0
    assert found[0] == found[1]


def test_an_access_request_shows_what_waits_and_hides_others(store: Deferring) -> None:
    store.send(
        track(
            anonymousId="d",
            messageId="m",
            properties={"note": "mine"},
            context={"traits": {"email": "bob@example.com"}},
        )
    )
    store.view("another", properties={"note": "not mine"})
    document = store.rights.export(DEVICE)
    (message,) = document["data"]["consent.deferred_message"]
    assert message["message"]["properties"] == {"note": "mine"}
    assert "bob@example.com" not in str(document)
    assert "not mine" not in str(document)
    assert [row["source"] for row in document["data"]["consent.deferred_device"]] == ["web"]
    assert store.rights.export(("anonymous_id", "third"))["data"]["consent.deferred_message"] == []


@pytest.mark.parametrize("means", ["message", "interface"])
def test_a_restored_copy_ends_them_again_after_a_no(store: Deferring, means: str) -> None:
    store.view()
    store.view("other")
    copy = Copy(store.rights)
    store.rights.later(minutes=1)
    if means == "message":
        store.answer(analytics=False)
    else:
        record(store.rights.context, ConsentStatement(DEVICE, "analytics", "refuse", jurisdiction="eu"))
    assert store.waiting == 1
    restore(store, copy)
    assert store.waiting == 1
    store.rights.later(minutes=1)
    store.answer("other", analytics=True)
    store.work()
    assert len(store.stored()) == 1


def test_a_restored_copy_ends_them_again_after_an_erasure(store: Deferring) -> None:
    store.view()
    copy = Copy(store.rights)
    store.rights.erase(DEVICE)
    restore(store, copy)
    assert store.waiting == 0


def test_the_retention_sweep_ends_them_too(store: Deferring) -> None:
    store.view()
    store.rights.later(hours=24)
    planned = sweep(store.rights.context, store.now, dry_run=True)
    assert [line.rows for line in planned.lines if line.table == "consent.deferred_message"] == [1]
    sweep(store.rights.context, store.now)
    assert store.waiting == 0


def test_no_reader_may_read_them(store: Deferring) -> None:
    store.view()
    for table in ("consent.deferred_message", "consent.deferred_device"):
        query = f"SELECT count(*) FROM pg_roles WHERE NOT rolsuper AND has_table_privilege(oid, '{table}', 'SELECT')"
        assert store.one(f"{query} AND rolname LIKE 'cdp_%'") == 0


def test_no_name_and_no_text_of_what_waited_is_left(store: Deferring) -> None:
    """Nothing but ciphertext was ever written, and its key is gone."""
    store.view("secret-device-name", properties={"note": "a very secret note"})
    with store.rights.context.database.transaction(read_only=True) as tx:
        written = b"".join(
            bytes(row[0]) for row in tx.execute("SELECT convert_to(m::text, 'UTF8') FROM consent.deferred_message AS m")
        )
        ((key,),) = tx.execute("SELECT wrapped FROM vault.subject_key")
    assert b"secret" not in written
    assert b"secret".hex().encode() not in written
    store.rights.erase(("anonymous_id", "secret-device-name"))
    store.rights.context.database.close()
    with store.rights.context.database.transaction(read_only=True) as tx:
        assert tx.execute("SELECT count(*) FROM vault.subject_key WHERE wrapped = %(key)s", {"key": key}) == [(0,)]
