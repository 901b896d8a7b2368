"""The copy of the log outside the database: appended, synced, and what a torn write leaves."""

from pathlib import Path

import pytest

from cdp.audit.checkpoint import Checkpoint, sign_checkpoint
from cdp.audit.mirror import Mirror
from cdp.kit.errors import Fault
from cdp.kit.state import StateFolder
from cdp.vault.sign import Signer

SIGNER = Signer(b"\x07" * 32)


def entry(number: int) -> bytes:
    return number.to_bytes(32, "big")


def note(size: int) -> str:
    return sign_checkpoint(Checkpoint("log.example/1", size, bytes(32)), SIGNER)


def test_nothing_is_there_at_first(tmp_path: Path) -> None:
    mirror = Mirror(StateFolder(tmp_path / "audit"))

    assert mirror.newest_tree() == 0
    assert mirror.head(1) is None


def test_entries_and_checkpoint_are_read_back_by_another_object(tmp_path: Path) -> None:
    Mirror(StateFolder(tmp_path / "audit")).append(1, 0, [entry(n) for n in range(5)], note=note(5))
    Mirror(StateFolder(tmp_path / "audit")).append(1, 5, [entry(n) for n in range(5, 9000)], note=note(9000))
    Mirror(StateFolder(tmp_path / "audit")).append(12, 0, [entry(0)], note=note(1))

    mirror = Mirror(StateFolder(tmp_path / "audit"))
    assert mirror.newest_tree() == 12
    head = mirror.head(1)
    assert head is not None
    assert head.checkpoint.size == 9000
    assert head.note == note(9000)
    assert list(mirror.entries(1, 3, 8500)) == [entry(n) for n in range(3, 8500)]
    assert list(mirror.entries(1, 7, 7)) == []


def test_entries_after_the_last_checkpoint_are_a_torn_write_and_are_overwritten(tmp_path: Path) -> None:
    mirror = Mirror(StateFolder(tmp_path))
    mirror.append(1, 0, [entry(1)], note=note(1))
    with (tmp_path / "1/entries").open("ab") as file:
        file.write(b"torn" * 11)

    mirror.append(1, 1, [entry(2)], note=note(2))

    assert list(mirror.entries(1, 0, 2)) == [entry(1), entry(2)]
    assert (tmp_path / "1/entries").stat().st_size == 64


def test_a_copy_with_too_few_entries_is_broken(tmp_path: Path) -> None:
    mirror = Mirror(StateFolder(tmp_path))
    mirror.append(1, 0, [entry(1)], note=note(2))

    with pytest.raises(Fault) as caught:
        list(mirror.entries(1, 0, 2))

    assert caught.value.code == "audit_copy_broken"


def test_a_checkpoint_that_is_none_is_broken(tmp_path: Path) -> None:
    mirror = Mirror(StateFolder(tmp_path))
    mirror.append(1, 0, [entry(1)], note="nonsense")

    with pytest.raises(Fault) as caught:
        mirror.head(1)

    assert caught.value.code == "audit_copy_broken"


def test_a_folder_that_cannot_be_written_is_a_fault_to_retry(tmp_path: Path) -> None:
    (tmp_path / "audit").write_text("a file where the folder should be")

    with pytest.raises(Fault) as caught:
        Mirror(StateFolder(tmp_path / "audit")).append(1, 0, [entry(1)], note=note(1))

    assert (caught.value.code, caught.value.status) == ("audit_copy_failed", 503)
