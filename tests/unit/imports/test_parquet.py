"""Parquet files: values as they are meant, a few rows in memory, a damaged file as a fault."""

import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cdp.accounting.row_reasons import RowReason
from cdp.flows.imports import parquet_rows
from cdp.flows.imports.cells import Row
from cdp.flows.imports.mapping import load_mapping
from cdp.flows.imports.read import inspect_file, rows_of
from cdp.flows.imports.row import row_reader
from cdp.kit.errors import Fault
from cdp.wire.message import Message
from tests.support.people import NOON, SHOP

HEAD = "event: A\nidentifiers: {user_id: id}\n"


def rows(folder: Path, columns: Mapping[str, Any], mapping: str = HEAD, **options: Any) -> list[Row]:
    path, rules = folder / "a.parquet", folder / "mapping.yaml"
    pq.write_table(pa.table(dict(columns)), path, **options)
    rules.write_text(mapping, encoding="utf-8")
    read = load_mapping(rules)
    with rows_of(inspect_file(path, read), read) as (found, _):
        return list(found)


def body(folder: Path, cell: Any, rule: str = "x", mapping: str = HEAD) -> Any:
    text = f"{mapping}properties: {{p: {rule}}}\n"
    (row,) = rows(folder, {"id": ["u1"], "x": cell}, text)
    message = row_reader(load_mapping(folder / "mapping.yaml"), SHOP, b"")(row, NOON)
    return message.body.get("properties", {}).get("p") if isinstance(message, Message) else message.reason


@pytest.mark.parametrize(
    ("cell", "rule", "value"),
    [
        (["a"], "x", "a"),
        ([12347.0], "x", "12347"),
        ([float("nan")], "x", None),
        ([float("inf")], "{column: x, type: number}", RowReason.NUMBER_MALFORMED),
        ([None], "{column: x, type: number}", None),
        ([True], "{column: x, type: boolean}", True),
        ([2**53], "{column: x, type: integer}", 2**53),
        ([Decimal("20.00")], "{column: x, type: number}", 20),
        ([Decimal("20.00")], "x", "20.00"),
        ([date(2026, 5, 1)], "{column: x, type: instant, zone: Europe/Berlin}", "2026-04-30T22:00:00.000000Z"),
        ([datetime(2026, 5, 1, 10, tzinfo=UTC)], "{column: x, type: instant, zone: Europe/Berlin}", "2026-05-01T10:00:00.000000Z"),
        (pa.array([1_777_629_600_000_000_123], pa.timestamp("ns")), "{column: x, type: instant}", "2026-05-01T10:00:00.000000Z"),
        (pa.array([1_777_629_600], pa.timestamp("s", "Europe/Berlin")), "{column: x, type: instant}", "2026-05-01T10:00:00.000000Z"),
        ([b"text"], "x", "text"),
        (pa.array(["a"]).dictionary_encode(), "x", "a"),
        ([[1.5, float("nan")]], "{column: x, type: json}", [1.5, None]),
        ([[Decimal("1.5"), None]], "{column: x, type: json}", [1.5, None]),
        ([[date(2026, 5, 1)]], "{column: x, type: json}", ["2026-05-01"]),
        ([{"a": {"b": 5}}], "x.a.b", "5"),
        (pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())), "{column: x, type: json}", {"k": 1}),
    ],
)  # fmt: skip
def test_a_cell_becomes_what_it_means(tmp_path: Path, cell: Any, rule: str, value: Any) -> None:
    assert body(tmp_path, cell, rule) == value


def test_numbers_do_not_depend_on_the_declared_decimal_sign(tmp_path: Path) -> None:
    mapping = "decimal: ','\nthousands: '.'\n" + HEAD
    for cell in ([1.5], [Decimal("1.50")]):
        assert body(tmp_path, cell, "{column: x, type: number}", mapping) == 1.5


def test_bytes_that_are_no_text_cost_their_row(tmp_path: Path) -> None:
    found = rows(tmp_path, {"id": [b"u1", b"\xff", b"u3"]})
    assert [(row.number, row.reason) for row in found] == [(1, None), (2, RowReason.TEXT_NOT_UNICODE), (3, None)]


