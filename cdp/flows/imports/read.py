"""The rows of a file: CSV with a header or JSON Lines, plain or compressed with gzip, or Parquet.

A row that cannot be read is returned with a reason; only a file that is damaged as a whole is a fault.
"""

import gzip
import hashlib
import json
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from cdp.accounting.row_reasons import RowReason
from cdp.flows.imports.cells import Row, is_unicode
from cdp.flows.imports.csv_rows import csv_rows
from cdp.flows.imports.encodings import text_of_file
from cdp.flows.imports.lines import BoundedLines, RecordTooLong
from cdp.flows.imports.mapping import FORMATS, Mapping
from cdp.flows.imports.parquet_rows import ParquetRows
from cdp.kit.bounded_file import require_regular
from cdp.kit.errors import Fault
from cdp.wire.segment_spec import MESSAGE_BYTES_MAX


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
    if format_ is None or (format_ == "parquet" and is_compressed):
        raise Fault(
            "unknown_format",
            "The format of the file is unknown",
            "Set `format: csv`, `format: jsonl` or `format: parquet` in the mapping, or name the file .csv, .jsonl, .csv.gz, "
            ".jsonl.gz or .parquet. Parquet is compressed inside, not as a whole.",
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

    Faults: those of the columns before the first row, `other_encoding`, those of `ParquetRows`, `damaged_file` where a compressed file is truncated,
    `unreadable_file`.
    """
    if file.format == "parquet":
        parquet = ParquetRows(file.path, mapping, size=file.size)
        with closing(parquet.rows()) as all_rows:
            yield all_rows, parquet.bytes_read
        return
    with opened(file.path) as raw:
        rows = _rows(raw, file, mapping)
        try:
            yield _undamaged(rows, file.path), raw.tell
        finally:
            rows.close()


def _rows(raw: IO[bytes], file: File, mapping: Mapping) -> Generator[Row, None, None]:
    plain: IO[bytes] = cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if file.is_compressed else raw
    text = text_of_file(plain, mapping.encoding)
    try:
        lines = BoundedLines(text)
        yield from csv_rows(lines, mapping) if file.format == "csv" else _json_lines(lines)
    finally:
        text.detach()


def opened(path: Path) -> IO[bytes]:
    """The bytes of a file. Faults: `unreadable_file`."""
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


def _json_lines(lines: BoundedLines) -> Iterator[Row]:
    number = 0
    while True:
        lines.begin_record()
        try:
            line = next(lines, None)
        except RecordTooLong:
            number += 1
            yield Row(number, {}, RowReason.ROW_TOO_LARGE, line=lines.count)
            continue
        if line is None:
            return
        if not line.strip():
            continue
        number += 1
        if len(line) > MESSAGE_BYTES_MAX:
            yield Row(number, {}, RowReason.ROW_TOO_LARGE, line=lines.count)
            continue
        reason = None if is_unicode(line) else RowReason.TEXT_NOT_UNICODE
        value: object = None
        if reason is None:
            try:
                value = json.loads(line, parse_constant=json_constant)
            except (ValueError, RecursionError):
                reason = RowReason.ROW_MALFORMED
        if reason is None and not isinstance(value, dict):
            reason = RowReason.ROW_MALFORMED
        yield Row(number, value if isinstance(value, dict) else {}, reason, line=lines.count)


def json_constant(name: str) -> str | None:
    """What JSON does not have and Python writes: NaN is absent, an infinity is a text, and so not a number."""
    return None if name == "NaN" else name
