#!/bin/sh
# polars 2.1.0, duckdb 2.0.1 and pyarrow 26.0.1 (Python): a key of JSON Lines that comes late is no column.
#
# Guess: a key that not every line has becomes a column, or the line that has it is refused.
# Seen, with `unsubscribed_at` in the last line alone: polars (read_ndjson and scan_ndjson) looks at 100 lines, duckdb
# (read_json) at 20,480. The key of a later line is dropped without an error and without a warning; the line itself is
# there, and looks like that of a subscriber. pyarrow has the column at any length.
# Consequence: exports with optional keys, refusals above all, are read with declared columns. The first hundred people of
# a test file prove nothing.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check polars==2.1.0 duckdb==2.0.1 pyarrow==26.0.1
cd "$folder"
"$folder/venv/bin/python" -W error - <<'PY'
import json

import duckdb
import polars
import pyarrow.json

READERS = {
    "polars read_ndjson": lambda path: polars.read_ndjson(path).columns,
    "polars scan_ndjson": lambda path: polars.scan_ndjson(path).collect().columns,
    "duckdb read_json": lambda path: duckdb.sql(f"select * from read_json('{path}')").columns,
    "pyarrow read_json": lambda path: pyarrow.json.read_json(path).column_names,
}


def export(before):
    path = f"{before}.jsonl"
    with open(path, "w") as file:
        for number in range(before):
            file.write(json.dumps({"email": f"person-{number}@x.example"}) + "\n")
        file.write(json.dumps({"email": "last@x.example", "unsubscribed_at": "2026-01-01"}) + "\n")
    return path


lost = {}
for before in (99, 100, 20_479, 20_480, 100_000):
    path = export(before)
    lost[before] = [name for name, columns in READERS.items() if "unsubscribed_at" not in columns(path)]
    print(f"key in line {before + 1} alone, lost by:", lost[before] or "none")
assert lost[99] == []
assert lost[100] == lost[20_479] == ["polars read_ndjson", "polars scan_ndjson"]
assert lost[20_480] == lost[100_000] == ["polars read_ndjson", "polars scan_ndjson", "duckdb read_json"]
PY
