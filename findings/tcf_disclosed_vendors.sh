#!/bin/sh
# @iabtcf/core 1.5.6 and its successor @iabtechlabtcf/core 1.5.21 (the IAB's encoders of TC strings): who was disclosed.
#
# Guess: the same dialog, with consent to vendors 1 and 2 of a list of four, gives the same statement in both packages, and
# a string that vendors accept: service-specific, with the segment of disclosed vendors that TCF 2.3 requires since March 2026.
# Seen, with the defaults of each:
# - 1.5.6, the most used one, is not service-specific unless told, which is invalid; the string says that all four vendors of
#   the list were disclosed, even if the dialog named two (`vendorsDisclosed.set([1, 2])`);
# - told to be service-specific, 1.5.6 leaves the segment out, whatever `vendorsDisclosed` holds: no setting of it is valid;
# - 1.5.21 with the same lines writes the segment empty: consent to two vendors, none of whom was disclosed. Only after
#   `vendorsDisclosed.set` are they;
# - both decoders return an empty `vendorsDisclosed` for absent and for empty.
# Consequence: absent, empty and listed are three answers, and each is read from the string itself.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --silent --no-audit --no-fund @iabtcf/core@1.5.6 @iabtechlabtcf/core@1.5.21
cat > run.js <<'JS'
const assert = require("node:assert");
const named = (id) => ({ id, name: `${id}`, description: "", illustrations: [] });
const map = (count, make) => Object.fromEntries(Array.from({ length: count }, (_, i) => [i + 1, make(i + 1)]));
const none = { legIntPurposes: [], flexiblePurposes: [], specialPurposes: [], features: [], specialFeatures: [] };
const vendor = (id) => ({ ...named(id), purposes: [1, 2], ...none, policyUrl: "https://example.com" });
const list = {
  gvlSpecificationVersion: 3, vendorListVersion: 120, tcfPolicyVersion: 5, lastUpdated: "2026-04-02T16:00:00Z",
  purposes: map(11, named), specialPurposes: map(3, named), features: map(3, named), specialFeatures: map(2, named),
  stacks: {}, vendors: map(4, vendor),
};

function written({ GVL, TCModel, TCString }, { specific, disclosed }) {
  const model = new TCModel(new GVL(list));
  if (specific) model.isServiceSpecific = true;
  model.cmpId = 10;
  model.cmpVersion = 2;
  model.purposeConsents.set([1, 2]);
  model.vendorConsents.set([1, 2]);
  if (disclosed) model.vendorsDisclosed.set(disclosed);
  return TCString.encode(model);
}

// The first three bits of a segment are its type: 1 is "disclosed vendors". "IAAA" has no vendor.
const segmentOf = (text) => text.split(".").find((segment) => /^[I-P]/.test(segment)) ?? "absent";
const ids = (vector) => [...vector].filter(([, on]) => on).map(([id]) => id);

function row(name, options) {
  const core = require(name);
  const text = written(core, options);
  const read = core.TCString.decode(text);
  const seen = [read.isServiceSpecific, ids(read.vendorConsents), segmentOf(text), ids(read.vendorsDisclosed)];
  console.log(name, JSON.stringify(options), text, JSON.stringify(seen));
  return seen;
}

const [old, later] = ["@iabtcf/core", "@iabtechlabtcf/core"];
assert.deepStrictEqual(row(old, { disclosed: [1, 2] }), [false, [1, 2], "IACP", [1, 2, 3, 4]]);
assert.deepStrictEqual(row(old, { specific: true, disclosed: [1, 2] }), [true, [1, 2], "absent", []]);
assert.deepStrictEqual(row(later, {}), [true, [1, 2], "IAAA", []]);
assert.deepStrictEqual(row(later, { disclosed: [1, 2] }), [true, [1, 2], "IABM", [1, 2]]);
JS
node run.js
