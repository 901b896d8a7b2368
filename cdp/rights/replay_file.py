"""The replay file: what a restored database must be told again before it may speak.

It lies outside the database, under CDP_HOME. Each line is a JSON object with the next number: erasures as random ids,
suppressions as pseudonyms of their own domain, noes as (identifier, pseudonym, purpose). A line is on disk before the
answer that rests on it leaves, and before its transaction commits; a line whose transaction never committed repeats
something that was asked for and is harmless. The database remembers the last number it has seen: one that is behind
its file was restored.
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from cdp.kit.canonical import canonical_json, instant_text
from cdp.kit.clock import parse_instant
from cdp.kit.errors import Fault

FORMAT: Final = "cdp/replay@v1"
FILE_ID_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Erased:
    """A person who was erased, as random ids, with the suppression that stands since."""

    identifiers: tuple[int, ...]
    anchors: tuple[int, ...]
    profiles: tuple[int, ...]
    pseudonyms: tuple[bytes, ...]
    until: datetime | None


@dataclass(frozen=True, slots=True)
class No:
    """A refusal, withdrawal or objection: by which identifier, for which purpose, on whose authority, when."""

    identifier_id: int
    pseudonym: bytes
    purpose: str
    act: str
    authority: str
    jurisdiction: str
    occurred_at: datetime


Line = Erased | No


@dataclass(frozen=True, slots=True)
class Numbered:
    """A line with its number and the instant at which it was written."""

    number: int
    at: datetime
    line: Line


class ReplayFile:
    """The replay file of one CDP_HOME; its writers hold the exclusive lock of the database.

    What was read is remembered by its length, so that asking for the last number reads only what others added.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read_bytes = 0
        self._last_number = 0

    def file_id(self) -> bytes | None:
        """The random id in the first line, None while there is no file."""
        for entry in self._entries(0):
            if entry.get("format") != FORMAT:
                raise _damaged(self.path)
            return bytes.fromhex(entry["file"])
        return None

    def begin(self, file_id: bytes) -> None:
        """Make the file, when there is none, and let it say which one it is."""
        if self.file_id() is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._append([{"format": FORMAT, "file": file_id.hex()}])

    def write(self, lines: Sequence[Line], first_number: int, now: datetime) -> None:
        """Append lines, numbered from `first_number`; they are on disk when this returns."""
        at = instant_text(now)
        self._append([{"n": number, "at": at, **_shape(line)} for number, line in enumerate(lines, start=first_number)])

    def lines_after(self, number: int) -> Iterator[Numbered]:
        """The lines with a higher number, as they were written."""
        for entry in self._entries(0):
            if entry.get("n", 0) > number:
                yield _read(entry, self.path)

    def last_number(self) -> int:
        """The highest number in the file, 0 when it has none."""
        for entry in self._entries(self._read_bytes):
            self._last_number = max(self._last_number, entry.get("n", 0))
        self._read_bytes = len(self._whole(0))
        return self._last_number

    def _append(self, entries: Sequence[dict[str, Any]]) -> None:
        is_new = not self.path.exists()
        block = b"".join(canonical_json(entry) + b"\n" for entry in entries)
        with os.fdopen(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as file:
            file.truncate(len(self._whole(0)))
            file.write(block)
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            _sync_folder(self.path.parent)

    def _entries(self, offset: int) -> Iterator[dict[str, Any]]:
        for text in self._whole(offset).splitlines():
            try:
                entry = json.loads(text)
            except ValueError:
                raise _damaged(self.path) from None
            if not isinstance(entry, dict):
                raise _damaged(self.path)
            yield entry

    def _whole(self, offset: int) -> bytes:
        """The file from an offset, without a last line that lacks its end: that was never answered for."""
        try:
            with self.path.open("rb") as file:
                file.seek(offset)
                content = file.read()
        except FileNotFoundError:
            return b""
        return content[: content.rfind(b"\n") + 1]


def _shape(line: Line) -> dict[str, Any]:
    kind = "erased" if isinstance(line, Erased) else "no"
    return {"kind": kind, **{name: _json(value) for name, value in asdict(line).items()}}


def _json(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime):
        return instant_text(value)
    if isinstance(value, int):
        return str(value)  # ids are 63 bits: more than JSON numbers hold everywhere
    if isinstance(value, tuple):
        return [_json(each) for each in value]
    return value


def _read(entry: dict[str, Any], path: Path) -> Numbered:
    try:
        line = _erased(entry) if entry["kind"] == "erased" else _no(entry)
        return Numbered(entry["n"], parse_instant(entry["at"]), line)
    except (KeyError, TypeError, ValueError):
        raise _damaged(path) from None


def _erased(entry: dict[str, Any]) -> Erased:
    return Erased(
        identifiers=tuple(map(int, entry["identifiers"])),
        anchors=tuple(map(int, entry["anchors"])),
        profiles=tuple(map(int, entry["profiles"])),
        pseudonyms=tuple(map(bytes.fromhex, entry["pseudonyms"])),
        until=None if entry["until"] is None else parse_instant(entry["until"]),
    )


def _no(entry: dict[str, Any]) -> No:
    return No(
        identifier_id=int(entry["identifier_id"]),
        pseudonym=bytes.fromhex(entry["pseudonym"]),
        purpose=entry["purpose"],
        act=entry["act"],
        authority=entry["authority"],
        jurisdiction=entry["jurisdiction"],
        occurred_at=parse_instant(entry["occurred_at"]),
    )


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _damaged(path: Path) -> Fault:
    return Fault(
        "replay_file_damaged",
        "The replay file cannot be read",
        f"{path} holds a line that cdp did not write. Bring the file back from its backup; without it a restored "
        "database cannot be told which people were erased.",
        status=500,
    )
