"""The sequencer: gap-free places, a constant number of statements, tiles for strangers, and the copy outside."""

import errno
import shutil
import struct
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from cdp.audit.checkpoint import Checkpoint, parse_checkpoint, parse_note, parse_vkey
from cdp.audit.merkle import EMPTY_ROOT, leaf_hash, root_of
from cdp.audit.mirror import Mirror
from cdp.audit.sequencer import Log, MirrorState, Sequenced, log_name, sequence
from cdp.audit.store.facts import append, append_many, entries
from cdp.audit.store.tree import (
    commitments,
    consistency_proof,
    newest_tree,
    root_at,
    served_tile,
    signed_head,
    thin_heads,
)
from cdp.audit.tile import TilePath, parse_tile_path, split
from cdp.audit.verify import Unverified, verify_growth, verify_leaves, verify_note
from cdp.kit.db import Database, Transaction
from cdp.kit.errors import Fault
from cdp.kit.state import StateFolder
from cdp.vault.sign import Signer, is_signed

pytestmark = pytest.mark.postgres

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SIGNER = Signer(b"\x09" * 32)


@pytest.fixture
def log(home: Path) -> Log:
    return Log(SIGNER, Mirror(StateFolder(home / "audit")), log_name(SIGNER.public_key))


def fact(count: int = 1) -> dict[str, object]:
    return {"kind": "consent.cleared", "purpose": "email_marketing", "count": count}


def act(database: Database, number: int, now: datetime = NOW) -> list[int]:
    with database.transaction() as tx:
        return append_many(tx, [fact(count) for count in range(number)], now)


def run(database: Database, log: Log, now: datetime = NOW) -> Sequenced:
    with database.transaction() as tx:
        return sequence(tx, log, now)


def verified(database: Database, log: Log) -> Checkpoint:
    """The head, verified as a stranger would: signature, and the root over all entries served."""
    with database.transaction(read_only=True) as tx:
        tree, head = newest_tree(tx), signed_head(tx)
        assert tree is not None
        assert head is not None
        checkpoint = verify_note(head.note, [parse_vkey(log.vkey(tree.origin).text())], is_signed)
        assert not isinstance(checkpoint, Unverified)
        assert verify_leaves(commitments(tx, tree.tree_id, 0, end=checkpoint.size), checkpoint) is None
        return checkpoint


def tile_at(tx: Transaction, path: str) -> bytes | None:
    """The tile served under a path, None when the log has not grown that far."""
    parsed = parse_tile_path(path)
    assert parsed is not None
    return served_tile(tx, parsed)


def existing_tile(tx: Transaction, path: str) -> bytes:
    """The tile served under a path at which there must be one."""
    tile = tile_at(tx, path)
    assert tile is not None
    return tile


def test_the_log_begins_with_its_own_first_entry(database: Database, log: Log) -> None:
    first = run(database, log)
    again = run(database, log)

    assert (first.placed, first.head.size, first.mirror_state) == (1, 1, MirrorState.NEW_ORIGIN)
    assert (again.placed, again.head, again.mirror_state) == (0, first.head, MirrorState.EQUAL)
    assert verified(database, log).origin == log.name + "/1"


def test_leaves_get_gap_free_places_in_the_order_of_insertion(database: Database, log: Log) -> None:
    for number in (3, 1, 300, 256, 44):
        act(database, number)
        run(database, log)

    with database.transaction() as tx:
        placed = tx.all(text("SELECT entry_id, leaf_index FROM audit.entry ORDER BY leaf_index"))
    assert [row[1] for row in placed] == list(range(605))
    by_run = [
        sorted(row[0] for row in placed[begin:end]) for begin, end in ((0, 4), (4, 5), (5, 305), (305, 561), (561, 605))
    ]
    assert [row[0] for row in placed] == [entry for ids in by_run for entry in ids]
    assert verified(database, log).size == 605


