"""The rows of a Parquet file, read a few at a time; only the columns that the mapping names.

pyarrow is an optional extra and loaded only here. A value that JSON does not have becomes what is closest to it:
NaN becomes an empty value, bytes become text in UTF-8, and nested times become texts.
"""

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cdp.accounting.row_reasons import RowReason
from cdp.flows.imports.cells import Row
from cdp.flows.imports.mapping import Mapping
from cdp.kit.errors import Fault
from cdp.policy.problems import choose
from cdp.wire.segment_spec import MESSAGE_BYTES_MAX

if TYPE_CHECKING:
    from pyarrow import RecordBatch, Schema
    from pyarrow.parquet import ParquetFile

_ROWS_AT_ONCE: Final = 250
_COLUMN_BYTES_MAX: Final = 256 * 1024 * 1024
"""Bytes of one column of one row group, uncompressed: a row group is the least that a reader may need in memory."""
_READ_BYTES: Final = 1024 * 1024


class ParquetRows:
    """The rows of a file. Faults: `missing_extra`, `damaged_file`, `unknown_column`, `doubled_column`, `row_group_too_large`."""

    def __init__(self, path: Path, mapping: Mapping, *, size: int) -> None:
        self._path = path
        self._size = size
        self._mapping = mapping
        self._done = 0
        self._all = 0

    def bytes_read(self) -> int:
        """The share of the file that was read, by its rows."""
        return self._size * self._done // self._all if self._all else 0

    def rows(self) -> Generator[Row, None, None]:
        """Each row, numbered from 1."""
        arrow = _library()
        try:
            # A memory map or a buffer of the whole file would hold in memory what is only read through.
            with arrow.parquet.ParquetFile(self._path, buffer_size=_READ_BYTES, pre_buffer=False) as file:
                yield from self._rows_of(file, arrow)
        except (arrow.ArrowException, OSError) as error:
            raise _damaged() from error

    def _rows_of(self, file: "ParquetFile", arrow: Any) -> Iterator[Row]:
        names = _names(file.schema_arrow, self._mapping)
        _check_sizes(file, names)
        self._all = file.metadata.num_rows
        for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=names):
            columns = [_cells(arrow, batch, place) for place in range(batch.num_columns)]
            for cells in zip(*columns, strict=True):
                self._done += 1
                yield _row(self._done, batch.schema.names, cells)


def column_names(path: Path) -> tuple[str, ...]:
    """The columns of a file. Faults: `missing_extra`, `damaged_file`."""
    arrow = _library()
    try:
        return tuple(arrow.parquet.read_schema(path).names)
    except (arrow.ArrowException, OSError) as error:
        raise _damaged() from error


class _Unreadable:
    """A cell that holds bytes that are not text."""


_UNREADABLE: Final = _Unreadable()


def _library() -> Any:
    try:
        import_module("pyarrow.parquet")
        return import_module("pyarrow")
    except ImportError:
        raise Fault(
            "missing_extra", "Parquet files need another package", "Install pyarrow, the extra `parquet`.", status=422
        ) from None


def _damaged() -> Fault:
    return Fault(
        "damaged_file",
        "The file is not a Parquet file, or it is damaged",
        "The rows before that point were read. Fetch the file again and import it; no row is stored twice.",
    )


def _names(schema: "Schema", mapping: Mapping) -> list[str]:
    """The columns to read: those of the mapping, or those that contain them."""
    known = set(schema.names)
    found = {name: name if name in known else name.partition(".")[0] for name in mapping.columns}
    missing = sorted(name for name, place in found.items() if place not in known)
    if missing:
        listed = "; ".join(f"`{name}`: {choose(name, sorted(known))}" for name in missing)
        raise Fault("unknown_column", "The mapping names columns that the file does not have", listed)
    names = sorted(set(found.values()))
    if any(schema.names.count(name) > 1 for name in names):
        raise Fault("doubled_column", "The header names a column twice", "Give every column a different name.")
    return names


def _check_sizes(file: "ParquetFile", names: Sequence[str]) -> None:
    wanted = set(names)
    for number in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(number)
        for place in range(group.num_columns):
            column = group.column(place)
            is_read = column.path_in_schema in wanted or column.path_in_schema.partition(".")[0] in wanted
            if is_read and column.total_uncompressed_size > _COLUMN_BYTES_MAX:
                raise Fault(
                    "row_group_too_large",
                    "A row group of the file is too large to be read in bounded memory",
                    f"The column `{column.path_in_schema}` has more than {_COLUMN_BYTES_MAX // 1024 // 1024} MB in row group "
                    f"{number + 1}. Write the file with smaller row groups.",
                )


def _cells(arrow: Any, batch: "RecordBatch", place: int) -> list[Any]:
    column = batch.column(place)
    if arrow.types.is_timestamp(column.type) and column.type.unit == "ns":
        column = column.cast(arrow.timestamp("us", column.type.tz), safe=False)
    try:
        return [plain_cell(cell) for cell in column.to_pylist()]
    except (ValueError, OverflowError, KeyError):
        return [_one(cell) for cell in column]


def _one(cell: Any) -> Any:
    try:
        return plain_cell(cell.as_py())
    except (ValueError, OverflowError, KeyError):
        return _UNREADABLE


def _row(number: int, names: Sequence[str], cells: Sequence[Any]) -> Row:
    fields = dict(zip(names, cells, strict=True))
    if any(cell is _UNREADABLE for cell in cells):
        known = {name: cell for name, cell in fields.items() if cell is not _UNREADABLE}
        return Row(number, known, RowReason.TEXT_NOT_UNICODE, line=number)
    if sum(map(_length, cells)) > MESSAGE_BYTES_MAX:
        return Row(number, {}, RowReason.ROW_TOO_LARGE, line=number)
    return Row(number, fields, line=number)


def _length(cell: Any) -> int:
    if isinstance(cell, str):
        return len(cell)
    return len(repr(cell)) if isinstance(cell, list | dict) else 8


def plain_cell(cell: Any) -> Any:
    """A cell of a row; times and decimals keep their types. Raises ValueError for bytes that are not text."""
    if isinstance(cell, float) and not math.isfinite(cell):
        return None if math.isnan(cell) else "Infinity"
    if isinstance(cell, bytes):
        return cell.decode("utf-8")
    return _nested(cell) if isinstance(cell, list | dict | tuple) else cell


_TEXTS: Final[dict[type, Callable[[Any], Any]]] = {
    datetime: datetime.isoformat,
    date: date.isoformat,
    time: time.isoformat,
    Decimal: float,
}


def _nested(cell: Any) -> Any:
    """A list or an object as JSON has it; a map is a list of pairs for pyarrow, and an object here."""
    if isinstance(cell, dict):
        return {str(name): _nested(value) for name, value in cell.items()}
    if isinstance(cell, list | tuple):
        if cell and all(isinstance(pair, tuple) and len(pair) == 2 for pair in cell):
            return {str(name): _nested(value) for name, value in cell}
        return [_nested(value) for value in cell]
    if isinstance(cell, bool | int | str) or cell is None:
        return cell
    convert = _TEXTS.get(type(cell))
    return plain_cell(cell) if isinstance(cell, float | bytes) else str(cell) if convert is None else convert(cell)