def test_a_row_may_have_32_kilobytes_in_the_columns_that_are_read(tmp_path: Path) -> None:
    found = rows(tmp_path, {"id": ["u1", "x" * 40_000], "other": ["y" * 40_000, ""]})
    assert [row.reason for row in found] == [None, RowReason.ROW_TOO_LARGE]
    assert set(found[0].fields) == {"id"}


def test_the_columns_of_the_mapping_must_be_there_once(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="unknown_column") as refused:
        rows(tmp_path, {"idd": ["u1"]})
    assert "did you mean `idd`" in refused.value.detail
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["id", "id"]), path)
    read = load_mapping(tmp_path / "mapping.yaml")
    with pytest.raises(Fault, match="doubled_column"), rows_of(inspect_file(path, read), read) as (found, _):
        list(found)


def test_a_file_that_is_not_parquet_or_ends_early_is_a_fault(tmp_path: Path) -> None:
    whole = tmp_path / "whole.parquet"
    pq.write_table(pa.table({"id": [f"u{n}" for n in range(5_000)]}), whole, row_group_size=500, compression="snappy")
    rules = tmp_path / "mapping.yaml"
    rules.write_text(HEAD, encoding="utf-8")
    read = load_mapping(rules)
    content = whole.read_bytes()
    middle = len(content) // 2
    for damaged in (b"", b"PAR1", content[:-20], content[:middle] + bytes(200) + content[middle + 200 :]):
        path = tmp_path / "damaged.parquet"
        path.write_bytes(damaged)
        with pytest.raises(Fault, match="damaged_file"), rows_of(inspect_file(path, read), read) as (found, _):
            list(found)


def test_parquet_inside_gzip_and_a_row_group_beyond_the_limit_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = tmp_path / "mapping.yaml"
    rules.write_text(HEAD, encoding="utf-8")
    with pytest.raises(Fault, match="unknown_format"):
        inspect_file(tmp_path / "a.parquet.gz", load_mapping(rules))
    monkeypatch.setattr(parquet_rows, "_COLUMN_BYTES_MAX", 1_000)
    with pytest.raises(Fault, match="row_group_too_large") as refused:
        rows(tmp_path, {"id": [f"user-{n}" for n in range(1_000)]})
    assert "row group 1" in refused.value.detail


def test_without_the_extra_the_answer_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(Fault, match="missing_extra") as refused:
        rows(tmp_path, {"id": ["u1"]})
    assert "pyarrow" in refused.value.detail


READ = """
import resource, sys
from pathlib import Path
import pyarrow.parquet
from cdp.flows.imports.mapping import load_mapping
from cdp.flows.imports.read import inspect_file, rows_of
mapping = load_mapping(Path(sys.argv[2]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with rows_of(inspect_file(Path(sys.argv[1]), mapping), mapping) as (rows, read):
    count = sum(1 for _ in rows)
    print(count, read(), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize("text", ["repeated", "different"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, text: str) -> None:
    """One row group of 200,000 rows, of which a column in one piece would be 200 MB."""
    path, rules = tmp_path / "big.parquet", tmp_path / "mapping.yaml"
    rules.write_text(HEAD + "properties: {p: x}\n", encoding="utf-8")
    with pq.ParquetWriter(path, pa.schema([("id", pa.string()), ("x", pa.string())])) as writer:
        count = 200_000
        filling = ["y" * 1_000] * count if text == "repeated" else [f"{n:0100d}" * 5 for n in range(count)]
        writer.write_table(pa.table({"id": [f"u{n}" for n in range(count)], "x": filling}), row_group_size=count)
    answer = subprocess.run(
        [sys.executable, "-c", READ, path, rules], capture_output=True, text=True, check=True
    ).stdout.split()
    assert int(answer[0]) == count
    assert int(answer[1]) == path.stat().st_size
    assert int(answer[2]) < 60
