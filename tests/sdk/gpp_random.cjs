// Prints texts with random content by the IAB's own encoder, and what it reads in them: one JSON object per line.
// Arguments: a seed, and the number of texts. Sections, fields and their shapes are those that the encoder itself has.
const { GppModel, Sections } = require("@iabgpp/cmpapi");

let state = Number(process.argv[2]);

function random() {
  state = (state + 0x6d2b79f5) | 0;
  let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
}

const below = (limit) => Math.floor(random() * limit);
const chance = (probability) => random() < probability;
const many = (limit, make) => Array.from({ length: below(limit) }, make);

// Single vendors, or long runs of them: the encoder writes bits for some sets and ranges for others.
function vendors() {
  const found = new Set();
  for (const first of many(6, () => 1 + below(chance(0.5) ? 90 : 3000)))
    for (let id = first; id <= first + (chance(0.4) ? below(60) : 0); id++) found.add(id);
  return [...found].sort((a, b) => a - b);
}

// The class of a restriction is not exported; the encoder asks for these methods, and prints these attributes.
function restriction() {
  const entry = { key: 1 + below(24), type: below(3), ids: vendors() };
  return { ...entry, getKey: () => entry.key, getType: () => entry.type, getIds: () => entry.ids };
}

const SKIPPED = /SegmentType$|^LastUpdated$|^VendorsAllowed/;
const VENDORS = /^Vendor\w+(Consents?|Interests)$|Disclosed/;
const MAKERS = {
  ConsentLanguage: () => ["EN", "FR", "DE"][below(3)],
  PublisherCountryCode: () => ["CA", "AA", "FR"][below(3)],
  IsServiceSpecific: () => true,
  CmpId: () => below(4096),
  CmpVersion: () => below(4096),
  ConsentScreen: () => below(64),
  VendorListVersion: () => below(4096),
  TcfPolicyVersion: () => 2 + below(4),
  PolicyVersion: () => 2 + below(4),
  PubRestrictions: () => many(3, restriction),
  PublisherRestrictions: () => many(3, restriction),
  NumCustomPurposes: () => below(12),
  MspaVersion: () => 1 + below(3),
  MspaCoveredTransaction: () => 1 + below(2),
};

function value(model, section, field, shown) {
  if (field in MAKERS) return MAKERS[field]();
  if (field === "Version") return section === "usnat" ? 1 + below(2) : shown;
  if (VENDORS.test(field)) return vendors();
  if (field.startsWith("CustomPurposes") || field === "PublisherCustomConsents" || field === "PublisherCustomLegitimateInterests")
    return Array.from({ length: model.getFieldValue(section, "NumCustomPurposes") }, () => chance(0.5));
  if (Array.isArray(shown)) return shown.map((item) => (typeof item === "boolean" ? chance(0.5) : below(3)));
  if (typeof shown === "boolean") return chance(0.5);
  return typeof shown === "string" ? "YN-"[below(3)] : below(3);
}

function shapeOf(section) {
  const model = new GppModel();
  const first = { uspv1: ["Notice", "-"], tcfeuv2: ["CmpId", 1], tcfcav1: ["CmpId", 1] }[section] ?? ["SaleOptOut", 1];
  model.setFieldValue(section, ...first);
  return model.getSection(section);
}

function text() {
  const model = new GppModel();
  for (const section of Sections.SECTION_ORDER.filter(() => chance(0.2))) {
    const shape = shapeOf(section);
    const fields = Object.keys(shape).filter((field) => !SKIPPED.test(field) && field !== "Created");
    for (const field of fields.sort((a, b) => b.startsWith("Num") - a.startsWith("Num")))
      model.setFieldValue(section, field, value(model, section, field, shape[field]));
    if ("Created" in shape) model.setFieldValue(section, "Created", new Date(Date.UTC(2020 + below(7), below(12), 1 + below(28))));
    const included = "Gpc" in shape ? "GpcSegmentIncluded" : "MspaMode" in shape ? "SensitiveDataConsentSegmentIncluded" : null;
    if (included !== null && chance(0.3)) model.setFieldValue(section, included, false);
  }
  return model.encode();
}

for (let number = 0; number < Number(process.argv[3]); number++) {
  const encoded = text();
  console.log(JSON.stringify({ text: encoded, sections: new GppModel(encoded).toObject() }));
}
