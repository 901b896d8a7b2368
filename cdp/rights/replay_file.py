"""The replay file: what a database restored from a backup must apply before the service starts.

It is kept outside the database, in the state store. Each line is a JSON object with the next number: erasures as random
ids, suppressions and their end as pseudonyms of a separate domain, opt-outs and restrictions as (identifier, pseudonym,
purpose). A line is on disk before the answer that depends on it is sent, and before its transaction commits. A line whose
transaction never committed repeats something that was requested, and is harmless. The database stores the number of the
last line it has applied: a database that is behind its file was restored.

The file is compacted from time to time (`cdp.rights.replay_compaction`): it is replaced as a whole by one without the lines
that are not needed any more. Numbers go on, and the first line holds the highest one that was ever given.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from cdp.kit.canonical import canonical_json, instant_text
from cdp.kit.clock import parse_instant
from cdp.kit.errors import Fault
from cdp.kit.state import StateStore

REPLAY_FILE: Final = "replay.jsonl"
FORMAT: Final = "cdp/replay@v1"
FILE_ID_BYTES: Final = 16

_FIRST_LINE_BYTES_MAX: Final = 4096


@dataclass(frozen=True, slots=True)
class Erased:
    """An erased person, as random ids, with the suppressed pseudonyms and the request that was fulfilled."""

    identifiers: tuple[int, ...]
    anchors: tuple[int, ...]
    profiles: tuple[int, ...]
    pseudonyms: tuple[bytes, ...]
    until: datetime | None
    request_id: int = 0


@dataclass(frozen=True, slots=True)
class OptOut:
    """A refusal, withdrawal or objection: by which identifier, for which purpose, with which authority, and when.

    The start and the end of a restriction are kept in the same way; they have no purpose.

    `signal` names the consent signal where that determines what may override the opt-out; empty otherwise.
    """

    identifier_id: int
    pseudonym: bytes
    purpose: str
    act: str
    authority: str
    jurisdiction: str
    occurred_at: datetime
    signal: str = ""


@dataclass(frozen=True, slots=True)
class Lifted:
    """Suppressions that were lifted, as pseudonyms, and when."""

    pseudonyms: tuple[bytes, ...]
    lifted_at: datetime


Line = Erased | OptOut | Lifted

_KINDS: Final[dict[type, str]] = {Erased: "erased", OptOut: "no", Lifted: "lifted"}


@dataclass(frozen=True, slots=True)
class Numbered:
    """A line with its number and the instant at which it was written."""

    number: int
    at: datetime
    line: Line


class ReplayFile:
    """The replay file of one state store; its writers hold the exclusive lock of the database.

    The number of bytes read is remembered, so that `last_number` reads only what was added since.
    """

    def __init__(self, store: StateStore) -> None:
        self.store = store
        self._read_bytes = 0
        self._last_number = 0
        self._compactions = 0
        self._uncommitted: tuple[int, int] | None = None

    @property
    def place(self) -> str:
        """Where the file is, for messages."""
        return f"{self.store.place}/{REPLAY_FILE}"

    def file_id(self) -> bytes | None:
        """The random id in the first line; None if there is no file."""
        entry = self._first_line()
        return None if entry is None else bytes.fromhex(entry["file"])

    def forgotten(self) -> int:
        """The highest number of a line that was dropped because no backup that can be restored needs it; 0: none."""
        return int((self._first_line() or {}).get("forgotten", 0))

    def create(self, file_id: bytes) -> None:
        """Create the file with this id, unless it exists."""
        if self.file_id() is None:
            self._append([{"format": FORMAT, "file": file_id.hex()}])

    def write(self, lines: Sequence[Line], first_number: int, now: datetime) -> None:
        """Append lines, numbered from `first_number`; they are on disk when this returns."""
        at = instant_text(now)
        self._append(
            [{"n": number, "at": at, **_json_object(line)} for number, line in enumerate(lines, start=first_number)]
        )

    def lines_after(self, number: int) -> Iterator[Numbered]:
        """The lines with a higher number, in order."""
        for entry in self._entries():
            if entry.get("n", 0) > number:
                yield _read(entry, self.place)

    def last_number(self) -> int:
        """The highest number in the file, 0 if it has none; reads only what was added since the last call."""
        added, compactions = None, self._count_compactions()
        while added is None:
            if compactions != self._compactions:  # another process may have replaced the file: its bytes moved
                self._read_bytes = self._last_number = 0
            content = self._complete_lines(self._read_bytes)
            self._compactions, compactions = compactions, self._count_compactions()
            added = content if compactions == self._compactions else None
        for text in added.splitlines():
            entry = _parsed(text, self.place)
            self._last_number = max(self._last_number, entry.get("n", 0), entry.get("last", 0))
        self._read_bytes += len(added)
        return self._last_number

    def rewrite(self, lines: Sequence[Numbered], *, forgotten: int) -> None:
        """Replace the file by one with these lines alone, with their numbers; a reader finds the old or the new one.

        `forgotten` is the highest number that was dropped because no backup needs it. The caller holds the exclusive lock.
        """
        file_id = self.file_id()
        if file_id is None:
            return
        first = {
            "format": FORMAT,
            "file": file_id.hex(),
            "last": self.last_number(),
            "forgotten": max(forgotten, self.forgotten()),
            "compactions": self._count_compactions() + 1,
        }
        rest = ({"n": one.number, "at": instant_text(one.at), **_json_object(one.line)} for one in lines)
        self.store.replace(REPLAY_FILE, b"".join(canonical_json(entry) + b"\n" for entry in (first, *rest)))

    def await_commit(self, seen: int, written: int) -> None:
        """Remember that this process wrote lines up to `written`, for a database that had applied those up to `seen`."""
        begins = self._uncommitted[0] if self._uncommitted is not None else seen
        self._uncommitted = (begins, written)

    def mark_committed(self) -> None:
        """The transaction of the lines written by this process was committed."""
        self._uncommitted = None

    @property
    def is_awaiting_commit(self) -> bool:
        """Whether this process wrote lines whose transaction is not committed."""
        return self._uncommitted is not None

    def is_uncommitted(self, seen: int, written: int) -> bool:
        """Whether all lines after `seen` were written by this process in transactions that were not committed.

        They repeat what was requested and will be requested again, and no answer depended on them.
        """
        return self._uncommitted is not None and seen >= self._uncommitted[0] and written == self._uncommitted[1]

    def _append(self, entries: Sequence[dict[str, Any]]) -> None:
        self.last_number()  # reads up to the end of the last complete line
        block = b"".join(canonical_json(entry) + b"\n" for entry in entries)
        self.store.append(REPLAY_FILE, self._read_bytes, block)

    def _first_line(self) -> dict[str, Any] | None:
        first, line_break, _ = (self.store.read(REPLAY_FILE, 0, _FIRST_LINE_BYTES_MAX) or b"").partition(b"\n")
        if not line_break:
            return None
        entry = _parsed(first, self.place)
        if entry.get("format") != FORMAT:
            raise _damaged(self.place)
        return entry

    def _count_compactions(self) -> int:
        return int((self._first_line() or {}).get("compactions", 0))

    def _entries(self) -> Iterator[dict[str, Any]]:
        return (_parsed(text, self.place) for text in self._complete_lines(0).splitlines())

    def _complete_lines(self, offset: int) -> bytes:
        """The content from an offset, without an incomplete last line: no answer depended on it."""
        content = self.store.read(REPLAY_FILE, offset) or b""
        return content[: content.rfind(b"\n") + 1]


def _parsed(text: bytes, place: str) -> dict[str, Any]:
    try:
        entry = json.loads(text)
    except ValueError:
        raise _damaged(place) from None
    if not isinstance(entry, dict):
        raise _damaged(place)
    return entry


def _json_object(line: Line) -> dict[str, Any]:
    return {"kind": _KINDS[type(line)], **{name: _json(value) for name, value in asdict(line).items()}}


def _json(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime):
        return instant_text(value)
    if isinstance(value, int):
        return str(value)  # ids are 63 bits: more than JSON numbers hold everywhere
    if isinstance(value, tuple):
        return [_json(item) for item in value]
    return value


def _read(entry: dict[str, Any], place: str) -> Numbered:
    try:
        line = _READERS[entry["kind"]](entry)
        return Numbered(entry["n"], parse_instant(entry["at"]), line)
    except (KeyError, TypeError, ValueError):
        raise _damaged(place) from None


def _erased(entry: dict[str, Any]) -> Erased:
    return Erased(
        identifiers=tuple(map(int, entry["identifiers"])),
        anchors=tuple(map(int, entry["anchors"])),
        profiles=tuple(map(int, entry["profiles"])),
        pseudonyms=tuple(map(bytes.fromhex, entry["pseudonyms"])),
        until=None if entry["until"] is None else parse_instant(entry["until"]),
        request_id=int(entry.get("request_id", 0)),
    )


def _opt_out(entry: dict[str, Any]) -> OptOut:
    return OptOut(
        identifier_id=int(entry["identifier_id"]),
        pseudonym=bytes.fromhex(entry["pseudonym"]),
        purpose=entry["purpose"],
        act=entry["act"],
        authority=entry["authority"],
        jurisdiction=entry["jurisdiction"],
        occurred_at=parse_instant(entry["occurred_at"]),
        signal=entry.get("signal", ""),
    )


def _lifted(entry: dict[str, Any]) -> Lifted:
    return Lifted(tuple(map(bytes.fromhex, entry["pseudonyms"])), parse_instant(entry["lifted_at"]))


_READERS: Final[dict[str, Callable[[dict[str, Any]], Line]]] = {
    "erased": _erased,
    "no": _opt_out,
    "lifted": _lifted,
}


def _damaged(place: str) -> Fault:
    return Fault(
        "replay_file_damaged",
        "The replay file cannot be read",
        f"{place} contains a line that cdp did not write. Restore the file from its backup; without it, a restored "
        "database cannot know which people were erased.",
        status=500,
    )
