#!/bin/sh
# Four consent banners in the pages of jsdom 24.1.3: what they say, and what runs.
# vanilla-cookieconsent 3.1.0, klaro 0.7.22, orejime 3.2.1 (a descendant of klaro), cookieconsent 3.1.1.
#
# Guess: a category that is not accepted does not run, one that runs is called accepted, and a stored refusal stays one.
# Seen, vanilla-cookieconsent with mode "opt-out":
# - before any answer the script of the category runs, getUserPreferences() lists it as accepted, and acceptedCategory()
#   says false;
# - after a refusal nothing runs. When the site raises `revision`, as for a new notice, the script runs until the next
#   answer, though the cookie still has the refusal.
# Seen, klaro:
# - a service with `default: true`: before any answer `manager.consents` says true, though its script does not run; only
#   `manager.confirmed` tells that nobody has answered;
# - a service added later makes the stored answer unconfirmed: the services consented to before stop.
# Seen, orejime: the same key `default: true` runs the script before any answer, and what is consented to goes on when a
# purpose is added.
# Seen, cookieconsent with type "opt-in": closing the banner by its cross, or its closing after a while, makes
# hasConsented() true, like "Allow"; only the status in the cookie (dismiss, allow) tells them apart.
# The first two run what is opt-out though `navigator.globalPrivacyControl` is true.
# Consequence: an integration states a consent only where the banner has an answer of the present notice (validConsent(),
# `confirmed`), never what the getters say by default; and a refusal sent once is kept whatever the banner says later.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --silent --no-audit --no-fund vanilla-cookieconsent@3.1.0 klaro@0.7.22 orejime@3.2.1 cookieconsent@3.1.1 jsdom@24.1.3
cat > run.js <<'JS'
const assert = require("node:assert");
const { readFileSync } = require("node:fs");
const { setTimeout } = require("node:timers/promises");
const { JSDOM } = require("jsdom");

function page(library, script, cookie) {
  const options = { url: "https://shop.example/", runScripts: "dangerously", pretendToBeVisual: true };
  const dom = new JSDOM(`<!doctype html><html><body>${script}</body></html>`, options);
  if (cookie) dom.window.document.cookie = `${cookie[0]}=${encodeURIComponent(JSON.stringify(cookie[1]))}; path=/`;
  Object.defineProperty(dom.window.navigator, "globalPrivacyControl", { value: true });
  dom.window.eval(readFileSync(`node_modules/${library}`, "utf8"));
  return dom.window;
}

async function vanilla(accepted, revision) {
  const script = '<script type="text/plain" data-category="analytics">window.ran = true</script>';
  const at = new Date().toISOString();
  const stored = {
    categories: accepted, revision: 0, data: null, consentTimestamp: at, lastConsentTimestamp: at, languageCode: "en",
    consentId: "5c5b5f0e-0000-4000-8000-000000000000", services: {}, expirationTime: Date.now() + 1e10,
  };
  const window = page("vanilla-cookieconsent/dist/cookieconsent.umd.js", script, accepted && ["cc_cookie", stored]);
  const texts = { consentModal: { title: "Cookies", acceptAllBtn: "Accept" }, preferencesModal: { sections: [] } };
  await window.CookieConsent.run({
    mode: "opt-out",
    revision,
    hideFromBots: false,
    categories: { necessary: { readOnly: true }, analytics: { enabled: true } },
    language: { default: "en", translations: { en: texts } },
  });
  await setTimeout(500);
  const { CookieConsent } = window;
  return {
    ran: window.ran === true,
    acceptedCategory: CookieConsent.acceptedCategory("analytics"),
    preferences: CookieConsent.getUserPreferences().acceptedCategories.includes("analytics"),
    validConsent: CookieConsent.validConsent(),
  };
}

async function klaro(stored, services) {
  const script = services.map(
    ({ name }) => `<script type="text/plain" data-type="application/javascript" data-name="${name}">window.${name} = true</script>`,
  );
  const window = page("klaro/dist/klaro-no-css.js", script.join(""), stored && ["klaro", stored]);
  const config = { version: 1, elementID: "klaro", storageMethod: "cookie", lang: "en", services };
  window.klaro.setup(config);
  await setTimeout(500);
  const manager = window.klaro.getManager(config);
  const ran = services.map(({ name }) => name).filter((name) => window[name]);
  return { ran, consents: { ...manager.consents }, confirmed: manager.confirmed };
}

