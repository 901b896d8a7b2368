"""Facts in the ledger over a real database: appended in the acting transaction, listed, proved, erased."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from cdp.audit.mirror import Mirror
from cdp.audit.sequencer import Log, log_name, sequence
from cdp.audit.store.facts import (
    append,
    append_many,
    check_facts,
    entries,
    erase_salts,
    expire_facts,
    receipt,
    receipt_file,
)
from cdp.audit.store.tree import newest_tree
from cdp.audit.verify import Verified, verify_receipt
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from cdp.kit.ids import encode_id
from cdp.kit.state import StateFolder
from cdp.vault.sign import Signer, is_signed

pytestmark = pytest.mark.postgres

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SIGNER = Signer(b"\x09" * 32)


@pytest.fixture
def log(home: Path) -> Log:
    return Log(SIGNER, Mirror(StateFolder(home / "audit")), log_name(SIGNER.public_key))


def read(count: int) -> dict[str, object]:
    return {
        "kind": "data.read",
        "actor": "marketer",
        "token": 3,
        "read": "members",
        "count": count,
        "question": "0" * 64,
    }


def applied(version: int) -> dict[str, object]:
    return {"kind": "policy.applied", "policy": f"{version:064x}"}


def test_facts_get_ids_in_order_in_one_statement(database: Database) -> None:
    with database.transaction() as tx:
        ids = append_many(tx, [read(count) for count in range(40)], NOW)
        assert tx.statements == 1
        assert append_many(tx, [], NOW) == []
        found = entries(tx, limit=1000)

    assert ids == sorted(ids)
    assert [entry.entry_id for entry in reversed(found)] == ids
    assert [entry.body["count"] for entry in reversed(found)] == list(range(40))
    assert {(entry.index, entry.kind, entry.recorded_at) for entry in found} == {(None, "data.read", NOW)}


def test_a_refused_fact_stores_nothing_of_its_batch(database: Database) -> None:
    with database.transaction() as tx:
        with pytest.raises(Fault, match="audit_fact_refused"):
            append_many(tx, [read(1), {**read(2), "purpose": "Ana Lopez"}], NOW)
        assert entries(tx) == []


def test_a_fact_vanishes_with_the_transaction_that_acted(database: Database, log: Log) -> None:
    class Stopped(Exception):
        pass

    def act_and_stop() -> None:
        with database.transaction() as tx:
            append(tx, read(1), NOW)
            raise Stopped

    with pytest.raises(Stopped):
        act_and_stop()

    with database.transaction() as tx:
        assert sequence(tx, log, NOW).placed == 1  # only that the log began
        assert [entry.kind for entry in entries(tx)] == ["log.started"]


def test_listing_by_kind_time_and_page(database: Database) -> None:
    with database.transaction() as tx:
        for day in range(6):
            append_many(tx, [read(day), applied(day)], NOW + timedelta(days=day))

        by_kind = entries(tx, kinds=["policy.applied"], since=NOW + timedelta(days=1), until=NOW + timedelta(days=3))
        first = entries(tx, limit=5)
        second = entries(tx, limit=5, before=first[-1].entry_id)

    assert [(entry.kind, entry.recorded_at) for entry in by_kind] == [
        ("policy.applied", NOW + timedelta(days=2)),
        ("policy.applied", NOW + timedelta(days=1)),
    ]
    assert len({entry.entry_id for entry in first + second}) == 10


def test_two_equal_facts_have_different_leaves(database: Database) -> None:
    with database.transaction() as tx:
        append_many(tx, [read(1), read(1)], NOW)
        leaves = [row[0] for row in tx.all(text("SELECT commitment FROM audit.entry"))]

    assert len(set(leaves)) == 2


def test_a_receipt_is_verified_without_the_database(database: Database, log: Log) -> None:
    with database.transaction() as tx:
        ids = append_many(tx, [read(count) for count in range(300)], NOW)
        assert receipt(tx, ids[5]) is None
    with database.transaction() as tx:
        sequence(tx, log, NOW)
    with database.transaction(read_only=True) as tx:
        tree = newest_tree(tx)
        documents = [receipt_file(tx, one, SIGNER.public_key) for one in ids]

    assert tree is not None
    trusted = [log.vkey(tree.origin)]
    for count, document in enumerate(documents):
        verified = verify_receipt(document, trusted, is_signed)
        assert isinstance(verified, Verified)
        assert (verified.body["count"], verified.checkpoint.size) == (count, 301)
    altered = documents[7]
    assert altered is not None
    altered["body"]["count"] = 8
    assert not isinstance(verify_receipt(altered, trusted, is_signed), Verified)


def test_a_proof_takes_a_constant_number_of_statements(database: Database, log: Log) -> None:
    with database.transaction() as tx:
        (entry,) = append_many(tx, [read(1)], NOW)
        append_many(tx, [read(2)] * 2000, NOW)
    with database.transaction() as tx:
        sequence(tx, log, NOW)
    with database.transaction(read_only=True) as tx:
        assert receipt(tx, entry) is not None
        assert tx.statements == 3


def granted(record_id: int) -> dict[str, object]:
    fact: dict[str, object] = {"kind": "consent.recorded", "actor": "privacy", "purpose": "analytics", "act": "grant"}
    return fact | {"authority": "operator", "record": encode_id("con", record_id)}


def test_an_erased_fact_leaves_its_leaf_and_other_proofs_untouched(database: Database, log: Log) -> None:
    with database.transaction() as tx:
        gone, stays = append_many(tx, [granted(5), granted(6)], NOW)
    with database.transaction() as tx:
        before = sequence(tx, log, NOW).head
    with database.transaction() as tx:
        assert erase_salts(tx, [encode_id("con", 5), encode_id("con", 7)]) == 1

    with database.transaction() as tx:
        assert receipt(tx, gone) is None
        assert receipt_file(tx, gone, SIGNER.public_key) is None
        assert receipt_file(tx, stays, SIGNER.public_key) is not None
        assert gone not in [entry.entry_id for entry in entries(tx)]
        assert sequence(tx, log, NOW).head == before
        assert tx.scalar(text("SELECT count(*) FROM audit.entry")) == 3


def test_facts_expire_by_kind_and_age_in_bounded_steps(database: Database) -> None:
    with database.transaction() as tx:
        append_many(tx, [read(count) for count in range(5)] + [applied(1)], NOW)
        append_many(tx, [read(9)], NOW + timedelta(days=2))

        assert expire_facts(tx, ["data.read"], NOW + timedelta(days=1), limit=3) == 3
        assert expire_facts(tx, ["data.read"], NOW + timedelta(days=1), limit=3) == 2
        assert expire_facts(tx, ["data.read"], NOW + timedelta(days=1), limit=3) == 0
        assert [entry.kind for entry in entries(tx)] == ["data.read", "policy.applied"]


def test_a_fact_altered_in_the_database_is_found(database: Database) -> None:
    with database.transaction() as tx:
        ids = append_many(tx, [read(count) for count in range(5)], NOW)
        assert check_facts(tx).altered == ()
        tx.execute_core(
            text("UPDATE audit.fact SET body = body || '{\"count\": 7}' WHERE entry_id = :entry"), {"entry": ids[3]}
        )

        assert check_facts(tx).checked == 5
        assert check_facts(tx).altered == (ids[3],)
        assert check_facts(tx, since=NOW + timedelta(days=1)).checked == 0


def test_checking_many_facts_goes_on_until_the_last(database: Database) -> None:
    with database.transaction() as tx:
        ids = append_many(tx, [read(1)] * 5001, NOW)
        tx.execute_core(
            text("UPDATE audit.fact SET body = body || '{\"count\": 7}' WHERE entry_id = :entry"), {"entry": ids[-1]}
        )

        assert check_facts(tx).checked == 5001
        assert check_facts(tx).altered == (ids[-1],)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit.entry SET commitment = 'short'",
        "UPDATE audit.entry SET leaf_index = 0",
        "UPDATE audit.fact SET salt = ''",
        "UPDATE audit.fact SET body = '[]'",
        "INSERT INTO audit.entry (commitment, recorded_at) SELECT commitment, recorded_at FROM audit.entry",
    ],
)
def test_what_makes_no_sense_cannot_be_stored(database: Database, statement: str) -> None:
    with database.transaction() as tx:
        append(tx, read(1), NOW)
        with pytest.raises(Exception, match="constraint"), tx.savepoint():
            tx.execute_core(text(statement))
