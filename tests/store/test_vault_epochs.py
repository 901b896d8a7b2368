"""Epochs and versions of root keys: rotation re-wraps keys, waits for writers, and destroys at the provider."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cdp.kit.db import Database
from cdp.kit.errors import Fault
from cdp.kit.ids import new_ids
from cdp.vault.epochs import Rewrapped
from cdp.vault.pseudonym import GRAPH
from cdp.vault.vault import Vault, open_vault
from tests.support.waits import PATIENCE_SECONDS, until_blocked

pytestmark = pytest.mark.postgres

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def open_again(database: Database, home: Path) -> Callable[[], Vault]:
    def open_again() -> Vault:
        with database.transaction() as tx:
            return open_vault(tx, home / "keys", None, now=NOW)[0]

    return open_again


@pytest.fixture
def vault(open_again: Callable[[], Vault]) -> Vault:
    return open_again()


def key_files(home: Path) -> set[str]:
    return {path.name for path in (home / "keys").glob("epoch*")}


def rewrap_all(database: Database, vault: Vault, limit: int) -> int:
    calls = 0
    rewrapped: Rewrapped | None = Rewrapped(0, 0)
    while rewrapped is not None:
        with database.transaction() as tx:
            rewrapped = vault.epochs.rewrap(tx, after=rewrapped.last, limit=limit)
        calls += 1
    return calls


def test_rotation_keeps_stored_keys_and_shredded_ones_stay_shredded(
    vault: Vault, database: Database, home: Path, open_again: Callable[[], Vault]
) -> None:
    ids = new_ids(25)
    with database.transaction() as tx:
        keys = vault.subject_keys.create(tx, ids)
    with database.transaction() as tx:
        vault.subject_keys.shred(tx, ids[:5])
    with database.transaction() as tx:
        assert vault.epochs.begin(tx, NOW) == 2

    assert rewrap_all(database, vault, 10) == 3
    with database.transaction() as tx:
        vault.epochs.mark_destroyed(tx, 1, NOW)
    assert key_files(home) == {"epoch.1.wrapped", "epoch.2.wrapped"}  # not before the decision is committed
    with database.transaction() as tx:
        assert vault.root_keys.destroy_marked(tx) == ["epoch/1"]
        assert vault.root_keys.destroy_marked(tx) == []

    assert key_files(home) == {"epoch.2.wrapped"}
    with database.transaction() as tx:
        assert open_again().subject_keys.keys_for(tx, ids) == {one: keys[one] for one in ids[5:]}


def test_a_version_that_is_rolled_back_is_not_used(vault: Vault, database: Database) -> None:
    def begin_and_stop() -> None:
        with database.transaction() as tx:
            vault.root_keys.add_version(tx, GRAPH, NOW)
            assert vault.root_keys.versions(GRAPH) == (1, 2)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        begin_and_stop()
    assert vault.root_keys.versions(GRAPH) == (1,)
    with database.transaction() as tx:
        vault.root_keys.add_version(tx, GRAPH, NOW)
    with database.transaction() as tx:
        assert vault.root_keys.versions(GRAPH) == vault.root_keys.active_versions(tx, GRAPH) == (1, 2)


def test_a_crash_before_the_key_is_destroyed_is_completed_at_the_next_start(
    vault: Vault, database: Database, home: Path, open_again: Callable[[], Vault]
) -> None:
    with database.transaction() as tx:
        vault.epochs.begin(tx, NOW)
    with database.transaction() as tx:
        vault.epochs.mark_destroyed(tx, 1, NOW)

    open_again()

    assert key_files(home) == {"epoch.2.wrapped"}


def test_an_epoch_in_use_is_not_destroyed(vault: Vault, database: Database) -> None:
    with database.transaction() as tx:
        vault.subject_keys.create(tx, new_ids(1))
        with pytest.raises(Fault, match="epoch_in_use"):
            vault.epochs.mark_destroyed(tx, 1, NOW)
        vault.epochs.begin(tx, NOW)
        with pytest.raises(Fault, match="epoch_in_use"):
            vault.epochs.mark_destroyed(tx, 1, NOW)
        vault.epochs.rewrap(tx, after=0, limit=10)
        vault.epochs.mark_destroyed(tx, 1, NOW)


def test_another_process_notices_the_new_epoch_by_itself(
    vault: Vault, database: Database, open_again: Callable[[], Vault]
) -> None:
    stale = open_again()
    with database.transaction() as tx:
        vault.epochs.begin(tx, NOW)

    ids = new_ids(3)
    with database.transaction() as tx:
        keys = stale.subject_keys.create(tx, ids)
    with database.transaction() as tx:
        vault.epochs.mark_destroyed(tx, 1, NOW)  # so no key was wrapped under the retired one
        assert vault.subject_keys.keys_for(tx, ids) == keys


def test_beginning_an_epoch_waits_for_writers_that_add_keys_to_the_old_one(
    vault: Vault, database: Database, open_again: Callable[[], Vault]
) -> None:
    rotating = open_again()
    begun = threading.Event()

    def rotate() -> None:
        with database.transaction() as tx:
            rotating.epochs.begin(tx, NOW)
        begun.set()

    ids = new_ids(2)
    with database.transaction() as tx:
        vault.subject_keys.create(tx, ids)
        thread = threading.Thread(target=rotate)
        thread.start()
        until_blocked(database)
        assert not begun.is_set()
    thread.join(PATIENCE_SECONDS)

    assert begun.is_set()
    with database.transaction() as tx:
        assert rotating.epochs.rewrap(tx, after=0, limit=10) == Rewrapped(max(ids), len(ids))


def test_a_writer_that_waited_for_a_rotation_wraps_its_keys_under_the_new_epoch(
    vault: Vault, database: Database, open_again: Callable[[], Vault]
) -> None:
    rotating = open_again()
    ids = new_ids(2)
    done = threading.Event()

    def write() -> None:
        with database.transaction() as tx:
            vault.subject_keys.create(tx, ids)
        done.set()

    with database.transaction() as tx:
        rotating.epochs.begin(tx, NOW)
        thread = threading.Thread(target=write)
        thread.start()
        until_blocked(database)
        assert not done.is_set()
    thread.join(PATIENCE_SECONDS)

    assert done.is_set()
    with database.transaction() as tx:
        assert rotating.epochs.rewrap(tx, after=0, limit=10) is None
        assert set(rotating.subject_keys.keys_for(tx, ids)) == set(ids)


def test_beginning_an_epoch_waits_for_a_rewrapping_onto_it(
    vault: Vault, database: Database, open_again: Callable[[], Vault]
) -> None:
    with database.transaction() as tx:
        vault.subject_keys.create(tx, new_ids(2))
    with database.transaction() as tx:
        vault.epochs.begin(tx, NOW)
    rotating = open_again()
    begun = threading.Event()

    def rotate() -> None:
        with database.transaction() as tx:
            rotating.epochs.begin(tx, NOW)
        begun.set()

    with database.transaction() as tx:
        vault.epochs.rewrap(tx, after=0, limit=10)
        thread = threading.Thread(target=rotate)
        thread.start()
        until_blocked(database)
        assert not begun.is_set()
    thread.join(PATIENCE_SECONDS)

    with database.transaction() as tx:
        with pytest.raises(Fault, match="epoch_in_use"):
            rotating.epochs.mark_destroyed(tx, 2, NOW)
        rotating.epochs.mark_destroyed(tx, 1, NOW)


def test_a_rotation_that_is_rolled_back_leaves_everything_usable(
    vault: Vault, database: Database, home: Path, open_again: Callable[[], Vault]
) -> None:
    class Stopped(Exception):
        pass

    def begin_and_stop() -> None:
        with database.transaction() as tx:
            vault.epochs.begin(tx, NOW)
            raise Stopped

    with pytest.raises(Stopped):
        begin_and_stop()

    ids = new_ids(1)
    with database.transaction() as tx:
        keys = vault.subject_keys.create(tx, ids)
    again = open_again()
    with database.transaction() as tx:
        assert again.subject_keys.keys_for(tx, ids) == keys
        assert again.epochs.begin(tx, NOW) == 2


def test_versions_of_a_pseudonym_key_live_side_by_side_until_the_old_one_is_destroyed(
    vault: Vault, database: Database, home: Path, open_again: Callable[[], Vault]
) -> None:
    before = vault.hashes.pseudonym(GRAPH, "email", "a@example.com")
    with database.transaction() as tx:
        assert vault.root_keys.add_version(tx, GRAPH, NOW) == 2

    after = vault.hashes.pseudonym(GRAPH, "email", "a@example.com")
    assert vault.root_keys.versions(GRAPH) == (1, 2)
    assert vault.hashes.pseudonym(GRAPH, "email", "a@example.com", version=1) == before != after

    with database.transaction() as tx:
        with pytest.raises(Fault, match="key_in_use"):
            vault.root_keys.mark_version_destroyed(tx, GRAPH, 2, now=NOW)
        with pytest.raises(Fault, match="key_in_use"):
            vault.root_keys.retire_version(tx, GRAPH, 2, now=NOW)
        with pytest.raises(Fault, match="key_in_use"):
            vault.root_keys.mark_version_destroyed(tx, GRAPH, 1, now=NOW)  # it is not retired
        vault.root_keys.retire_version(tx, GRAPH, 1, now=NOW)
    retired = open_again()
    assert retired.root_keys.versions(GRAPH) == (2,)
    assert (home / "keys/pseudonym.graph.1.wrapped").exists()
    with database.transaction() as tx:
        vault.root_keys.mark_version_destroyed(tx, GRAPH, 1, now=NOW)
    again = open_again()

    assert again.root_keys.versions(GRAPH) == (2,)
    assert again.hashes.pseudonym(GRAPH, "email", "a@example.com") == after
    assert not (home / "keys/pseudonym.graph.1.wrapped").exists()
    with pytest.raises(Fault, match="root_key_missing"):
        again.hashes.pseudonym(GRAPH, "email", "a@example.com", version=1)
    with database.transaction() as tx:
        assert again.root_keys.add_version(tx, GRAPH, NOW) == 3  # numbers are never used again


def test_other_processes_learn_of_versions_by_refresh(
    vault: Vault, database: Database, open_again: Callable[[], Vault]
) -> None:
    other = open_again()
    with database.transaction() as tx:
        vault.root_keys.add_version(tx, GRAPH, NOW)
        other.root_keys.refresh(tx)

    assert other.root_keys.versions(GRAPH) == (1, 2)
    assert other.hashes.pseudonym(GRAPH, "email", "x") == vault.hashes.pseudonym(GRAPH, "email", "x")
