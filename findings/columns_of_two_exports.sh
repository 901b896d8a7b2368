#!/bin/sh
# duckdb 2.0.1 and pyarrow 26.0.1 (Python): columns that the second of two files has, and names that differ in case.
#
# Guess: two monthly exports with different columns are combined by name or refused, and a quoted name is exact.
# Seen:
# - October without and November with `unsubscribed_at`, read as one: both libraries drop the column of the second file
#   without an error, CSV and Parquet alike. In the other order duckdb refuses the files: which of them comes first by name
#   decides between an error and a loss. polars 2.1.0 refuses both orders;
# - `Email` in the first file and `email` in the second: every address of the second is null for pyarrow; duckdb takes them
#   for one column;
# - one file with `id` and `ID`: duckdb returns the values of `id` for select "ID", quoted and spelled as in the file; the
#   second is called "ID_1".
# Consequence: headers are compared before files are read together, in exact spelling and in folded case; a refusal that a
# later export has for the first time is what is lost first.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check duckdb==2.0.1 pyarrow==26.0.1 polars==2.1.0
cd "$folder"
"$folder/venv/bin/python" -W error - <<'PY'
import duckdb
import polars
import pyarrow
import pyarrow.csv
import pyarrow.dataset
import pyarrow.parquet

OLD = {"email": ["ann@x.example"], "orders": [3]}
NEW = {"email": ["bo@x.example"], "orders": [5], "unsubscribed_at": ["2026-11-02"]}


def by_duckdb(paths):
    reader = "read_csv" if paths[0].endswith("csv") else "read_parquet"
    found = duckdb.sql(f"select * from {reader}({paths})")
    found.fetchall()
    return found.columns


def by_pyarrow(paths):
    return pyarrow.dataset.dataset(paths, format=paths[0].rpartition(".")[2]).to_table().column_names


def by_polars(paths):
    scan = polars.scan_csv if paths[0].endswith("csv") else polars.scan_parquet
    return scan(paths).collect().columns


def kept(read, paths):
    try:
        return "kept" if "unsubscribed_at" in read(paths) else "lost"
    except (duckdb.InvalidInputException, polars.exceptions.PolarsError) as error:
        return f"refused ({type(error).__name__})"


def write(name, columns):
    table = pyarrow.table(columns)
    if name.endswith("csv"):
        pyarrow.csv.write_csv(table, name)
    else:
        pyarrow.parquet.write_table(table, name)
    return name


table = {}
for kind in ("csv", "parquet"):
    old, new = write(f"old.{kind}", OLD), write(f"new.{kind}", NEW)
    for library, read in (("duckdb", by_duckdb), ("pyarrow", by_pyarrow), ("polars", by_polars)):
        table[kind, library] = (kept(read, [old, new]), kept(read, [new, old]))
        print(f"{kind}, {library}: old file first {table[kind, library][0]}, new file first {table[kind, library][1]}")
folded = [write("first.parquet", {"Email": ["ann@x.example"]}), write("second.parquet", {"email": ["bo@x.example"]})]
addresses = {
    "duckdb": duckdb.read_parquet(folded).fetchall(),
    "pyarrow": [tuple(row.values()) for row in pyarrow.dataset.dataset(folded).to_table().to_pylist()],
}
print("Email, then email:", addresses)
write("case.parquet", {"id": [1, 2], "ID": [10, 20]})
quoted = duckdb.sql("""select "ID" from 'case.parquet'""").fetchall()
names = duckdb.sql("select * from 'case.parquet'").columns
print('select "ID":', quoted, "columns:", names)
for kind in ("csv", "parquet"):
    assert table[kind, "duckdb"] == ("lost", "refused (InvalidInputException)")
    assert table[kind, "pyarrow"] == ("lost", "kept")
    assert all(outcome.startswith("refused") for outcome in table[kind, "polars"])
assert addresses == {"duckdb": [("ann@x.example",), ("bo@x.example",)], "pyarrow": [("ann@x.example",), (None,)]}
assert quoted == [(1,), (2,)] and names == ["id", "ID_1"]
PY
