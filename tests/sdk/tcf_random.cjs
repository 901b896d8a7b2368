// Prints TC strings with random content by both encoders of the IAB, and what each reads in its own: one JSON object per line.
// Arguments: a seed, and the number of strings of each encoder.
let [state, count] = process.argv.slice(2).map(Number);

const below = (limit) => {
  // The generator of "minimal standard" by Park and Miller: strings of one seed are the same everywhere.
  state = (state * 48271) % 2147483647;
  return state % limit;
};
const some = (ids, share) => ids.filter(() => below(100) < share);
const PURPOSES = Array.from({ length: 24 }, (_, i) => i + 1);
const CUSTOM = PURPOSES.slice(0, 10);

function vendorList(core) {
  const named = (id) => ({ id, name: `${id}`, description: "", illustrations: [], descriptionLegal: "" });
  const map = (length) => Object.fromEntries(PURPOSES.slice(0, length).map((id) => [id, named(id)]));
  const vendors = {};
  for (let id = 1 + below(9); id < 1500; id += below(10) ? 1 + below(3) : 1 + below(90)) {
    const [purposes, legIntPurposes] = [some(PURPOSES.slice(0, 11), 60), some([2, 7, 8, 9, 10, 11], 60)];
    const flexiblePurposes = some([...purposes, ...legIntPurposes], 50);
    vendors[id] = { ...named(id), purposes, legIntPurposes, flexiblePurposes, specialPurposes: some([1, 2, 3], 50) };
    Object.assign(vendors[id], { features: [], specialFeatures: [], policyUrl: "https://example.com" });
  }
  return new core.GVL({
    gvlSpecificationVersion: 3,
    vendorListVersion: 1 + below(4095),
    tcfPolicyVersion: 2 + below(4),
    lastUpdated: "2026-04-02T16:00:00Z",
    purposes: map(11),
    specialPurposes: map(3),
    features: map(3),
    specialFeatures: map(2),
    stacks: {},
    vendors,
  });
}

function model(core) {
  const tc = new core.TCModel(vendorList(core));
  const ids = Object.keys(tc.gvl.vendors).map(Number);
  const vendors = () => some(ids, [0, 2, 50, 98, 100][below(5)]);
  const country = ["DE", "AA", "ZZ", "GB", "FR"][below(5)];
  Object.assign(tc, { cmpId: 2 + below(4094), cmpVersion: 2 + below(4094), consentScreen: below(64) });
  Object.assign(tc, { publisherCountryCode: country, isServiceSpecific: !!below(2), purposeOneTreatment: !!below(2) });
  tc[core.name === "@iabtcf/core" ? "useNonStandardStacks" : "useNonStandardTexts"] = !!below(2);
  tc.specialFeatureOptins.set(some(PURPOSES.slice(0, 12), 30));
  tc.purposeConsents.set(some(PURPOSES, 50));
  tc.purposeLegitimateInterests.set(some(PURPOSES, 50));
  tc.vendorConsents.set(vendors());
  tc.vendorLegitimateInterests.set(vendors());
  tc.vendorsDisclosed.set(vendors());
  tc.vendorsAllowed.set(vendors());
  tc.publisherConsents.set(some(PURPOSES, 30));
  tc.publisherLegitimateInterests.set(some(PURPOSES, 30));
  tc.publisherCustomConsents.set(some(CUSTOM, 30));
  tc.publisherCustomLegitimateInterests.set(some(CUSTOM, 30));
  tc.numCustomPurposes = 10 * below(2);
  for (let entries = below(4); entries > 0; entries--) {
    const restriction = new core.PurposeRestriction(1 + below(11), below(3));
    for (const id of vendors().slice(0, 60)) tc.publisherRestrictions.add(id, restriction);
  }
  const instant = () => new Date(1e11 * (14 + below(9)) + below(1e9) * 100);
  // A string is dated by the day, unless its writer is of before TCF 2.2.
  if (below(2)) Object.assign(tc, { created: instant(), lastUpdated: instant() });
  return tc;
}

function segments({ Segment }) {
  const order = [Segment.VENDORS_DISCLOSED, Segment.VENDORS_ALLOWED, Segment.PUBLISHER_TC];
  const chosen = order.filter(() => below(2));
  return [Segment.CORE, ...(below(2) ? chosen : chosen.reverse())];
}

function fields(tc, text) {
  const ids = (vector) => Array.from({ length: vector.maxId }, (_, i) => i + 1).filter((id) => vector.has(id));
  const restrictions = tc.publisherRestrictions.getRestrictions().map((entry) => {
    return [entry.purposeId, entry.restrictionType, tc.publisherRestrictions.getVendors(entry)];
  });
  return {
    text,
    created: tc.created,
    last_updated: tc.lastUpdated,
    version: tc.version,
    cmp_id: tc.cmpId,
    cmp_version: tc.cmpVersion,
    consent_screen: tc.consentScreen,
    consent_language: tc.consentLanguage,
    vendor_list_version: tc.vendorListVersion,
    policy_version: tc.policyVersion,
    is_service_specific: tc.isServiceSpecific,
    use_non_standard_texts: tc.useNonStandardTexts ?? tc.useNonStandardStacks,
    special_feature_opt_ins: ids(tc.specialFeatureOptins),
    purpose_consents: ids(tc.purposeConsents),
    purpose_legitimate_interests: ids(tc.purposeLegitimateInterests),
    purpose_one_treatment: tc.purposeOneTreatment,
    publisher_country: tc.publisherCountryCode,
    vendor_consents: ids(tc.vendorConsents),
    vendor_legitimate_interests: ids(tc.vendorLegitimateInterests),
    publisher_restrictions: restrictions,
    disclosed_vendors: ids(tc.vendorsDisclosed),
    allowed_vendors: ids(tc.vendorsAllowed),
    publisher: {
      purpose_consents: ids(tc.publisherConsents),
      purpose_legitimate_interests: ids(tc.publisherLegitimateInterests),
      custom_purposes: tc.numCustomPurposes,
      custom_consents: ids(tc.publisherCustomConsents),
      custom_legitimate_interests: ids(tc.publisherCustomLegitimateInterests),
    },
  };
}

for (const name of ["@iabtcf/core", "@iabtechlabtcf/core"]) {
  const core = { ...require(name), name };
  for (let i = 0; i < count; i++) {
    const tc = model(core);
    const chosen = below(3) ? undefined : { segments: segments(core) };
    const text = core.TCString.encode(tc, chosen);
    console.log(JSON.stringify(fields(core.TCString.decode(text), text)));
  }
}
