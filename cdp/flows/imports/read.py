"""The rows of a file: CSV with a header, or JSON Lines, plain or compressed with gzip.

A row that cannot be read is returned with a reason; only a file that is damaged as a whole is a fault.
"""

import csv
import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, cast

from cdp.accounting.row_reasons import RowReason
from cdp.flows.imports.lines import BoundedLines, RecordTooLong
from cdp.flows.imports.mapping import FORMATS, Mapping
from cdp.flows.imports.row import Row, is_too_large
from cdp.kit.bounded_file import require_regular
from cdp.kit.errors import Fault
from cdp.policy.problems import choose
from cdp.wire.segment_spec import MESSAGE_BYTES_MAX

_BLOCK: Final = 1 << 20
_CELL_MAX: Final = 1 << 20
_ENCODINGS: Final = {"utf-8": "utf-8-sig", "latin-1": "latin-1", "cp1252": "cp1252"}


@dataclass(frozen=True, slots=True)
class File:
    """A file to import: its path, format and SHA-256, and its size in bytes on the disk."""

    path: Path
    format: str
    is_compressed: bool
    digest: bytes
    size: int


def inspect_file(path: Path, mapping: Mapping) -> File:
    """The file with its SHA-256. Faults: `unreadable_file`, `unknown_format`, `not_a_file`."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    is_compressed = suffixes[-1:] == [".gz"]
    named = (suffixes[:-1] if is_compressed else suffixes)[-1:]
    format_ = mapping.format or (FORMATS.get(named[0]) if named else None)
    if format_ is None:
        raise Fault(
            "unknown_format",
            "The format of the file is unknown",
            "Set `format: csv` or `format: jsonl` in the mapping, or name the file .csv, .jsonl, .csv.gz or .jsonl.gz.",
        )
    try:
        require_regular(path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
        return File(path, format_, is_compressed, digest, path.stat().st_size)
    except OSError as error:
        raise _unreadable_file(path, error) from None


@contextmanager
def rows_of(file: File, mapping: Mapping) -> Iterator[tuple[Iterator[Row], Callable[[], int]]]:
    """The rows of a file, and a function that returns how many bytes of it were read.

    Faults: `unknown_column` before the first row, `damaged_file` where a compressed file is truncated, `unreadable_file`.
    """
    with _opened(file.path) as raw:
        plain: IO[bytes] = cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if file.is_compressed else raw
        text = io.TextIOWrapper(plain, _ENCODINGS[mapping.encoding], errors="surrogateescape", newline="")
        lines = BoundedLines(text)
        rows = _csv(lines, mapping) if file.format == "csv" else _json_lines(lines)
        try:
            yield _undamaged(rows, file.path), raw.tell
        finally:
            text.detach()


def _opened(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        raise _unreadable_file(path, error) from None


def _unreadable_file(path: Path, error: OSError) -> Fault:
    reason = error.strerror or type(error).__name__
    return Fault("unreadable_file", "The file cannot be read", f"{path}: {reason}. Check the file and its disk.")


def _undamaged(rows: Iterator[Row], path: Path) -> Iterator[Row]:
    try:
        yield from rows
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise Fault(
            "damaged_file",
            "The compressed file is truncated or damaged",
            "The rows before that point were read. Fetch the file again and import it; no row is stored twice.",
        ) from None
    except OSError as error:
        raise _unreadable_file(path, error) from None


def _csv(lines: BoundedLines, mapping: Mapping) -> Iterator[Row]:
    csv.field_size_limit(_CELL_MAX)
    reader = csv.reader(lines, delimiter=mapping.delimiter)
    try:
        header = [name.strip() for name in next(reader, [])]
    except RecordTooLong:
        raise Fault(
            "header_too_long", "The header of the file is too long", "The first line of a CSV file names its columns."
        ) from None
    _check(header, mapping)
    number = 0
    while True:
        lines.begin_record()
        try:
            cells = next(reader, None)
        except RecordTooLong:
            number += 1
            yield Row(number, {}, RowReason.ROW_TOO_LARGE)
            continue
        except csv.Error:
            cells = [""] * (len(header) + 1)
        if cells is None:
            return
        if cells:
            number += 1
            yield _row(number, header, cells)


def _row(number: int, header: list[str], cells: list[str]) -> Row:
    if len(cells) != len(header):
        return Row(number, {}, RowReason.ROW_MALFORMED)
    fields = dict(zip(header, cells, strict=True))
    if is_too_large(fields):
        return Row(number, {}, RowReason.ROW_TOO_LARGE)
    return Row(number, fields, _unreadable("".join(cells)))


def _check(header: list[str], mapping: Mapping) -> None:
    missing = sorted(mapping.columns - set(header))
    if missing:
        listed = "; ".join(f"`{name}`: {choose(name, header)}" for name in missing)
        raise Fault("unknown_column", "The mapping names columns that the file does not have", listed)
    if len(set(header)) != len(header):
        raise Fault("doubled_column", "The header names a column twice", "Give every column a different name.")


def _json_lines(lines: BoundedLines) -> Iterator[Row]:
    number = 0
    while True:
        lines.begin_record()
        try:
            line = next(lines, None)
        except RecordTooLong:
            number += 1
            yield Row(number, {}, RowReason.ROW_TOO_LARGE)
            continue
        if line is None:
            return
        if not line.strip():
            continue
        number += 1
        if len(line) > MESSAGE_BYTES_MAX:
            yield Row(number, {}, RowReason.ROW_TOO_LARGE)
            continue
        reason = _unreadable(line)
        value: object = None
        if reason is None:
            try:
                value = json.loads(line, parse_constant=_refuse)
            except (ValueError, RecursionError):
                reason = RowReason.ROW_MALFORMED
        if reason is None and not isinstance(value, dict):
            reason = RowReason.ROW_MALFORMED
        yield Row(number, value if isinstance(value, dict) else {}, reason)


def _refuse(_name: str) -> None:
    raise ValueError("NaN and Infinity are not valid JSON")


def _unreadable(text: str) -> RowReason | None:
    """Why a text is invalid: a surrogate represents a byte that is not valid in the encoding."""
    if text.isascii():
        return None
    return RowReason.TEXT_NOT_UNICODE if any("\ud800" <= character <= "\udfff" for character in text) else None
