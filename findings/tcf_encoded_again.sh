#!/bin/sh
# @iabtcf/core 1.5.6 and @iabtechlabtcf/core 1.5.21 (the IAB's own packages): a TC string decoded and encoded again, unchanged.
#
# Guess: decoding and encoding again gives the same string, or at least the same answers under the date of the change.
# Seen, with a newer vendor list, in which vendor 3 is deleted and vendor 2 no longer lets publishers choose its legal basis:
# - the publisher's restriction "purpose 7 only with consent" of vendor 2 is gone, whose legitimate interest it excluded: by the
#   specification, such a vendor must not process at all; in the new string it may;
# - the consent to vendor 3 is gone;
# - 1.5.6 leaves the segment of disclosed vendors out, without which a string since March 2026 is invalid;
# - the new string names the new vendor list, and still the day of the old one.
# The restriction is not even counted right: the string announces one, with no vendor in it.
# Consequence: a string is kept as it came, and what is read from it is kept beside it.
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
const legal = { purposes: [1, 2], legIntPurposes: [7], flexiblePurposes: [7], specialPurposes: [] };
const vendor = (id) => ({ ...named(id), ...legal, features: [], specialFeatures: [], policyUrl: "https://example.com" });
const list = (vendorListVersion, vendors) => ({
  gvlSpecificationVersion: 3, vendorListVersion, tcfPolicyVersion: 5, lastUpdated: "2026-04-02T16:00:00Z",
  purposes: map(11, named), specialPurposes: map(3, named), features: map(3, named), specialFeatures: map(2, named),
  stacks: {}, vendors,
});
const newer = map(4, vendor);
newer[2].flexiblePurposes = [];
newer[3].deletedDate = "2026-05-01T00:00:00Z";
const ids = (vector) => [...vector].filter(([, on]) => on).map(([id]) => id);

function read({ TCString }, text) {
  const tc = TCString.decode(text);
  const restrictions = tc.publisherRestrictions;
  return {
    day: tc.created.toISOString().slice(0, 10),
    list: tc.vendorListVersion,
    consents: ids(tc.vendorConsents),
    disclosed: ids(tc.vendorsDisclosed),
    restrictions: restrictions.getRestrictions().map((one) => [one.purposeId, one.restrictionType, restrictions.getVendors(one)]),
  };
}

function twice(name) {
  const core = require(name);
  const first = new core.TCModel(new core.GVL(list(120, map(4, vendor))));
  Object.assign(first, { isServiceSpecific: true, cmpId: 10, cmpVersion: 2 });
  first.created = first.lastUpdated = new Date("2026-04-01T00:00:00Z");
  first.purposeConsents.set([1, 2]);
  first.purposeLegitimateInterests.set([7]);
  first.vendorConsents.set([1, 2, 3]);
  first.vendorLegitimateInterests.set([2]);
  first.vendorsDisclosed.set([1, 2, 3, 4]);
  first.publisherRestrictions.add(2, new core.PurposeRestriction(7, core.RestrictionType.REQUIRE_CONSENT));
  const text = core.TCString.encode(first, { segments: ["core", "vendorsDisclosed", "publisherTC"] });
  const again = core.TCString.decode(text);
  again.gvl = new core.GVL(list(130, newer));
  const texts = [text, core.TCString.encode(again)];
  for (const one of texts) console.log(name, one, JSON.stringify(read(core, one)));
  return texts.map((one) => read(core, one));
}

const before = { day: "2026-04-01", list: 120, consents: [1, 2, 3], disclosed: [1, 2, 3, 4], restrictions: [[7, 1, [2]]] };
const after = { ...before, list: 130, consents: [1, 2], restrictions: [] };
assert.deepStrictEqual(twice("@iabtcf/core"), [before, { ...after, disclosed: [] }]);
assert.deepStrictEqual(twice("@iabtechlabtcf/core"), [before, after]);
JS
node run.js
