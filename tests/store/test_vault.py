"""The vault over a real database: opening, subject keys, shredding, pseudonyms."""

import hashlib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import ParamSpec

import pytest
from sqlalchemy import text

from cdp.kit.db import Database
from cdp.kit.errors import Fault
from cdp.kit.ids import new_ids
from cdp.vault.pseudonym import GRAPH, SUPPRESSION, Domain, destination
from cdp.vault.seal import SealedColumn
from cdp.vault.vault import Item, Vault, open_vault

P = ParamSpec("P")

pytestmark = pytest.mark.postgres

NOW = datetime(2026, 3, 1, tzinfo=UTC)
PLACE = SealedColumn("identity.identifier", "sealed")


def opened(
    database: Database, home: Path, *, master_key: bytes | None = None, domains: Iterable[Domain] = ()
) -> tuple[Vault, str | None]:
    with database.transaction() as tx:
        return open_vault(tx, home / "keys", master_key, now=NOW, domains=domains)


def code_of(call: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> str:
    with pytest.raises(Fault) as caught:
        call(*args, **kwargs)
    return caught.value.code


@pytest.fixture
def vault(database: Database, home: Path) -> Vault:
    return opened(database, home)[0]


def test_a_new_database_gets_its_keys_and_a_notice_once(database: Database, home: Path) -> None:
    vault, notice = opened(database, home)
    again, silence = opened(database, home)

    assert notice is not None
    assert "master.key" in notice
    assert silence is None
    assert vault.hashes.pseudonym(GRAPH, "email", "a@example.com") == again.hashes.pseudonym(
        GRAPH, "email", "a@example.com"
    )
    assert vault.root_keys.signer().public_key == again.root_keys.signer().public_key


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda keys: (keys / "master.key").unlink(), "master_key_missing"),
        (lambda keys: (keys / "master.key").write_text("00" * 32), "wrong_master_key"),
        (lambda keys: (keys / "master.key").write_text("00"), "master_key_malformed"),
        (lambda keys: (keys / "master.key").chmod(0o644), "key_file_exposed"),
        (lambda keys: (keys / "epoch.1.wrapped").unlink(), "root_key_missing"),
        (
            lambda keys: (keys / "epoch.1.wrapped").write_bytes((keys / "suppression.1.wrapped").read_bytes()),
            "wrong_master_key",
        ),
        (lambda keys: [path.unlink() for path in keys.iterdir()], "master_key_missing"),
    ],
)
def test_missing_or_wrong_keys_beside_a_database_refuse_to_open_and_make_nothing(
    vault: Vault, database: Database, home: Path, change: Callable[[Path], object], code: str
) -> None:
    change(home / "keys")
    before = sorted(path.name for path in (home / "keys").iterdir())

    assert code_of(opened, database, home) == code
    assert sorted(path.name for path in (home / "keys").iterdir()) == before


def test_a_wrong_key_from_outside_is_refused(vault: Vault, database: Database, home: Path) -> None:
    assert code_of(opened, database, home, master_key=b"1" * 32) == "wrong_master_key"
    for path in (home / "keys").iterdir():
        path.unlink()
    assert code_of(opened, database, home, master_key=b"1" * 32) == "wrong_master_key"


def test_the_keys_of_another_database_are_refused(vault: Vault, database: Database, home: Path, tmp_path: Path) -> None:
    with database.transaction() as tx:
        tx.execute_core(text("TRUNCATE vault.key_check, vault.epoch, vault.subject_key"))
    (home / "keys/master.key").unlink()

    assert code_of(opened, database, home) == "wrong_master_key"  # a new master key does not open the old files


def test_new_keys_seal_at_once_and_open_in_another_process(vault: Vault, database: Database, home: Path) -> None:
    ids = new_ids(50)
    with database.transaction() as tx:
        keys = vault.subject_keys.create(tx, ids)
        sealed = vault.seal_many(keys, PLACE, [Item(one, one, b"value %d" % at) for at, one in enumerate(ids)])

    other = opened(database, home)[0]
    with database.transaction() as tx:
        loaded = other.subject_keys.keys_for(tx, ids)
        items = [Item(one, one, envelope) for one, envelope in zip(ids, sealed, strict=True)]
        assert other.open_many(loaded, PLACE, items) == [b"value %d" % at for at in range(50)]
        assert other.open(tx, PLACE, items[7]) == b"value 7"
    assert loaded == keys


def test_any_number_of_keys_costs_a_constant_number_of_statements_and_none_when_remembered(
    vault: Vault, database: Database, home: Path
) -> None:
    ids = new_ids(300)
    with database.transaction() as tx:
        vault.subject_keys.create(tx, ids)
        assert tx.statements == 2
        vault.subject_keys.keys_for(tx, ids)
        vault.subject_keys.create(tx, [])
        assert tx.statements == 2
        vault.subject_keys.evict_all()
        vault.subject_keys.keys_for(tx, ids)
        assert tx.statements == 3
        vault.subject_keys.keys_for(tx, ids)
        assert tx.statements == 3


