"""The same population in DuckDB, for comparison: a file of columns on the same disk, filled through COPY."""

from collections.abc import Mapping
from pathlib import Path

import duckdb

from cdp.kit.db import Database

_MICROS = "(extract(epoch FROM {}) * 1000000)::bigint"
_TABLES = {
    "canonical": (
        {"anchor_id": "BIGINT", "profile_id": "BIGINT"},
        "SELECT anchor_id, profile_id FROM identity.canonical",
    ),
    "people": (
        {"profile_id": "BIGINT", "since": "BIGINT", "until": "BIGINT", "country": "INTEGER", "age": "INTEGER"},
        f"""
        SELECT profile_id, CASE WHEN since = '-infinity' THEN 0 ELSE {_MICROS.format("since")} END,
               {_MICROS.format("until")}, (traits -> 'country')::int, (traits -> 'age')::int
        FROM consent.permitted WHERE purpose = 'email_marketing'
        """,
    ),
    "event": (
        {
            "anchor_id": "BIGINT", "name_id": "INTEGER", "at": "BIGINT", "bits": "BIGINT",
            "revenue": "DECIMAL(18, 2)", "category": "INTEGER",
        },
        f"""
        SELECT anchor_id, name_id, {_MICROS.format("occurred_at")}, bits, plain -> 'revenue', plain -> 'category'
        FROM behavior.event
        """,
    ),
}  # fmt: skip


class Duck:
    """Answers questions over the copy; instants are microseconds."""

    def __init__(self, database: Database, folder: Path) -> None:
        self._connection = duckdb.connect(str(folder / "copy.duckdb"))
        for name, (columns, query) in _TABLES.items():
            file = folder / f"{name}.csv"
            with (
                database.transaction(read_only=True) as tx,
                file.open("wb") as sink,
                tx.raw.cursor().copy(f"COPY ({query}) TO STDOUT (FORMAT csv)".encode()) as rows,
            ):
                for block in rows:
                    sink.write(block)
            self._connection.execute(
                f"CREATE TABLE {name} AS SELECT * FROM read_csv(?, header = false, columns = {columns!r})", [str(file)]
            )
            file.unlink()
        self._connection.execute("CHECKPOINT")
        self.version = duckdb.__version__

    def ask(self, query: str, params: Mapping[str, int]) -> int:
        """The number that a query gives."""
        row = self._connection.execute(query, {name: params[name] for name in params if f"${name}" in query}).fetchone()
        assert row is not None
        return int(row[0])

    def close(self) -> None:
        """Give the file back."""
        self._connection.close()
