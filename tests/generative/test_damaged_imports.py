"""Whatever happens to a file on its way: every row that is read ends in a state, and nothing but a named fault is raised.

The rows are those of examples/online_retail (Online Retail, UCI Machine Learning Repository, CC BY 4.0).
"""

import gzip
import io
import json
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdp.flows.imports.mapping import Mapping, load_mapping
from cdp.flows.imports.messages import import_file
from cdp.flows.imports.trial import try_file
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from tests.support.people import NOON
from tests.support.pipeline import open_pipeline
from tests.support.policies import ROOT, permit_all

EXAMPLE: Final = ROOT / "examples" / "online_retail"
ROWS: Final = 120
FAULTS: Final = {
    "damaged_file", "unknown_column", "doubled_column", "header_too_long", "other_encoding", "separator_disagrees",
    "unreadable_file", "row_group_too_large",
}  # fmt: skip


@cache
def lines() -> list[str]:
    with gzip.open(EXAMPLE / "orders.csv.gz", "rt", encoding="utf-8") as file:
        return [next(file) for _ in range(ROWS + 1)]


@cache
def content(kind: str) -> bytes:
    header, *rows = lines()
    names = header.strip().split(",")
    objects = [dict(zip(names, row.strip().split(","), strict=True)) for row in rows]
    if kind == "csv":
        return "".join(lines()).encode()
    if kind == "csv.gz":
        return gzip.compress("".join(lines()).encode(), mtime=0)
    if kind == "jsonl":
        return "".join(json.dumps(entry) + "\n" for entry in objects).encode()
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(objects), buffer, row_group_size=40, compression="none")
    return buffer.getvalue()


@cache
def mapping_of(is_grouped: bool) -> Mapping:
    mapping = load_mapping(EXAMPLE / "mapping.yaml")
    return mapping.model_copy(update={"group_by": "customer_id"}) if is_grouped else mapping


def flip(data: bytearray, place: int, byte: int) -> None:
    data[place] = byte


def insert(data: bytearray, place: int, byte: int) -> None:
    data[place:place] = bytes([byte]) * 3


def delete(data: bytearray, place: int, byte: int) -> None:
    del data[place : place + byte]


def cut(data: bytearray, place: int, _byte: int) -> None:
    del data[place:]


def double(data: bytearray, place: int, byte: int) -> None:
    data[place:place] = data[place : place + 4 * byte]


DAMAGE: Final[list[Callable[[bytearray, int, int], None]]] = [flip, insert, delete, cut, double]
INTERESTING: Final = [*b'"\n\r,;{}[]\\\x00\xff\xfe\x80', 0x41]


def damaged(data: bytes, seed: int, times: int) -> bytes:
    drawn = random.Random(seed)
    changed = bytearray(data)
    for _ in range(times):
        if changed:
            byte = drawn.choice(INTERESTING) if drawn.random() < 0.5 else drawn.randrange(256)
            drawn.choice(DAMAGE)(changed, drawn.randrange(len(changed)), byte)
    return bytes(changed)


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "jsonl", "parquet"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32), times=st.integers(1, 12), is_grouped=st.booleans())
def test_every_row_that_is_read_ends(kind: str, seed: int, times: int, is_grouped: bool) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"orders.{kind}"
        path.write_bytes(damaged(content(kind), seed, times))
        try:
            done = try_file(permit_all(), path, mapping_of(is_grouped), now=NOON)
        except Fault as fault:
            assert fault.code in FAULTS  # noqa: PT017 - most damage is no fault
        else:
            assert sum(done.tally.states.values()) == done.rows
            assert sum(count for name, count in done.tally.reasons.items() if name.startswith("invalid")) == (
                done.tally.states.get("invalid", 0)
            )


@pytest.mark.postgres
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize("seed", range(4))
def test_every_row_ends_in_the_store_too(database: Database, tmp_path: Path, kind: str, seed: int) -> None:
    pipeline = open_pipeline(database, permit_all(), tmp_path)
    path = tmp_path / f"orders.{kind}"
    path.write_bytes(damaged(content(kind), seed, 8))
    try:
        done = import_file(pipeline.context, path, mapping_of(False), chunk_rows=50)
    except Fault as fault:
        assert fault.code in FAULTS  # noqa: PT017 - most damage is no fault
        return
    assert sum(done.tally.states.values()) == done.rows
    counted = pipeline.one("SELECT coalesce(sum(messages), 0)::int FROM accounting.accounting")
    assert counted == done.rows
