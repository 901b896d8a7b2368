"""The replay file: what a database restored from a backup must apply before the service starts.

It is kept outside the database, in the state store. Each line is a JSON object with the next number: erasures as random
ids, suppressions and their end as pseudonyms of a separate domain, opt-outs and restrictions as (identifier, pseudonym,
purpose). A line is on disk before the answer that depends on it is sent, and before its transaction commits. A line whose
transaction never committed repeats something that was requested, and is harmless. The database stores the number of the
last line it has applied: a database that is behind its file was restored.

The file is compacted from time to time (`cdp.rights.replay_compaction`): it is replaced as a whole by one without the lines
that are not needed any more. Numbers go on, and the first line holds the highest one that was ever given, how often the
file was replaced, and the length and the digest of the lines that were kept.

The database also stores the digest of the file up to the last line it has applied, so that a file that lacks lines, or has
others in their place, is recognized although its numbers are right.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
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
_BLOCK_BYTES: Final = 1 << 20


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


@dataclass(slots=True)
class _Cursor:
    """How far the file was read: the bytes, the highest number in them, and their digest; `until` is what was asked for."""

    until: int = 0
    size: int = 0
    number: int = 0
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)


class ReplayFile:
    """The replay file of one state store; its writers hold the exclusive lock of the database.

    How far it was read is remembered, so that `last_number` and `digest` read only what was added since.
    """

    def __init__(self, store: StateStore) -> None:
        self.store = store
        self._end = _Cursor()
        self._applied = _Cursor()
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
        self._read_on(self._end_of_file, until=None)
        return self._end.number

    def digest(self, number: int) -> bytes:
        """SHA-256 of the file up to the line of this number, or to the last one before it; the first line included.

        It goes by what the last call of `last_number` found.
        """
        if number >= self._end.number:
            return self._end.digest.digest()
        if number < self._applied.until:
            self._applied = _Cursor()
        self._applied.until = number
        self._read_on(lambda: self._applied, until=number)
        return self._applied.digest.digest()

    def compactions(self) -> int:
        """How often the file was replaced by one without unneeded lines."""
        return int((self._first_line() or {}).get("compactions", 0))

    def is_whole(self) -> bool:
        """Whether the lines that the last compaction kept are all there, as it wrote them; true before the first one."""
        first = self._first_line() or {}
        if "kept_bytes" not in first:
            return True
        content = self.store.read(REPLAY_FILE) or b""
        begin = content.find(b"\n") + 1
        kept = content[begin : begin + int(first["kept_bytes"])]
        return hashlib.sha256(kept).hexdigest() == str(first["kept_sha256"])

    def rewrite(
        self,
        lines: Sequence[Numbered],
        *,
        forgotten: int,
        file_id: bytes | None = None,
        last: int = 0,
        compactions: int = 0,
    ) -> None:
        """Replace the file by one with these lines alone, with their numbers; a reader finds the old or the new one.

        `forgotten` is the highest number that was dropped because no backup needs it. The other three are what is known of a file
        that is lost: its id, its highest number, and how often it was replaced. The caller holds the exclusive lock.
        """
        file_id = file_id or self.file_id()
        if file_id is None:
            return
        rest = b"".join(_text({"n": one.number, "at": instant_text(one.at), **_json_object(one.line)}) for one in lines)
        first = {
            "format": FORMAT,
            "file": file_id.hex(),
            "last": max(last, self.last_number()),
            "forgotten": max(forgotten, self.forgotten()),
            "compactions": 1 + max(compactions, self.compactions()),
            "kept_bytes": len(rest),
            "kept_sha256": hashlib.sha256(rest).hexdigest(),
        }
        self.store.replace(REPLAY_FILE, _text(first) + rest)

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
        self.store.append(REPLAY_FILE, self._end.size, b"".join(map(_text, entries)))

    def _first_line(self) -> dict[str, Any] | None:
        first, line_break, _ = (self.store.read(REPLAY_FILE, 0, _FIRST_LINE_BYTES_MAX) or b"").partition(b"\n")
        if not line_break:
            return None
        entry = _parsed(first, self.place)
        if entry.get("format") != FORMAT:
            raise _damaged(self.place)
        return entry

    def _end_of_file(self) -> _Cursor:
        if self._end.size and self.store.read(REPLAY_FILE, self._end.size - 1, self._end.size) != b"\n":
            self._end, self._applied = _Cursor(), _Cursor()  # the file became shorter, or is another one
        return self._end

    def _read_on(self, cursor: Callable[[], _Cursor], *, until: int | None) -> None:
        """Move a cursor to the end of the file, or before the first line with a higher number than `until`."""
        while True:
            compactions = self.compactions()
            if compactions != self._compactions:  # another process may have replaced the file: its bytes moved
                self._end, self._applied, self._compactions = _Cursor(), _Cursor(), compactions
            _move(cursor(), self._texts, until=until, place=self.place)
            if self.compactions() == compactions:
                return

    def _entries(self) -> Iterator[dict[str, Any]]:
        return (_parsed(text, self.place) for text in self._texts(0))

    def _texts(self, offset: int) -> Iterator[bytes]:
        """The complete lines from an offset; an incomplete last one is left out: no answer depended on it."""
        rest = b""
        while block := self.store.read(REPLAY_FILE, offset, offset + _BLOCK_BYTES):
            offset += len(block)
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                yield line + b"\n"


def _move(cursor: _Cursor, texts: Callable[[int], Iterator[bytes]], *, until: int | None, place: str) -> None:
    for text in texts(cursor.size):
        entry = _parsed(text, place)
        if until is not None and entry.get("n", 0) > until:
            return
        cursor.digest.update(text)
        cursor.size += len(text)
        cursor.number = max(cursor.number, entry.get("n", 0), entry.get("last", 0))


def _text(entry: dict[str, Any]) -> bytes:
    return canonical_json(entry) + b"\n"


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
