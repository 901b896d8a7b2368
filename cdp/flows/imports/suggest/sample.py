"""The columns of a file and its first rows, before there is a mapping."""

import csv
import gzip
import io
from collections.abc import Mapping as Cells
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final, cast

from cdp.flows.imports.csv_rows import separator_note
from cdp.flows.imports.encodings import guess_encoding
from cdp.flows.imports.mapping import Mapping
from cdp.flows.imports.parquet_rows import column_names
from cdp.flows.imports.parts import Value
from cdp.flows.imports.read import File, inspect_file, opened, rows_of
from cdp.kit.errors import Fault

_ROWS: Final = 500
_BYTES: Final = 256 * 1024
_SEPARATORS: Final = (",", ";", "\t", "|")


@dataclass(frozen=True, slots=True)
class FileSample:
    """The columns of a file in their order, its first rows, and what its mapping must say about how it is written."""

    columns: tuple[str, ...]
    rows: tuple[Cells[str, Any], ...]
    written: dict[str, Any]

    def cells(self, column: str) -> list[Any]:
        """The cells of a column; of a path in JSON Lines and Parquet."""
        return [_at(row, column) for row in self.rows]


def take_sample(path: Path) -> FileSample:
    """Faults: those of `inspect_file` and `rows_of`, and `nothing_to_suggest` for a file without columns."""
    file = inspect_file(path, _mapping({}, "any"))
    written: dict[str, Any] = {}
    header: tuple[str, ...]
    if file.format == "csv":
        written, header = _layout(_start(file))
    elif file.format == "parquet":
        header = column_names(path)
    else:
        header = ("",)
    if not header:
        raise Fault("nothing_to_suggest", "The file has no columns", "A CSV file begins with the names of its columns.")
    mapping = _mapping(written, header[0])
    if file.format == "parquet":
        mapping = mapping.model_copy(update={"traits": {f"t{n}": Value(column=name) for n, name in enumerate(header)}})
    with rows_of(file, mapping) as (rows, _):
        read = tuple(row.fields for row in islice(rows, _ROWS) if row.fields)
    columns = header if file.format == "csv" else tuple(dict.fromkeys(name for row in read for name in _paths(row)))
    return FileSample(columns or header, read, written)


def _mapping(written: Cells[str, Any], column: str) -> Mapping:
    """A mapping that reads every row; it is never used to make messages."""
    return Mapping.model_validate(
        {**written, "type": Value(value="identify"), "identifiers": {"user_id": Value(column=column or "any")}}
    )


def _start(file: File) -> bytes:
    with opened(file.path) as raw:
        plain: IO[bytes] = cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if file.is_compressed else raw
        try:
            return plain.read(_BYTES)
        except (EOFError, OSError):
            return b""


def _layout(start: bytes) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What a mapping must declare of a CSV file that begins so, and the names of its columns."""
    encoding = guess_encoding(start)
    text = start.decode("utf-8-sig" if encoding == "utf-8" else encoding, "replace")
    written: dict[str, Any] = {} if encoding == "utf-8" else {"encoding": encoding}
    lines = text.splitlines(keepends=True)
    noted = separator_note(lines[0]) if lines else None
    if noted is not None:
        lines = lines[1:]
    separator = noted or max(_SEPARATORS, key=lambda mark: lines[0].count(mark) if lines else 0)
    if separator != "," and noted is None:
        written["delimiter"] = separator
    try:
        header = next(csv.reader(io.StringIO("".join(lines), newline=""), delimiter=separator), [])
    except csv.Error:
        header = []
    return written, tuple(name.strip() for name in header)


def _paths(row: Cells[str, Any]) -> list[str]:
    """The columns of a row, those of nested objects as paths of two steps."""
    found = []
    for name, cell in row.items():
        found += [f"{name}.{inner}" for inner in cell] if isinstance(cell, dict) else [name]
    return found


def _at(row: Cells[str, Any], column: str) -> Any:
    if column in row:
        return row[column]
    outer, _, inner = column.partition(".")
    nested = row.get(outer)
    return nested.get(inner) if isinstance(nested, dict) else None