def test_a_leaf_committed_late_is_placed_after_those_placed_before(database: Database, log: Log) -> None:
    run(database, log)
    with database.transaction() as slow:
        late = append(slow, fact(), NOW)
        (early,) = act(database, 1)
        run(database, log)
    run(database, log)

    with database.transaction() as tx:
        index = {entry.entry_id: entry.index for entry in entries(tx)}
    assert late < early
    assert (index[early], index[late]) == (1, 2)


def test_the_number_of_statements_does_not_depend_on_the_number_of_leaves(database: Database, log: Log) -> None:
    run(database, log)
    counts = []
    for number in (1, 700, 3000):
        act(database, number)
        with database.transaction() as tx:
            sequence(tx, log, NOW)
            counts.append(tx.statements)

    assert counts == [counts[0]] * 3
    assert counts[0] <= 10


def test_appending_never_waits_for_the_sequencer(database: Database, log: Log) -> None:
    act(database, 1)
    with database.transaction() as sequencing:
        sequence(sequencing, log, NOW)
        with database.transaction() as tx:
            tx.execute_core(text("SET LOCAL lock_timeout = '5s'"))
            append(tx, fact(), NOW)
    assert run(database, log).placed == 1


def test_sequencers_that_race_make_one_tree(database: Database, log: Log) -> None:
    run(database, log)
    faults = []

    def race() -> None:
        try:
            for _ in range(10):
                act(database, 3)
                run(database, log)
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=race) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run(database, log)

    assert faults == []
    assert verified(database, log).size == 121


def test_every_head_ever_signed_is_the_beginning_of_the_last(database: Database, log: Log) -> None:
    for number in (1, 200, 56, 255, 1, 600):
        act(database, number)
        run(database, log)

    with database.transaction(read_only=True) as tx:
        notes = [row[0] for row in tx.all(text("SELECT note FROM audit.checkpoint ORDER BY size"))]
        heads = [parse_checkpoint(parse_note(note).text) for note in notes]
        for head in heads:
            assert verify_growth(head, heads[-1], consistency_proof(tx, 1, head.size, size=heads[-1].size)) is None
            assert root_at(tx, 1, head.size) == head.root
    assert len(heads) == 6


def test_a_stranger_rebuilds_the_log_from_checkpoint_and_tiles_alone(database: Database, log: Log) -> None:
    with database.transaction() as tx:  # leaves alone, as they are after all their facts were erased
        many = "INSERT INTO audit.entry (commitment, recorded_at) SELECT sha256(n::text::bytea), :now FROM generate_series(1, 70000) n"
        tx.execute_core(text(many), {"now": NOW})
    while run(database, log).is_more_waiting:
        pass
    with database.transaction(read_only=True) as tx:
        signed = signed_head(tx)
        assert signed is not None
        head = parse_checkpoint(parse_note(signed.note).text)
        assert head.size == 70_001
        wanted = [*(f"0/{number:03d}" for number in range(273)), "0/273.p/113", "1/000", "1/001.p/17", "2/000.p/1"]
        tiles = {path: existing_tile(tx, path) for path in wanted}
        bundle = existing_tile(tx, "entries/273.p/113")
        full_bundle = existing_tile(tx, "entries/000")

    leaves = [hash_ for path in wanted if path.startswith("0/") for hash_ in split(tiles[path])]
    assert root_of(leaves) == head.root
    assert split(tiles["1/000"])[5] == root_of(split(tiles["0/005"]))
    assert split(tiles["2/000.p/1"]) == [root_of(split(tiles["1/000"]))]
    for served, hashes in ((bundle, leaves[-113:]), (full_bundle, leaves[:256])):
        records = [served[at : at + 34] for at in range(0, len(served), 34)]
        assert {struct.unpack(">H", record[:2]) for record in records} == {(32,)}
        assert [leaf_hash(record[2:]) for record in records] == hashes


