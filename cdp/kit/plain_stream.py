"""Output for files and pipes: lines without trailing blanks, so that they can be compared and copied."""

import io
from typing import Any, TextIO


class PlainStream(io.TextIOBase):
    """A text stream that writes whole lines to another one, without the trailing blanks of tables."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._incomplete_line = ""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the underlying stream."""
        return self._stream.encoding or "utf-8"

    def writable(self) -> bool:
        """Always."""
        return True

    def isatty(self) -> bool:
        """Never: a terminal needs unbuffered output."""
        return False

    def write(self, text: str, /) -> int:
        """Write the complete lines of a text; the rest is kept until its line is complete."""
        *lines, self._incomplete_line = (self._incomplete_line + text).split("\n")
        if lines:
            self._stream.write("".join(f"{line.rstrip(' ')}\n" for line in lines))
        return len(text)

    def flush(self) -> None:
        """Flush the underlying stream; an incomplete line is kept."""
        if not self.closed:
            self._stream.flush()


def plain_unless_terminal(stream: TextIO) -> Any:
    """The stream itself if it is a terminal, else a `PlainStream` over it."""
    return stream if stream.isatty() else PlainStream(stream)
