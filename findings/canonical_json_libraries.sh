#!/bin/sh
# Three Python libraries for canonical JSON, one document, three byte strings.
#
# rfc8785 0.1.4 and jcs 0.2.1 both implement RFC 8785, canonicaljson 2.0.0 is Matrix's form.
# Guess: all of them agree on small documents, and an integer beyond 2^53 is refused or kept.
# Seen:
# - Beyond 2^53 the two RFC 8785 libraries differ: rfc8785 raises IntegerDomainError, jcs writes the nearest double, so
#   two different documents have the same canonical bytes, the same hash and the same signature. jcs keeps 10^20 exact.
# - canonicaljson sorts keys by code point, RFC 8785 by UTF-16 code unit: keys outside the basic plane change places.
# - canonicaljson writes 1.0 as 1.0 and 1e-7 as 1e-07, RFC 8785 writes 1 and 1e-7.
# Consequence: what is hashed or signed must name its form, hold no integer beyond 2^53 and no float, and be checked with
# a second library on the verifier's side.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check rfc8785==0.1.4 jcs==0.2.1 canonicaljson==2.0.0
"$folder/venv/bin/python" - <<'PY'
import canonicaljson
import jcs
import rfc8785

big = {"n": 2**53 + 1}
try:
    refused = rfc8785.dumps(big)
except rfc8785.IntegerDomainError as error:
    refused = type(error).__name__
seen = {
    "2^53 + 1": (refused, jcs.canonicalize(big), canonicaljson.encode_canonical_json(big)),
    "jcs gives 2^53 the same bytes": jcs.canonicalize(big) == jcs.canonicalize({"n": 2**53}),
    "jcs keeps 10^20": jcs.canonicalize({"n": 10**20}),
    "floats": [f({"a": 1.0, "b": 1e-7}) for f in (rfc8785.dumps, jcs.canonicalize, canonicaljson.encode_canonical_json)],
    "first key": [
        f({"\ufb33": 1, "\U0001f600": 2})[2:3].hex()
        for f in (rfc8785.dumps, jcs.canonicalize, canonicaljson.encode_canonical_json)
    ],
}
for name, value in seen.items():
    print(f"{name}: {value}")
assert seen["2^53 + 1"] == ("IntegerDomainError", b'{"n":9007199254740992}', b'{"n":9007199254740993}')
assert seen["jcs gives 2^53 the same bytes"]
assert seen["jcs keeps 10^20"] == b'{"n":100000000000000000000}'
assert seen["floats"] == [b'{"a":1,"b":1e-7}', b'{"a":1,"b":1e-7}', b'{"a":1.0,"b":1e-07}']
assert seen["first key"] == ["f0", "f0", "ef"]
PY
