"""The replay file: what is written is read, what was cut off by a crash does no harm."""

import hashlib
from pathlib import Path

import pytest

from cdp.kit.errors import Fault
from cdp.kit.state import StateFolder
from cdp.rights.replay_file import REPLAY_FILE, Erased, OptOut, ReplayFile
from tests.support.people import NOON

LINES: list[Erased | OptOut] = [
    Erased((1, 2**62), (3,), (4,), (b"\x01" * 32,), None),
    OptOut(7, b"\x02" * 32, "analytics", "refuse", "signal", "eu", NOON),
    Erased((), (), (), (), NOON),
]


@pytest.fixture
def file(tmp_path: Path) -> ReplayFile:
    file = ReplayFile(StateFolder(tmp_path / "home"))
    file.create(b"f" * 16)
    return file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / REPLAY_FILE


def test_it_reads_what_it_wrote_with_numbers_and_times(file: ReplayFile) -> None:
    file.write(LINES[:2], 1, NOON)
    file.write(LINES[2:], 3, NOON)
    read = list(file.lines_after(0))
    assert [each.line for each in read] == LINES
    assert [each.number for each in read] == [1, 2, 3]
    assert {each.at for each in read} == {NOON}
    assert [each.number for each in file.lines_after(2)] == [3]
    assert file.last_number() == 3


def test_only_its_owner_can_read_it(file: ReplayFile, path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600


def test_it_says_which_file_it_is_and_keeps_saying_so(file: ReplayFile, tmp_path: Path) -> None:
    file.create(b"g" * 16)
    assert file.file_id() == b"f" * 16
    assert ReplayFile(StateFolder(tmp_path / "none")).file_id() is None
    assert ReplayFile(StateFolder(tmp_path / "none")).last_number() == 0


def test_a_line_that_was_cut_off_is_passed_over_and_written_over(file: ReplayFile, path: Path) -> None:
    file.write(LINES[:1], 1, NOON)
    with path.open("ab") as stream:
        stream.write(b'{"n": 2, "kind": "no", "identif')
    again = ReplayFile(file.store)
    assert again.last_number() == 1
    again.write(LINES[1:2], 2, NOON)
    assert [each.line for each in again.lines_after(0)] == LINES[:2]


def test_two_writers_see_each_others_numbers(file: ReplayFile) -> None:
    other = ReplayFile(file.store)
    file.write(LINES[:1], 1, NOON)
    assert other.last_number() == 1
    other.write(LINES[1:2], 2, NOON)
    assert file.last_number() == 2


@pytest.mark.parametrize("line", ["no json", "[]", '{"n": 2, "kind": "erased"}', '{"n": 2, "at": "x", "kind": "no"}'])
def test_a_strangers_line_is_a_fault(file: ReplayFile, path: Path, line: str) -> None:
    with path.open("a") as stream:
        stream.write(line + "\n")
    with pytest.raises(Fault) as caught:
        list(file.lines_after(0))
    assert caught.value.code == "replay_file_damaged"


def test_the_digest_is_that_of_the_file_up_to_a_line(file: ReplayFile, path: Path) -> None:
    file.write(LINES[:2], 1, NOON)
    content = path.read_bytes()
    before = [hashlib.sha256(b"".join(content.splitlines(keepends=True)[: number + 1])).digest() for number in range(3)]
    for reader in (file, ReplayFile(file.store)):
        assert reader.last_number() == 2
        assert [reader.digest(number) for number in (2, 1, 0, 1, 2, 9)] == [before[at] for at in (2, 1, 0, 1, 2, 2)]
    ReplayFile(file.store).write(LINES[2:], 3, NOON)
    assert file.digest(1) == before[1]
    assert (file.last_number(), file.digest(2)) == (3, before[2])


def test_a_compacted_file_knows_what_it_kept(file: ReplayFile, path: Path) -> None:
    file.write(LINES, 1, NOON)
    assert file.is_whole()
    kept = list(file.lines_after(1))
    file.rewrite(kept, forgotten=0)
    assert (file.compactions(), file.last_number(), list(file.lines_after(0))) == (1, 3, kept)
    file.write(LINES[:1], 4, NOON)
    content = path.read_bytes()
    assert file.is_whole()
    for altered in (content[: content.index(b"\n", content.index(b"\n") + 1) + 1], content.replace(b'"n":3', b'"n":2')):
        assert altered != content
        path.write_bytes(altered)
        assert not ReplayFile(file.store).is_whole()


def test_a_file_that_became_shorter_is_read_from_its_beginning(file: ReplayFile, path: Path) -> None:
    file.write(LINES, 1, NOON)
    assert file.last_number() == 3
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    assert file.last_number() == 2
    path.write_bytes(whole)
    assert file.last_number() == 3


def test_lines_longer_than_a_block_are_read_whole(file: ReplayFile) -> None:
    many = tuple(range(2**62, 2**62 + 120_000))
    file.write([Erased(many, (), (), (), None), *LINES], 1, NOON)
    again = ReplayFile(file.store)
    assert again.last_number() == 4
    assert [each.line for each in again.lines_after(0)] == [Erased(many, (), (), (), None), *LINES]