def test_tiles_are_served_as_far_as_the_log_has_grown(database: Database, log: Log) -> None:
    act(database, 5)
    run(database, log)
    sizes = {"0/000.p/6": 192, "0/000.p/5": 160, "entries/000.p/6": 204}
    ungrown = [
        "0/000.p/7",
        "0/000",
        "0/001",
        "1/000.p/1",
        "entries/000.p/7",
        "entries/001",
        "63/000",
        "7/x999/x999/999",
    ]

    with database.transaction(read_only=True) as tx:
        assert {path: len(existing_tile(tx, path)) for path in sizes} == sizes
        assert [path for path in ungrown if tile_at(tx, path) is not None] == []


def test_nothing_is_served_before_the_log_begins(database: Database) -> None:
    with database.transaction(read_only=True) as tx:
        assert signed_head(tx) is None
        assert served_tile(tx, TilePath(0, 0, 1)) is None


def test_of_old_heads_the_last_of_each_day_is_kept(database: Database, log: Log) -> None:
    for hour in range(0, 72, 6):
        act(database, 1)
        run(database, log, NOW.replace(hour=0) + timedelta(hours=hour))

    with database.transaction() as tx:
        assert thin_heads(tx, NOW + timedelta(days=1)) == 5  # of the first day three, of the second the two before noon
        newest = signed_head(tx)
        assert newest is not None
        assert newest.size == 13


# --- the copy outside the database ---


def copy_of(home: Path) -> tuple[Checkpoint, list[bytes]]:
    mirror = Mirror(StateFolder(home / "audit"))
    head = mirror.head(mirror.newest_tree())
    assert head is not None
    return head.checkpoint, list(mirror.entries(mirror.newest_tree(), 0, head.checkpoint.size))


def test_the_copy_holds_every_entry_and_the_signed_head(database: Database, log: Log, home: Path) -> None:
    for number in (5, 260):
        act(database, number)
        run(database, log)

    checkpoint, copied = copy_of(home)
    assert checkpoint == verified(database, log)
    assert verify_leaves(copied, checkpoint) is None


def test_a_copy_that_was_lost_is_made_again(database: Database, log: Log, home: Path) -> None:
    act(database, 300)
    run(database, log)
    shutil.rmtree(home / "audit")

    assert run(database, log).mirror_state is MirrorState.COPY_EXTENDED
    assert copy_of(home)[0] == verified(database, log)
    assert run(database, log).mirror_state is MirrorState.EQUAL


def test_a_copy_that_was_restored_from_an_older_one_is_extended(database: Database, log: Log, home: Path) -> None:
    act(database, 10)
    run(database, log)
    shutil.copytree(home / "audit", home / "older")
    act(database, 300)
    run(database, log)
    shutil.rmtree(home / "audit")
    (home / "older").rename(home / "audit")

    assert run(database, log).mirror_state is MirrorState.COPY_EXTENDED
    assert copy_of(home)[0] == verified(database, log)


class Killed(Exception):
    pass


def kill_before_commit(database: Database, log: Log) -> None:
    with database.transaction() as tx:
        sequence(tx, log, NOW)
        raise Killed


def test_a_kill_between_copy_and_commit_is_completed_as_it_was_signed(database: Database, log: Log, home: Path) -> None:
    run(database, log)
    ids = act(database, 400)
    with pytest.raises(Killed):
        kill_before_commit(database, log)
    signed = copy_of(home)[0]
    act(database, 3)

    done = run(database, log)

    assert done.mirror_state is MirrorState.REBUILT
    with database.transaction() as tx:
        assert root_at(tx, 1, signed.size) == signed.root
        index = {entry.entry_id: entry.index for entry in entries(tx, limit=1000)}
        assert [index[one] for one in ids] == list(range(1, 401))
    assert verified(database, log).size == 401 + 3 + 1  # the three, and that the log was restored


def test_a_kill_at_the_very_first_start_begins_anew_under_another_origin(database: Database, log: Log) -> None:
    with pytest.raises(Killed):
        kill_before_commit(database, log)

    assert run(database, log).mirror_state is MirrorState.NEW_ORIGIN
    assert verified(database, log).origin == log.name + "/2"


