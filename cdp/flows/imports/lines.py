"""The lines of a file, none longer in memory than a row may be, whatever the file expands to."""

import io
from typing import Final

RECORD_MAX: Final = 2 * 1024 * 1024
"""Characters of one record, with all its lines."""
_SKIPPED_AT_ONCE: Final = 256 * 1024


class RecordTooLong(Exception):
    """The record is longer than allowed; its line was skipped."""


class BoundedLines:
    """An iterator over lines. Raises `RecordTooLong` for a record over the limit, and goes on with the next line."""

    def __init__(self, text: io.TextIOWrapper, record_max: int = RECORD_MAX) -> None:
        self._text = text
        self._record_max = record_max
        self._left = record_max
        self._put_back: str | None = None
        self.count = 0
        """Lines that were read so far."""

    def put_back(self, line: str) -> None:
        """Return a line that was read: it is the next one again."""
        self._put_back = line or None
        self.count -= bool(line)

    def begin_record(self) -> None:
        """A record begins: the limit holds for its lines together."""
        self._left = self._record_max

    def __iter__(self) -> "BoundedLines":
        return self

    def __next__(self) -> str:
        if self._put_back is not None:
            line, self._put_back = self._put_back, None
            self.count += 1
            return line
        line = self._text.readline(self._left + 1)
        if not line:
            raise StopIteration
        self.count += 1
        if len(line) > self._left:
            while line and not line.endswith(("\n", "\r")):
                line = self._text.readline(_SKIPPED_AT_ONCE)
            raise RecordTooLong
        self._left -= len(line)
        return line
