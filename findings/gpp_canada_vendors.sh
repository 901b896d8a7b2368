#!/bin/sh
# @iabgpp/cmpapi 3.1.7 and 3.2.0 (the IAB's own GPP encoder): consent for one vendor is read as consent for another.
#
# Guess: both write version 1 of the section of Canada (tcfcav1), so each reads the vendors that the other wrote.
# Seen, with express consent for a single vendor, the first and only setting of a new section:
# - 3.2.0 writes lists of vendors in Fibonacci coding, as the specification says, and 3.1.7 in numbers of 16 bits; the
#   version number is the same, and no field says which;
# - 3.1.7 reads the string of 3.2.0 without an error: vendor 830 has become vendor 678, and 1220 has become 19, vendors that
#   nobody consented to; three vendors in a row are refused as undecodable; small ids agree, because both write bits then;
# - 3.2.0 reads strings of 3.1.7, because it tries both codings and takes the one that writes the same string again.
# Consequence: try both codings, demand that lists end at the stated highest id and the part with its last field, and treat
# a section that fits both with different vendors as not understood: nobody has consent by it.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
package=npm:@iabgpp/cmpapi
npm install --silent --no-audit --no-fund "v317@$package@3.1.7" "v320@$package@3.2.0"
cat > run.js <<'JS'
const assert = require("node:assert");
const releases = { "3.1.7": require("v317"), "3.2.0": require("v320") };

function written(release, vendors) {
  const model = new releases[release].GppModel();
  model.setFieldValue("tcfcav1", "VendorExpressConsent", [...vendors]);
  return model.encode();
}

function read(release, text) {
  try {
    return new releases[release].GppModel(text).getFieldValue("tcfcav1", "VendorExpressConsent");
  } catch {
    return "refused";
  }
}

const seen = (vendors, writer, reader) => {
  const found = read(reader, written(writer, vendors));
  console.log(`express consent for ${JSON.stringify(vendors)}, written by ${writer}, read by ${reader}: ${JSON.stringify(found)}`);
  return found;
};

assert.deepStrictEqual(seen([12], "3.2.0", "3.1.7"), [12]);
assert.deepStrictEqual(seen([830], "3.2.0", "3.2.0"), [830]);
assert.deepStrictEqual(seen([830], "3.2.0", "3.1.7"), [678]);
assert.deepStrictEqual(seen([1220], "3.2.0", "3.1.7"), [19]);
assert.deepStrictEqual(seen([100, 101, 102], "3.2.0", "3.1.7"), "refused");
assert.deepStrictEqual(seen([830], "3.1.7", "3.2.0"), [830]);
JS
node run.js
