#!/bin/sh
# @iabgpp/cmpapi 3.1.5, 3.1.7 and 3.2.0 (the IAB's own GPP encoder): Global Privacy Control that was set is not written.
#
# Guess: a consent platform reads its stored string, finds that the browser now sends GPC, sets `Gpc` to true, and writes
# the string with GPC; the model, asked again, says true.
# Seen:
# - the model says true, and writes the string without the part for GPC, if the string that it read had none: other
#   readers get false. Only `GpcSegmentIncluded`, a field that no specification has, makes it write the part;
# - 3.1.5 loses it also where the string had the part: it writes `.QA` (false) again;
# - a new section has the part without being asked, so nobody notices while testing with new strings.
# Consequence: a string without GPC says nothing about GPC. The header `Sec-GPC` of each request counts by itself, whatever
# the string beside it says, and a section without the part has GPC "not stated", never "false".
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
package=npm:@iabgpp/cmpapi
npm install --silent --no-audit --no-fund "v315@$package@3.1.5" "v317@$package@3.1.7" "v320@$package@3.2.0"
cat > run.js <<'JS'
const assert = require("node:assert");
const releases = { "3.1.5": require("v315"), "3.1.7": require("v317"), "3.2.0": require("v320") };

// The national section, with an opt-out of sale: without the part for GPC, and with one that says false.
const strings = { "no part": "DBABLA~CAAQAAAAAABA", "part says false": "DBABLA~CAAQAAAAAABA.QA" };

const seen = {};
for (const [release, { GppModel }] of Object.entries(releases)) {
  for (const [name, text] of Object.entries(strings)) {
    const model = new GppModel(text);
    model.setFieldValue("usnat", "Gpc", true);
    const inModel = model.getFieldValue("usnat", "Gpc");
    const written = model.encode();
    const readAgain = new GppModel(written).getFieldValue("usnat", "Gpc");
    console.log(`${release}, ${name}: the model says ${inModel}, writes ${written}, which reads ${readAgain}`);
    seen[`${release}, ${name}`] = [inModel, written, readAgain];
  }
  const fresh = new GppModel();
  fresh.setFieldValue("usnat", "Gpc", true);
  console.log(`${release}, a new section: ${fresh.encode()}`);
  assert.ok(fresh.encode().endsWith(".YA"));
}
for (const release of Object.keys(releases))
  assert.deepStrictEqual(seen[`${release}, no part`], [true, strings["no part"], false]);
assert.deepStrictEqual(seen["3.1.5, part says false"], [true, strings["part says false"], false]);
for (const release of ["3.1.7", "3.2.0"])
  assert.deepStrictEqual(seen[`${release}, part says false`], [true, "DBABLA~CAAQAAAAAABA.YA", true]);
JS
node run.js
