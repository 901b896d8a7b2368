#!/bin/sh
# avro 1.12.2 (Apache) and fastavro 1.13.1 (Python): a price of 20 is written as 0.20.
#
# Guess: a decimal with fewer digits after the point than the schema's scale is filled up with zeros, or refused.
# Seen, for the logical type decimal with precision 6 and scale 2:
# - avro writes the digits of the value and drops its exponent: 20 becomes 0.20, 19.9 becomes 1.99, and only 19.99 stays.
#   fastavro reads those bytes alike, so it is the writer; fastavro itself writes 20.00 and 19.90;
# - more digits than the precision: fastavro refuses 1234567.00; avro writes it, and both readers round it to 1234570;
# - True for ["null", "long"] is 1 for avro, refused by fastavro;
# - a time without a zone is refused by avro, and taken as local time of the process by fastavro: with TZ=America/New_York
#   10:00 becomes 15:00 UTC, though the reader of the same library returns UTC.
# Consequence: amounts that arrive in Avro files are compared with a total of the sender's before they count, and a writer
# of ours quantizes each decimal to the scale and gives each time its zone.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check avro==1.12.2 fastavro==1.13.1
TZ=America/New_York "$folder/venv/bin/python" -W ignore - <<'PY'
import io
import json
from datetime import datetime
from decimal import Decimal

import avro.io
import avro.schema
import fastavro

PRICE = {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}
AT = {"type": "long", "logicalType": "timestamp-millis"}


def record(type_):
    return {"type": "record", "name": "row", "fields": [{"name": "value", "type": type_}]}


def by_avro(type_, value):
    stream = io.BytesIO()
    schema = avro.schema.parse(json.dumps(record(type_)))
    avro.io.DatumWriter(schema).write({"value": value}, avro.io.BinaryEncoder(stream))
    return stream.getvalue()


def by_fastavro(type_, value):
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(record(type_)), {"value": value})
    return stream.getvalue()


def seen(writer, type_, value):
    try:
        written = writer(type_, value)
    except (ValueError, avro.errors.AvroTypeException) as error:
        return f"refused ({type(error).__name__})"
    first = fastavro.schemaless_reader(io.BytesIO(written), fastavro.parse_schema(record(type_)))["value"]
    schema = avro.schema.parse(json.dumps(record(type_)))
    second = avro.io.DatumReader(schema).read(avro.io.BinaryDecoder(io.BytesIO(written)))["value"]
    assert first == second, (first, second)
    return str(first)


table = {}
for type_, value in (
    *((PRICE, Decimal(text)) for text in ("19.99", "19.9", "20", "1234567.00")),
    (["null", "long"], True),
    (AT, datetime(2026, 3, 1, 10)),
):
    table[str(value)] = (seen(by_avro, type_, value), seen(by_fastavro, type_, value))
    print(f"{value}: avro {table[str(value)][0]}, fastavro {table[str(value)][1]}")
assert table["19.99"] == ("19.99", "19.99")
assert table["19.9"] == ("1.99", "19.90")
assert table["20"] == ("0.20", "20.00")
assert table["1234567.00"] == ("1.23457E+6", "refused (ValueError)")
assert table["True"] == ("1", "refused (ValueError)")
assert table["2026-03-01 10:00:00"] == ("refused (AvroTypeException)", "2026-03-01 15:00:00+00:00")
PY
