#!/bin/sh
# polars 2.1.0 with fastexcel 0.21.0 (its default engine for .xlsx): a text below a hundred numbers is an empty cell.
#
# Guess: a column with numbers and texts is read as text, or the text is refused, as read_csv of the same library does.
# Seen, with `A-17` as the customer number below rows of numbers: up to the hundredth row the whole column is text; later
# the column is whole numbers and the cell is null, without an error or a warning. The same for `unknown` in a column of days.
# read_csv with the same rows raises ComputeError.
# Consequence: sheets are read with declared types or `infer_schema_length=None`, and empty cells are counted on both sides.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check polars==2.1.0 fastexcel==0.21.0 openpyxl==3.1.5
cd "$folder"
"$folder/venv/bin/python" -W error - <<'PY'
from datetime import datetime

import openpyxl
import polars


def rows(before):
    people = ((number, datetime(2026, 1, 1), f"person-{number}@x.example") for number in range(before))
    return [("customer", "since", "email"), *people, ("A-17", "unknown", "last@x.example")]


def sheet(before):
    book = openpyxl.Workbook()
    for row in rows(before):
        book.active.append(row)
    path = f"{before}.xlsx"
    book.save(path)
    return path


last = {}
for before in (99, 100, 1_500):
    frame = polars.read_excel(sheet(before))
    last[before] = (str(frame.schema["customer"]), *frame.row(-1))
    print(f"text below {before} numbers:", last[before])
declared = polars.read_excel("1500.xlsx", infer_schema_length=None).row(-1)
print("with infer_schema_length=None:", declared)
with open("1500.csv", "w") as file:
    file.writelines(",".join(map(str, row)) + "\n" for row in rows(1_500))
try:
    csv = polars.read_csv("1500.csv").row(-1)
except polars.exceptions.ComputeError as error:
    csv = type(error).__name__
print("the same rows by read_csv:", csv)
assert last[99] == ("String", "A-17", "unknown", "last@x.example")
assert last[100] == last[1_500] == ("Int64", None, None, "last@x.example")
assert declared == ("A-17", "unknown", "last@x.example")
assert csv == "ComputeError"
PY
