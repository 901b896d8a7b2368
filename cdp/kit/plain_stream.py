"""Output for files and pipes: lines end where their text ends, so that they can be compared and copied."""

import io
from typing import Any, TextIO


class PlainStream(io.TextIOBase):
    """A text stream that writes whole lines to another one, without the blanks that tables leave at their ends."""

    def __init__(self, under: TextIO) -> None:
        self._under = under
        self._begun = ""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """That of the stream below."""
        return self._under.encoding or "utf-8"

    def writable(self) -> bool:
        """Always."""
        return True

    def isatty(self) -> bool:
        """Never: a terminal needs what is written at once."""
        return False

    def write(self, text: str, /) -> int:
        """Take text; lines that are complete are written on."""
        *whole, self._begun = (self._begun + text).split("\n")
        if whole:
            self._under.write("".join(f"{line.rstrip(' ')}\n" for line in whole))
        return len(text)

    def flush(self) -> None:
        """Write on what the stream below holds; a line that is not complete waits."""
        if not self.closed:
            self._under.flush()


def paper_or_terminal(stream: TextIO) -> Any:
    """The stream itself when it is a terminal, else paper over it."""
    return stream if stream.isatty() else PlainStream(stream)
