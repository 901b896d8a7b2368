"""Which lines of the replay file are needed, and that replacing the file leaves numbers and other processes right."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from cdp.kit.state import StateFolder
from cdp.rights.replay_compaction import CLOCKS_DIFFER, compact
from cdp.rights.replay_file import REPLAY_FILE, Erased, Lifted, Line, Numbered, OptOut, ReplayFile
from tests.support.people import NOON

HERS = b"\x02" * 32
OPT_OUT = OptOut(7, HERS, "analytics", "refuse", "device", "eu", NOON)
ERASED = Erased((7, 8), (3,), (4,), (HERS,), None, 99)


def later(opt_out: OptOut, days: int = 1, **fields: object) -> OptOut:
    return replace(opt_out, occurred_at=opt_out.occurred_at + timedelta(days=days), **fields)  # type: ignore[arg-type]


def numbered(*lines: Line) -> list[Numbered]:
    return [Numbered(number, NOON + timedelta(days=number), line) for number, line in enumerate(lines, start=1)]


def kept(*lines: Line, known: tuple[int, ...] = (7, 8)) -> list[int]:
    """The numbers of the lines that are kept."""
    return [one.number for one in compact(numbered(*lines), known=known, restorable_since=None).kept]


def test_a_refusal_goes_when_a_later_line_says_as_much() -> None:
    assert kept(OPT_OUT, later(OPT_OUT), later(OPT_OUT, 2)) == [3]


@pytest.mark.parametrize(
    "other",
    [
        later(OPT_OUT, purpose="advertising"),
        later(OPT_OUT, act="object"),
        later(OPT_OUT, authority="authenticated"),
        later(OPT_OUT, signal="gpc"),
        later(OPT_OUT, jurisdiction="us-ca"),
        later(OPT_OUT, identifier_id=8),
        later(OPT_OUT, pseudonym=b"\x03" * 32),
        later(OPT_OUT, -1),
    ],
    ids=["purpose", "act", "authority", "signal", "jurisdiction", "identifier", "pseudonym", "an earlier instant"],
)
def test_a_refusal_stays_where_the_later_line_says_something_else(other: OptOut) -> None:
    assert kept(OPT_OUT, other) == [1, 2]


def test_an_erased_identifier_keeps_exactly_one_line() -> None:
    assert kept(OPT_OUT, later(OPT_OUT, purpose="advertising"), ERASED, known=()) == [3]
    assert kept(ERASED, ERASED, known=()) == [2], "an erasure that was tried again"


def test_the_refusal_of_an_erased_identifier_stays_where_the_erasure_does_not_suppress_it() -> None:
    assert kept(OPT_OUT, replace(ERASED, pseudonyms=()), known=()) == [1, 2]
    assert kept(OPT_OUT, replace(ERASED, until=NOON), known=()) == [1, 2]
    assert kept(OPT_OUT, ERASED, Lifted((HERS,), NOON), known=()) == [2, 3]


def test_an_ended_identifier_keeps_one_line_for_each_purpose_the_strongest() -> None:
    strong = later(OPT_OUT, authority="authenticated")
    assert kept(OPT_OUT, strong, later(OPT_OUT, 5), later(OPT_OUT, purpose="advertising"), known=()) == [2, 4]


def test_the_end_of_a_restriction_does_not_replace_a_refusal() -> None:
    restricted = later(OPT_OUT, act="restrict", authority="authenticated")
    released = later(restricted, act="release")
    assert kept(OPT_OUT, restricted, released, known=()) == [1, 3]


def test_refusals_of_identifiers_that_were_never_stored_are_told_apart_by_their_pseudonyms() -> None:
    unknown = replace(OPT_OUT, identifier_id=0)
    other = later(unknown, pseudonym=b"\x03" * 32)
    assert kept(unknown, other, later(unknown, 2)) == [2, 3]
    assert kept(unknown, ERASED) == [1, 2], "it outlives the erasure, as in the database"


def test_of_a_restriction_the_last_act_counts() -> None:
    restrict = OptOut(7, HERS, "", "restrict", "authenticated", "eu", NOON)
    release = later(restrict, act="release")
    assert kept(restrict, release, known=()) == [2]
    assert kept(restrict, release, later(restrict, 2)) == [2, 3]
    assert kept(restrict, release, later(restrict, 2), known=()) == [3]
    assert kept(restrict, later(restrict, act="release", authority="operator"), known=()) == [2], "of any authority"
    assert kept(replace(restrict, signal="kept_by_pseudonym"), release, known=()) == [2]


def test_lines_from_before_the_oldest_epoch_that_exists_go() -> None:
    lines = numbered(ERASED, later(OPT_OUT, identifier_id=9), later(OPT_OUT, identifier_id=10))
    since = lines[2].at + CLOCKS_DIFFER
    done = compact(lines, known=(9, 10), restorable_since=since)
    assert ([one.number for one in done.kept], done.forgotten) == ([3], 2)
    done = compact(lines, known=(9, 10), restorable_since=lines[0].at)
    assert (len(done.kept), done.forgotten) == (3, 0)


class TestFile:
    """Replacing the file."""

    @pytest.fixture
    def file(self, tmp_path: Path) -> ReplayFile:
        file = ReplayFile(StateFolder(tmp_path))
        file.create(b"f" * 16)
        file.write([OPT_OUT, later(OPT_OUT), ERASED], 1, NOON)
        return file

    def test_numbers_go_on_though_every_line_went(self, file: ReplayFile) -> None:
        file.rewrite([], forgotten=3)
        assert (file.last_number(), file.forgotten(), list(file.lines_after(0))) == (3, 3, [])
        again = ReplayFile(file.store)
        assert (again.last_number(), again.file_id()) == (3, b"f" * 16)
        again.write([OPT_OUT], 4, NOON)
        assert [(one.number, one.line) for one in file.lines_after(0)] == [(4, OPT_OUT)]
        assert file.last_number() == 4

    def test_what_is_kept_keeps_its_number_and_time(self, file: ReplayFile) -> None:
        last = list(file.lines_after(2))
        file.rewrite(last, forgotten=0)
        assert list(file.lines_after(0)) == last
        assert (file.last_number(), file.forgotten()) == (3, 0)

    def test_a_process_that_read_the_old_file_continues_in_the_new_one(self, file: ReplayFile) -> None:
        other = ReplayFile(file.store)
        assert other.last_number() == 3
        file.rewrite(list(file.lines_after(2)), forgotten=0)
        other.write([later(OPT_OUT, 5)], 4, NOON)
        assert [one.number for one in file.lines_after(0)] == [3, 4]
        file.write([later(OPT_OUT, 6)], 5, NOON)
        assert (other.last_number(), [one.number for one in other.lines_after(3)]) == (5, [4, 5])

    def test_a_compaction_that_is_killed_leaves_the_old_file(
        self, file: ReplayFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = (tmp_path / REPLAY_FILE).read_bytes()
        with monkeypatch.context() as patch:

            def die(*_args: object) -> None:
                raise KeyboardInterrupt

            patch.setattr(Path, "replace", die)
            with pytest.raises(KeyboardInterrupt):
                file.rewrite([], forgotten=3)
        assert (tmp_path / REPLAY_FILE).read_bytes() == before
        assert len(list(ReplayFile(file.store).lines_after(0))) == 3
        file.rewrite([], forgotten=3)
        assert list(ReplayFile(file.store).lines_after(0)) == []
