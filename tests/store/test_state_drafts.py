"""What a killed writer left of a file is overwritten and deleted, and nothing else ever is."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from cdp.kit.state import StateFolder
from tests.support.commands import ROOT
from tests.support.waits import PATIENCE_SECONDS, until

SECRET: Final = b"b7f1 of somebody"
# The audit event is raised before the system call: the writer is stopped exactly there.
_WRITER: Final = """
import os, sys
from pathlib import Path
from cdp.kit.state import StateFolder
folder, verb, event, number = sys.argv[1:]
def stop(name, arguments):
    if name == event and ".replay.jsonl." in str(arguments):
        os.kill(os.getpid(), int(number))
sys.addaudithook(stop)
getattr(StateFolder(Path(folder)), verb)("replay.jsonl", b"b7f1 of somebody")
"""


def writer(folder: Path, verb: str, event: str, number: signal.Signals) -> "subprocess.Popen[bytes]":
    """A process that writes a file and sends itself a signal at a step."""
    return subprocess.Popen([sys.executable, "-c", _WRITER, folder, verb, event, str(int(number))], cwd=ROOT)


def drafts(folder: Path) -> list[Path]:
    return sorted(folder.glob(".replay.jsonl.*"))


@pytest.fixture
def store(tmp_path: Path) -> StateFolder:
    return StateFolder(tmp_path / "state")


def test_the_draft_of_a_killed_writer_is_overwritten_and_deleted(store: StateFolder) -> None:
    store.replace("replay.jsonl", b"before")
    assert writer(store.folder, "replace", "os.rename", signal.SIGKILL).wait(PATIENCE_SECONDS) == -signal.SIGKILL
    (draft,) = drafts(store.folder)
    assert draft.read_bytes() == SECRET
    kept = os.open(draft, os.O_RDONLY)
    assert store.delete_drafts() == 1
    assert os.read(kept, 100).strip(b"\0") == b"", "its bytes were overwritten"
    os.close(kept)
    assert drafts(store.folder) == []
    assert store.read("replay.jsonl") == b"before"


def test_a_draft_that_already_took_its_place_loses_only_its_name(store: StateFolder) -> None:
    assert writer(store.folder, "create", "os.remove", signal.SIGKILL).wait(PATIENCE_SECONDS) == -signal.SIGKILL
    assert len(drafts(store.folder)) == 1
    assert store.delete_drafts() == 1
    assert drafts(store.folder) == []
    assert store.read("replay.jsonl") == SECRET


def test_the_draft_of_a_living_writer_stays(store: StateFolder) -> None:
    store.replace("replay.jsonl", b"before")
    process = writer(store.folder, "replace", "os.rename", signal.SIGSTOP)
    until(lambda: _is_stopped(process.pid), "the writer to be stopped")
    assert len(drafts(store.folder)) == 1
    assert store.delete_drafts() == 0
    os.kill(process.pid, signal.SIGCONT)
    assert process.wait(PATIENCE_SECONDS) == 0
    assert store.read("replay.jsonl") == SECRET


def test_destroying_a_file_destroys_what_was_left_of_it(store: StateFolder) -> None:
    writer(store.folder, "replace", "os.rename", signal.SIGKILL).wait(PATIENCE_SECONDS)
    store.replace("replay.jsonl", b"now")
    store.destroy("replay.jsonl")
    assert list(store.folder.iterdir()) == []


def test_drafts_in_named_folders_go_and_other_hidden_files_stay(store: StateFolder) -> None:
    digits = "0123456789abcdef"
    store.create("audit/1/checkpoint", b"x")
    store.create("postgres/x", b"x")
    for name in (f"audit/1/.checkpoint.{digits}", f"postgres/.x.{digits}", ".hidden", ".x.0123"):
        (store.folder / name).write_bytes(b"y")
    assert store.delete_drafts("audit", "keys") == 1
    left = {path.name for path in store.folder.rglob(".*")}
    assert left == {f".x.{digits}", ".hidden", ".x.0123"}


def _is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
