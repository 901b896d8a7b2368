#!/bin/sh
# duckdb 2.0.1, pyarrow 26.0.1 and polars 2.1.0 (Python): one shop export, three tables.
#
# Guess: codes and telephone numbers stay text, and a file with a short line is read or refused.
# Seen, each without an error or a warning:
# - a shop that sells to Norway alone: duckdb makes the column of countries (NO) boolean, every customer lives in `false`;
# - "+4930123400" is 4930123400.0 for pyarrow, a float without its plus (without the plus it would be a whole number);
#   "030123400" loses its zero in polars and pyarrow. duckdb keeps both;
# - three lines without the separator before an empty last cell: duckdb finds that the file has one column, named
#   "Name,Email,Note". polars fills the cells up, pyarrow refuses the file;
# - 03/04/2026 and 05/06/2026 are 3 April and 5 June for duckdb; with one further line 05/16/2026 they are 4 March and
#   6 May: a line added at the end moves all the others.
# Consequence: types are declared in the mapping, never inferred, and never settled on a sample of one country.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check duckdb==2.0.1 pyarrow==26.0.1 polars==2.1.0
cd "$folder"
"$folder/venv/bin/python" -W error - <<'PY'
from datetime import date

import duckdb
import polars
import pyarrow
import pyarrow.csv

READERS = {
    "duckdb": lambda: duckdb.read_csv("export.csv").fetchall(),
    "pyarrow": lambda: [tuple(row.values()) for row in pyarrow.csv.read_csv("export.csv").to_pylist()],
    "polars": lambda: polars.read_csv("export.csv").rows(),
}


def tables(name, *lines):
    with open("export.csv", "w") as file:
        file.writelines(line + "\n" for line in lines)
    rows = {}
    for library, read in READERS.items():
        try:
            rows[library] = read()
        except pyarrow.ArrowInvalid as error:
            rows[library] = type(error).__name__
        print(f"{name}, {library}:", rows[library] if isinstance(rows[library], str) else rows[library][:2])
    return rows


country = tables("country", "order,country", *(f"A{number},NO" for number in range(1_000)))
phone = tables("phone", "email,phone", "ann@x.example,+4930123400", "bo@x.example,+4930123401")
zero = tables("phone with a zero", "email,phone", "ann@x.example,030123400", "bo@x.example,030123401")
short = tables("short lines", "Name,Email,Note", *(f"{number},{number}@x.example" for number in range(3)), "4,4@x.example,gift")
dates = tables("dates", "email,at", "ann@x.example,03/04/2026", "bo@x.example,05/06/2026")
later = tables("dates, one more", "email,at", "ann@x.example,03/04/2026", "bo@x.example,05/06/2026", "di@x.example,05/16/2026")
assert {row[1] for row in country["duckdb"]} == {False} and len(country["duckdb"]) == 1_000
assert country["pyarrow"][0][1] == country["polars"][0][1] == "NO"
assert phone["pyarrow"][0][1] == 4930123400.0 and isinstance(phone["pyarrow"][0][1], float)
assert phone["duckdb"][0][1] == phone["polars"][0][1] == "+4930123400"
assert zero["pyarrow"][0][1] == zero["polars"][0][1] == 30123400 and zero["duckdb"][0][1] == "030123400"
assert short["duckdb"][0] == ("0,0@x.example",) and short["polars"][0][2] is None and short["pyarrow"] == "ArrowInvalid"
assert [row[1] for row in dates["duckdb"]] == [date(2026, 4, 3), date(2026, 6, 5)]
assert [row[1] for row in later["duckdb"]] == [date(2026, 3, 4), date(2026, 5, 6), date(2026, 5, 16)]
PY