async function orejime(stored, purposes) {
  const templates = purposes.map(({ id }) => `<template data-purpose="${id}"><script>window.ran_${id} = true</script></template>`);
  const config = `<script>window.orejimeConfig = ${JSON.stringify({ purposes, privacyPolicyUrl: "/privacy" })}</script>`;
  const file = "orejime/dist/orejime-standard-en.js";
  const window = page(file, templates.join("") + config, stored && ["eu-consent", stored]);
  await setTimeout(500);
  const ran = purposes.map(({ id }) => id).filter((id) => window[`ran_${id}`]);
  return { ran, consents: { ...window.orejime.manager.getAllConsents() } };
}

async function cookieconsent(options, click) {
  const window = page("cookieconsent/build/cookieconsent.min.js", "");
  const all = JSON.stringify({ type: "opt-in", layout: "basic-close", ...options });
  window.eval(`cookieconsent.initialise(${all}, (popup) => { window.popup = popup; })`);
  await setTimeout(500);
  if (click) window.document.querySelector(click).click();
  return { hasConsented: window.popup.hasConsented(), status: window.popup.getStatus() };
}

const analytics = { name: "analytics", purposes: ["statistics"] };
const statistics = { id: "analytics", title: "Statistics" };
const ads = { name: "ads", purposes: ["marketing"] };
(async () => {
  const seen = {
    "vanilla, no answer": await vanilla(null, 0),
    "vanilla, refused": await vanilla(["necessary"], 0),
    "vanilla, refused, new revision": await vanilla(["necessary"], 1),
    "klaro, no answer, default": await klaro(null, [{ ...analytics, default: true }]),
    "klaro, no answer, default and optOut": await klaro(null, [{ ...analytics, default: true, optOut: true }]),
    "klaro, consented": await klaro({ analytics: true }, [analytics]),
    "klaro, consented, new service": await klaro({ analytics: true }, [analytics, ads]),
    "orejime, no answer": await orejime(null, [statistics]),
    "orejime, no answer, default": await orejime(null, [{ ...statistics, default: true }]),
    "orejime, consented, new purpose": await orejime({ analytics: true }, [statistics, { id: "ads", title: "Ads" }]),
    "cookieconsent, no answer": await cookieconsent({}),
    "cookieconsent, denied": await cookieconsent({}, ".cc-deny"),
    "cookieconsent, closed": await cookieconsent({}, ".cc-close"),
    "cookieconsent, closed by time": await cookieconsent({ dismissOnTimeout: 100 }),
  };
  for (const [name, outcome] of Object.entries(seen)) console.log(`${name}: ${JSON.stringify(outcome)}`);
  const asked = { ran: true, acceptedCategory: false, preferences: true, validConsent: false };
  assert.deepStrictEqual(seen["vanilla, no answer"], asked);
  assert.deepStrictEqual(seen["vanilla, refused"], { ran: false, acceptedCategory: false, preferences: false, validConsent: true });
  assert.deepStrictEqual(seen["vanilla, refused, new revision"], asked);
  assert.deepStrictEqual(seen["klaro, no answer, default"], { ran: [], consents: { analytics: true }, confirmed: false });
  assert.deepStrictEqual(seen["klaro, no answer, default and optOut"].ran, ["analytics"]);
  assert.deepStrictEqual(seen["klaro, consented"].ran, ["analytics"]);
  assert.deepStrictEqual(seen["klaro, consented, new service"].ran, []);
  assert.deepStrictEqual(seen["orejime, no answer"].ran, []);
  assert.deepStrictEqual(seen["orejime, no answer, default"], { ran: ["analytics"], consents: { analytics: true } });
  assert.deepStrictEqual(seen["orejime, consented, new purpose"].ran, ["analytics"]);
  assert.strictEqual(seen["cookieconsent, no answer"].hasConsented, false);
  assert.deepStrictEqual(seen["cookieconsent, denied"], { hasConsented: false, status: "deny" });
  assert.deepStrictEqual(seen["cookieconsent, closed"], { hasConsented: true, status: "dismiss" });
  assert.deepStrictEqual(seen["cookieconsent, closed by time"], { hasConsented: true, status: "dismiss" });
  process.exit(0);
})();
JS
node run.js