def snapshot(database: Database) -> None:
    """What a backup would hold of the log."""
    with database.transaction() as tx:
        for table in ("tree", "entry", "fact", "tile", "checkpoint"):
            tx.execute_core(text(f"CREATE TABLE audit.backup_{table} AS TABLE audit.{table}"))


def restore(database: Database) -> None:
    with database.transaction() as tx:
        tx.execute_core(
            text("TRUNCATE audit.tree, audit.entry, audit.fact, audit.read_subject, audit.tile, audit.checkpoint")
        )
        for table in ("tree", "entry", "fact", "tile", "checkpoint"):
            override = "OVERRIDING SYSTEM VALUE" if table == "entry" else ""
            tx.execute_core(text(f"INSERT INTO audit.{table} {override} TABLE audit.backup_{table}"))


def test_a_restored_database_is_brought_up_to_the_last_head_that_was_signed(database: Database, log: Log) -> None:
    act(database, 20)
    run(database, log)
    act(database, 4)  # committed, not yet placed when the backup is made
    snapshot(database)
    act(database, 300)
    run(database, log)
    published = verified(database, log)
    restore(database)

    done = run(database, log)

    assert done.mirror_state is MirrorState.REBUILT
    with database.transaction() as tx:
        assert root_at(tx, 1, published.size) == published.root
        assert tx.scalar(text("SELECT count(*) FROM audit.entry")) == published.size + 1
    assert verified(database, log).size == published.size + 1
    assert run(database, log).mirror_state is MirrorState.EQUAL


def test_a_database_that_went_its_own_way_gets_a_new_origin_and_never_a_second_tree(
    database: Database, log: Log, home: Path
) -> None:
    act(database, 20)
    run(database, log)
    snapshot(database)
    act(database, 10)
    run(database, log)
    published = verified(database, log)
    restore(database)
    other = Log(SIGNER, Mirror(StateFolder(home / "elsewhere")), log.name)
    act(database, 10)
    run(database, other)  # a second machine that does not know the copy

    done = run(database, log)

    assert done.mirror_state is MirrorState.NEW_ORIGIN
    begun = verified(database, log)
    assert (begun.origin, published.origin) == (log.name + "/2", log.name + "/1")
    assert copy_of(home)[0] == begun
    first_head = Mirror(StateFolder(home / "audit")).head(1)
    assert first_head is not None
    assert first_head.checkpoint == published


def test_a_database_without_the_newest_tree_gets_a_new_origin(database: Database, log: Log, home: Path) -> None:
    run(database, log)
    with database.transaction() as tx:
        tx.execute_core(
            text("TRUNCATE audit.tree, audit.entry, audit.fact, audit.read_subject, audit.tile, audit.checkpoint")
        )

    assert run(database, log).mirror_state is MirrorState.NEW_ORIGIN
    assert verified(database, log).origin == log.name + "/2"


def test_a_copy_whose_entries_were_altered_is_not_believed(database: Database, log: Log, home: Path) -> None:
    act(database, 20)
    run(database, log)
    snapshot(database)
    act(database, 20)
    run(database, log)
    restore(database)
    path = home / "audit/1/entries"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)

    assert run(database, log).mirror_state is MirrorState.NEW_ORIGIN
    assert verified(database, log).origin == log.name + "/2"


def test_nothing_is_signed_while_the_copy_cannot_be_written(
    database: Database, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(database, log)
    act(database, 3)
    before = verified(database, log)

    def full(_draft: Path, _target: Path) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(Fault, match="audit_copy_failed"):
            run(database, log)
    assert verified(database, log) == before

    assert run(database, log).placed == 3


def test_missing_tiles_are_noticed_before_anything_is_signed(database: Database, log: Log) -> None:
    act(database, 3)
    run(database, log)
    with database.transaction() as tx:
        tx.execute_core(text("DELETE FROM audit.tile"))
    act(database, 1)

    with pytest.raises(Fault, match="audit_tree_broken"):
        run(database, log)


def test_an_empty_tree_has_the_empty_root() -> None:
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
