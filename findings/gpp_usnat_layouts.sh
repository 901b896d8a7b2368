#!/bin/sh
# @iabgpp/cmpapi 3.1.0, 3.1.7 and 3.2.0 (the IAB's own GPP encoder): one version number, two layouts of section usnat.
#
# Guess: the version in front of a section says which layout follows, so releases of one package read each other.
# Seen, with four opt-outs in the last four of sixteen kinds of sensitive data, consents for three groups of children and
# MspaServiceProviderMode 0:
# - 3.1.7 writes the layout of version 2 (16 kinds, 3 groups) and labels it version 1, whose layout has 12 and 2;
# - 3.2.0 reads that string without an error and returns 12 kinds and 2 groups: the four opt-outs are gone, though its own
#   string, which differs in the version alone, returns them;
# - 3.1.0 reads it shifted: the opt-outs come out as refusals for children, and MspaServiceProviderMode as 2.
# Consequence: the number of bits decides the layout, not the version alone. A section of version 1 with the length of
# version 2 is read as version 2; a length that fits neither refuses whatever it could have refused.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
package=npm:@iabgpp/cmpapi
npm install --silent --no-audit --no-fund "v310@$package@3.1.0" "v317@$package@3.1.7" "v320@$package@3.2.0"
cat > run.js <<'JS'
const assert = require("node:assert");
const releases = { "3.1.0": require("v310"), "3.1.7": require("v317"), "3.2.0": require("v320") };

function written(release) {
  const model = new releases[release].GppModel();
  const set = (field, value) => model.setFieldValue("usnat", field, value);
  set("SensitiveDataProcessing", Array.from({ length: 16 }, (_, i) => (i < 12 ? 0 : 1)));
  set("KnownChildSensitiveDataConsents", [2, 2, 2]);
  set("PersonalDataConsents", 2);
  set("MspaCoveredTransaction", 2);
  set("MspaServiceProviderMode", 0);
  return model.encode();
}

function read(release, text) {
  const section = release === "3.1.0" ? "usnatv1" : "usnat";
  const model = new releases[release].GppModel(text);
  const fields = ["Version", "SensitiveDataProcessing", "KnownChildSensitiveDataConsents", "MspaServiceProviderMode"];
  return fields.map((field) => model.getFieldValue(section, field));
}

const none = Array(12).fill(0);
const all = [...none, 1, 1, 1, 1];
const strings = { "3.1.7": written("3.1.7"), "3.2.0": written("3.2.0") };
for (const [writer, text] of Object.entries(strings))
  for (const reader of Object.keys(releases))
    console.log(`${text} of ${writer}, read by ${reader}: ${JSON.stringify(read(reader, text))}`);
assert.deepStrictEqual(read("3.1.7", strings["3.1.7"]), [1, all, [2, 2, 2], 0]);
assert.deepStrictEqual(read("3.2.0", strings["3.1.7"]), [1, none, [2, 2], 0]);
assert.deepStrictEqual(read("3.2.0", strings["3.2.0"]), [2, all, [2, 2, 2], 0]);
assert.deepStrictEqual(read("3.1.0", strings["3.1.7"]), [1, none, [1, 1], 2]);
assert.strictEqual(strings["3.1.7"].replace("~B", "~C"), strings["3.2.0"]);
JS
node run.js
