"""Lines on paper end where their text ends, and nothing else of a text is lost."""

from io import StringIO

from hypothesis import given
from hypothesis import strategies as st

from cdp.kit.plain_stream import PlainStream, plain_unless_terminal


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@given(st.lists(st.text(alphabet="ab \n\t", max_size=12)))
def test_whole_lines_lose_their_last_blanks_however_they_are_cut(pieces: list[str]) -> None:
    under = StringIO()
    paper = PlainStream(under)
    for piece in pieces:
        assert paper.write(piece) == len(piece)
    whole, newline, _ = "".join(pieces).rpartition("\n")
    lines = [line.rstrip(" ") for line in whole.split("\n")] if newline else []
    assert under.getvalue() == "".join(f"{line}\n" for line in lines)


def test_a_terminal_is_written_to_at_once() -> None:
    terminal = Terminal()
    assert plain_unless_terminal(terminal) is terminal
    assert isinstance(plain_unless_terminal(StringIO()), PlainStream)
