#!/bin/sh
# standardwebhooks 1.1.0 (Python), standardwebhooks 1.1.1 and svix 2.5.0 (npm): signing a webhook.
#
# Guess: a time is an instant, so the zone it is written in does not matter; and a secret that one library takes is the same key to another.
# Seen:
# - Python signs the clock time of the zone as if it were UTC. A webhook of 13:00 in Berlin has the header of that instant and the signature of
#   one an hour later: no library accepts it, its own included. Written in UTC, the same instant is accepted. Node has no such difference.
#   `datetime.now()`, a local time without a zone, is signed so where the machine's zone is not UTC: it fails in New York, not on a server in UTC;
# - a secret in the URL-safe alphabet loses each - and _ in Python, which then signs with a shorter key; the npm libraries refuse it.
# Consequence: whole seconds of UTC are signed. A secret is read strictly, from standard Base64, and its length is checked.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check standardwebhooks==1.1.0 tzdata
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts standardwebhooks@1.1.1 svix@2.5.0
cat > sign.py <<'PY'
import json
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from standardwebhooks import Webhook

SECRET = "whsec_c3RhbmRhcmQgd2ViaG9va3Mgc2VjcmV0"
BODY = '{"type": "order.paid"}'
signer = Webhook(SECRET)
now = datetime.now(UTC).replace(microsecond=0)
found = {}
for name, at in {
    "in UTC": now,
    "in Berlin": now.astimezone(ZoneInfo("Europe/Berlin")),
    "local, without a zone": now.astimezone().replace(tzinfo=None),
}.items():
    headers = {"webhook-id": "m", "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": signer.sign("m", at, BODY)}
    try:
        signer.verify(BODY, headers)
        own = "accepted"
    except Exception as error:
        own = str(error)
    found[name] = {"headers": headers, "own": own}
short = "whsec_-_-_" + SECRET.removeprefix("whsec_")
found["dropped"] = Webhook(short).sign("m", datetime(2026, 1, 1), "") == signer.sign("m", datetime(2026, 1, 1), "")
print(json.dumps({"body": BODY, "secret": SECRET, "urlsafe": short, "found": found}))
PY
TZ=America/New_York "$folder/venv/bin/python" sign.py > signed.json
cat > verify.js <<'JS'
const assert = require("node:assert");
const { body, secret, urlsafe, found } = require("./signed.json");
const { dropped, ...times } = found;
const attempt = (act) => { try { act(); return "accepted"; } catch (error) { return error.message; } };
const seen = {};
for (const [name, { headers, own }] of Object.entries(times)) {
  seen[name] = [own];
  for (const library of ["standardwebhooks", "svix"]) {
    const { Webhook } = require(library);
    seen[name].push(attempt(() => new Webhook(secret).verify(body, headers)));
  }
  console.log(`signed by Python ${name}, on a machine in New York:`, seen[name]);
}
const refused = ["standardwebhooks", "svix"].map((library) => attempt(() => new (require(library).Webhook)(urlsafe)));
console.log("a secret with - and _: the same key as without them in Python:", dropped, "; in npm:", refused);
const no = "No matching signature found";
assert.deepEqual(seen, {
  "in UTC": ["accepted", "accepted", "accepted"],
  "in Berlin": [no, no, no],
  "local, without a zone": [no, no, no],
});
assert.equal(dropped, true);
assert.deepEqual(refused, Array(2).fill("Base64Coder: incorrect characters for decoding"));
JS
node verify.js