def test_no_subject_key_lies_in_the_database_in_the_clear(vault: Vault, database: Database) -> None:
    ids = new_ids(3)
    with database.transaction() as tx:
        keys = vault.subject_keys.create(tx, ids)
        stored = b"".join(row[0] for row in tx.all(text("SELECT wrapped FROM vault.subject_key")))

    assert len(set(keys.values())) == 3
    assert not any(key in stored for key in keys.values())


def test_a_key_moved_to_another_subject_does_not_open(vault: Vault, database: Database) -> None:
    one, other = new_ids(2)
    with database.transaction() as tx:
        vault.subject_keys.create(tx, [one, other])
        tx.execute_core(
            text("UPDATE vault.subject_key SET wrapped = (SELECT wrapped FROM vault.subject_key WHERE subject_id = :one) "
                 "WHERE subject_id = :other"),
            {"one": one, "other": other},
        )  # fmt: skip
        vault.subject_keys.evict_all()
        assert code_of(vault.subject_keys.keys_for, tx, [other]) == "seal_broken"


def test_values_of_a_shredded_subject_can_neither_be_opened_nor_sealed(
    vault: Vault, database: Database, home: Path
) -> None:
    shredded, other = new_ids(2)
    with database.transaction() as tx:
        keys = vault.subject_keys.create(tx, [shredded, other])
        sealed = vault.seal_many(keys, PLACE, [Item(one, 1, b"v") for one in (shredded, other)])
    with database.transaction() as tx:
        assert vault.subject_keys.shred(tx, [shredded, 12345]) == 1
    vault.subject_keys.evict([shredded])

    for process in (vault, opened(database, home)[0]):
        with database.transaction() as tx:
            keys = process.subject_keys.keys_for(tx, [shredded, other])
            assert set(keys) == {other}
            items = [Item(shredded, 1, sealed[0]), Item(other, 1, sealed[1])]
            assert process.open_many(keys, PLACE, items) == [None, b"v"]
            assert code_of(process.seal, tx, PLACE, Item(shredded, 1, b"again")) == "subject_key_shredded"


def test_keys_loaded_by_another_transaction_during_shredding_are_not_cached(vault: Vault, database: Database) -> None:
    ids = new_ids(2)
    with database.transaction() as tx:
        vault.subject_keys.create(tx, ids)
    vault.subject_keys.evict_all()
    with database.transaction() as shredding:
        vault.subject_keys.shred(shredding, ids)
        with database.transaction() as tx:
            assert set(vault.subject_keys.keys_for(tx, ids)) == set(ids)
    with database.transaction() as tx:
        assert vault.subject_keys.keys_for(tx, ids) == {}


def test_a_transaction_with_an_older_snapshot_caches_no_shredded_key(vault: Vault, database: Database) -> None:
    ids = new_ids(2)
    with database.transaction() as tx:
        vault.subject_keys.create(tx, ids)
    with database.transaction(one_instant=True) as tx:
        tx.scalar(text("SELECT count(*) FROM vault.subject_key"))
        with database.transaction() as shredding:
            vault.subject_keys.shred(shredding, ids)
        assert set(vault.subject_keys.keys_for(tx, ids)) == set(ids)
    with database.transaction() as tx:
        assert vault.subject_keys.keys_for(tx, ids) == {}


def test_pseudonyms_cannot_be_joined_across_domains(vault: Vault, database: Database, home: Path) -> None:
    vault = opened(database, home, domains=[destination("mailer"), destination("printer")])[0]
    domains = [GRAPH, SUPPRESSION, destination("mailer"), destination("printer")]

    assert len({vault.hashes.pseudonym(domain, "email", "a@example.com") for domain in domains}) == 4
    assert code_of(vault.hashes.pseudonym, destination("unknown"), "email", "a@example.com") == "root_key_missing"


def test_pseudonyms_come_in_order_and_keep_odd_texts_apart(vault: Vault) -> None:
    identifiers = [
        ("email", "a@example.com"),
        ("user_id", "a@example.com"),
        ("user_id", "\0"),
        ("user_id", ""),
        ("user_id", "\ud800"),
    ]

    found = vault.hashes.pseudonyms(GRAPH, identifiers)

    assert found == [vault.hashes.pseudonym(GRAPH, kind, value) for kind, value in identifiers]
    assert len(set(found)) == 5
    assert {len(one) for one in found} == {32}


def test_a_received_hash_finds_the_form_that_was_stored(vault: Vault) -> None:
    stored = dict(vault.hashes.form_pseudonyms(GRAPH, "phone", "+14155559317"))
    received = hashlib.sha256(b"4155559317").digest()
    assert vault.hashes.received_form_pseudonyms(GRAPH, "phone", "drop", digest=received) == [
        ("phone.drop", stored["phone.drop"])
    ]
    assert received not in stored.values()


def test_message_digests_depend_on_source_and_message(vault: Vault) -> None:
    assert vault.hashes.message_digests(1, ["a", "b", "a"])[0] == vault.hashes.message_digests(1, ["a", "b", "a"])[2]
    digests = {*vault.hashes.message_digests(1, ["a", "b"]), *vault.hashes.message_digests(2, ["a", "b"])}
    assert len(digests) == 4
