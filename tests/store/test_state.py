"""The state store: a folder and a database keep the same promises."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cdp.kit.errors import Fault
from cdp.kit.state import StateFolder, StateStore
from cdp.kit.state_database import open_state_database
from cdp.postgres.server import EmbeddedPostgres
from tests.support.databases import EMPTY, temporary_database


@pytest.fixture(params=["folder", "database"])
def store(request: pytest.FixtureRequest, server: EmbeddedPostgres, tmp_path: Path) -> Iterator[StateStore]:
    if request.param == "folder":
        yield StateFolder(tmp_path / "state")
        return
    with temporary_database(server, EMPTY) as url:
        database = open_state_database(url)
        yield database
        database.close()


def test_a_file_is_created_once(store: StateStore) -> None:
    assert store.read("keys/a") is None
    assert store.create("keys/a", b"one")
    assert not store.create("keys/a", b"two")
    assert store.read("keys/a") == b"one"
    assert store.within("keys").read("a") == b"one"


def test_bytes_are_appended_after_a_size_and_drop_what_followed(store: StateStore) -> None:
    store.append("log", 0, b"first ")
    store.append("log", 6, b"second ")
    store.append("log", 13, b"thi")
    assert store.read("log") == b"first second thi"
    store.append("log", 13, b"third")
    assert store.read("log") == b"first second third"
    store.append("log", 2, b"!")  # within a piece, with others behind it
    assert store.read("log") == b"fi!"


def test_bytes_after_bytes_that_are_gone_are_refused(store: StateStore) -> None:
    store.append("log", 0, b"first ")
    store.replace("log", b"fir")
    for name in ("log", "none"):
        with pytest.raises(Fault) as caught:
            store.append(name, 6, b"second")
        assert caught.value.code == "state_unavailable"
    assert store.read("log") == b"fir"
    assert store.read("none") is None


@pytest.mark.parametrize("begin", [0, 3, 6, 8, 17, 18, 30])
@pytest.mark.parametrize("length", [None, 0, 1, 7, 40])
def test_any_range_is_read(store: StateStore, begin: int, length: int | None) -> None:
    whole = b"first second third"
    for at, piece in ((0, b"first "), (6, b"second "), (13, b"third")):
        store.append("log", at, piece)
    end = None if length is None else begin + length
    assert store.read("log", begin, end) == whole[begin:end]


def test_a_file_is_replaced_as_a_whole(store: StateStore) -> None:
    store.append("tree/checkpoint", 0, b"long old text")
    store.append("tree/checkpoint", 13, b", in two pieces")
    store.replace("tree/checkpoint", b"new")
    assert store.read("tree/checkpoint") == b"new"
    store.replace("other", b"")
    assert store.read("other") == b""


def test_names_are_listed_by_folder(store: StateStore) -> None:
    for name in ("replay.jsonl", "keys/a", "keys/b", "audit/1/entries"):
        store.create(name, b"x")
    assert store.names() == {"replay.jsonl", "keys/a", "keys/b", "audit/1/entries"}
    assert store.within("keys").names() == {"a", "b"}
    assert store.within("audit").within("1").names() == {"entries"}


def test_a_destroyed_file_is_gone_and_may_be_created_again(store: StateStore) -> None:
    store.create("keys/a", b"one")
    store.destroy("keys/a")
    store.destroy("keys/a")
    assert store.read("keys/a") is None
    assert store.names() == frozenset()
    assert store.create("keys/a", b"two")


def test_trying_to_write_changes_nothing(store: StateStore) -> None:
    store.create("audit/1/checkpoint", b"x")
    for name in ("audit/1/checkpoint", "audit/1/none"):
        store.require_writable(name)
    assert store.names() == {"audit/1/checkpoint"}
    assert store.read("audit/1/checkpoint") == b"x"


def test_a_message_names_the_place_without_secrets(store: StateStore) -> None:
    assert store.place
    assert "pg_" not in store.place  # the passwords of the test server


def test_a_folder_that_cannot_be_written_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(Fault) as caught:
        StateFolder(tmp_path / "state").append("log", 0, b"x")
    assert (caught.value.code, caught.value.status) == ("state_unavailable", 503)
    assert str(tmp_path) not in caught.value.detail


def test_a_folder_that_is_gone_cannot_be_written_and_is_not_created(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="state_unavailable"):
        StateFolder(tmp_path / "state").require_writable("log")
    assert not (tmp_path / "state").exists()


def test_a_folder_is_private(tmp_path: Path) -> None:
    store = StateFolder(tmp_path / "state")
    store.create("keys/a", b"x")
    assert (tmp_path / "state" / "keys").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "state" / "keys" / "a").stat().st_mode & 0o777 == 0o600
