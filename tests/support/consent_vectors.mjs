// Makes tests/referral/consent/vectors.json with the IAB's own encoders, for tests of our decoders.
//
//   npm install --prefix DIR @iabtcf/core@1.5.6 @iabgpp/cmpapi@3.2.0
//   node tests/support/consent_vectors.mjs DIR > tests/referral/consent/vectors.json
import { createRequire } from "node:module";
import { resolve } from "node:path";

const load = createRequire(resolve(process.argv[2], "package.json"));
const { PurposeRestriction, RestrictionType, SegmentEncoder, TCModel, TCString } = load("@iabtcf/core");
const { GppModel, Sections } = load("@iabgpp/cmpapi");

// The same numbers at each run (mulberry32).
let seed = 20261127;
function random(below) {
  seed = (seed + 0x6d2b79f5) | 0;
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) % below;
}
const some = (most, count) => [...new Set(Array.from({ length: count }, () => 1 + random(most)))].sort((a, b) => a - b);
const run = (first, length) => Array.from({ length }, (_, n) => first + n);

function tc(vendors, interests, { policy = 5, restricted = [], disclosed = true, custom = 0, day = 0 } = {}) {
  const model = new TCModel();
  model.cmpId = 1 + random(4000);
  model.cmpVersion = random(100);
  model.consentScreen = random(60);
  model.consentLanguage = ["EN", "DE", "FR"][random(3)];
  model.publisherCountryCode = ["DE", "AT", "NL"][random(3)];
  model.policyVersion = policy;
  model.isServiceSpecific = random(2) === 1;
  model.useNonStandardStacks = random(2) === 1;
  model.purposeOneTreatment = random(2) === 1;
  model.created = model.lastUpdated = new Date(Date.UTC(2024, 2, 1 + day));
  model.specialFeatureOptins.set(some(2, random(3)));
  model.purposeConsents.set(some(11, random(12)));
  model.purposeLegitimateInterests.set(some(11, random(12)).filter((purpose) => purpose > 1));
  model.vendorConsents.set(vendors);
  model.vendorLegitimateInterests.set(interests);
  model.publisherConsents.set(some(11, random(6)));
  model.publisherLegitimateInterests.set(some(11, random(6)));
  model.numCustomPurposes = custom;
  if (custom) model.publisherCustomConsents.set(some(custom, custom));
  if (disclosed) model.vendorsDisclosed.set([...vendors, ...interests, 5]);
  const restrictions = [];
  for (const [vendor, purpose, kind] of restricted) {
    model.publisherRestrictions.add(vendor, new PurposeRestriction(purpose, kind));
    restrictions.push([purpose, kind, vendor]);
  }
  // Of the vendor list, which is not at hand, the encoder asks its version and which vendors there are, to
  // merge ranges.
  model.gvl_ = { vendorIds: new Set(run(1, 1300)), vendorListVersion: 100 + random(300), tcfPolicyVersion: policy };
  model.publisherRestrictions.gvl_ = model.gvl_;
  const segments = ["core", ...(disclosed ? ["vendorsDisclosed"] : []), "publisherTC"];
  const fields = {
    cmp: model.cmpId, cmp_version: model.cmpVersion, screen: model.consentScreen, language: model.consentLanguage,
    list_version: model.vendorListVersion, policy: model.policyVersion, country: model.publisherCountryCode,
    service_specific: model.isServiceSpecific, nonstandard_texts: model.useNonStandardStacks,
    purpose_one_treatment: model.purposeOneTreatment, updated: model.lastUpdated / 1000,
    features: vector(model.specialFeatureOptins), consents: vector(model.purposeConsents),
    interests: vector(model.purposeLegitimateInterests), vendor_consents: vendors, vendor_interests: interests,
    disclosed: disclosed ? vector(model.vendorsDisclosed) : null, restrictions,
    publisher_consents: vector(model.publisherConsents), publisher_interests: vector(model.publisherLegitimateInterests),
    custom_consents: vector(model.publisherCustomConsents),
  };
  return { text: segments.map((segment) => SegmentEncoder.encode(model, segment)).join("."), fields };
}
function vector(found) {
  const members = [];
  found.forEach((is, number) => is && members.push(number));
  return members;
}

const { NOT_ALLOWED, REQUIRE_CONSENT, REQUIRE_LI } = RestrictionType;
const tcf = [
  tc([], [], { custom: 0 }),
  tc([907], [907], { custom: 3 }),
  tc(some(1300, 400), some(1300, 100)), // bit fields
  tc(run(1, 900), run(40, 3)), // ranges
  tc([1, 65535], [2, 60000]), // ranges, since a bit field would be long
  tc([907, 60], [907], { restricted: [[907, 7, REQUIRE_CONSENT], [60, 7, NOT_ALLOWED], [61, 7, NOT_ALLOWED], [9, 2, REQUIRE_LI]] }),
  tc([907], [907], { disclosed: false, policy: 4 }),
  tc([907], [907], { disclosed: false, policy: 2, day: -500 }),
  ...Array.from({ length: 12 }, (_, n) => tc(some(1200, random(200)), some(1200, random(80)), { custom: random(8), day: random(900) })),
];

const STATES = Object.keys(load("@iabgpp/cmpapi")).filter((name) => /^Us[A-Z][a-z]{1,2}$/.test(name));
function states() {
  const found = [];
  for (const name of STATES) {
    const section = load("@iabgpp/cmpapi")[name];
    for (const choices of [[1, 2, 2], [2, 1, 2], [2, 2, 2], [0, 0, 0], [2, 0, 1]]) {
      for (const gpc of [false, true]) {
        const model = new GppModel();
        const set = (field, value) => {
          try {
            model.setFieldValue(section.NAME, field, value);
            return true;
          } catch {
            return false;
          }
        };
        if (!set("SaleOptOut", choices[0])) continue;
        const given = [choices[0]];
        if (set("SharingOptOut", choices[1])) given.push(choices[1]);
        if (set("TargetedAdvertisingOptOut", choices[2])) given.push(choices[2]);
        const told = gpc && set("Gpc", true);
        found.push({ text: model.encode(), id: section.ID, name: section.NAME, choices: given, gpc: told });
      }
    }
  }
  return found;
}
function several() {
  const model = new GppModel();
  model.setFieldValue("tcfeuv2", "PurposeConsents", [true, ...Array(5).fill(false), true, ...Array(17).fill(false)]);
  model.setFieldValue("tcfeuv2", "VendorConsents", [907]);
  model.setFieldValue("tcfeuv2", "LastUpdated", new Date(Date.UTC(2026, 10, 27)));
  model.setFieldValue("uspv1", "OptOutSale", "Y");
  model.setFieldValue("usnat", "SaleOptOut", 2);
  model.setFieldValue("usca", "SharingOptOut", 1);
  return { text: model.encode(), ids: model.getSectionIds() };
}
const lines = (list) => `[\n${list.map((one) => JSON.stringify(one)).join(",\n")}\n]`;
console.log(`{\n"tcf": ${lines(tcf)},\n"states": ${lines(states())},\n"several": ${JSON.stringify(several())}\n}`);
