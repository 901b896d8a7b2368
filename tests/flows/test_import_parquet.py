"""A Parquet file is imported like any other, and resumed after its last row."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cdp.flows.imports.mapping import load_mapping
from cdp.flows.imports.messages import Progress, import_file
from cdp.kit.db import Database
from tests.support.pipeline import open_pipeline
from tests.support.policies import shipped

pytestmark = pytest.mark.postgres

MAPPING = """
event: Order Completed
message_id: {template: "o-{order.number}"}
identifiers: {user_id: customer}
timestamp: {column: at, zone: Europe/Berlin}
properties: {revenue: {column: order.amount, type: number}}
"""


class Away(Exception):
    """Stands for whatever ends a process."""


def test_an_interrupted_import_goes_on_after_its_last_row(database: Database, tmp_path: Path) -> None:
    pipeline = open_pipeline(database, shipped(), tmp_path)
    file, rules = tmp_path / "orders.parquet", tmp_path / "mapping.yaml"
    rules.write_text(MAPPING, encoding="utf-8")
    table = pa.table(
        {
            "customer": [1000.0 + n for n in range(900)],
            "order": [{"number": n, "amount": 1.5} for n in range(900)],
            "at": [datetime(2026, 5, 1) + timedelta(minutes=n) for n in range(900)],
        }
    )
    pq.write_table(table, file, row_group_size=300)
    seen: list[Progress] = []

    def stop(progress: Progress) -> None:
        seen.append(progress)
        if progress.rows >= 400:
            raise Away

    with pytest.raises(Away):
        import_file(pipeline.context, file, load_mapping(rules), chunk_rows=100, watch=stop)
    done = import_file(pipeline.context, file, load_mapping(rules), resume=True, chunk_rows=100)
    assert (done.rows, done.resumed_after, done.tally.states) == (900, 400, {"stored": 900})
    assert [progress.rows for progress in seen] == [100, 200, 300, 400]
    assert 0 < seen[0].bytes_read < seen[-1].bytes_read < file.stat().st_size
    assert float(pipeline.one("SELECT sum((plain->>'revenue')::numeric) FROM behavior.event")) == 1350
    assert pipeline.one("SELECT min(occurred_at) FROM behavior.event") == datetime(2026, 4, 30, 22, tzinfo=UTC)
