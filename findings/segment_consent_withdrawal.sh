#!/bin/sh
# A withdrawal of consent through Segment's consent wrapper, in a page of jsdom 26.1.0.
# @segment/analytics-consent-tools 2.0.3, @segment/analytics-next 1.84.3.
#
# Guess: the wrapper sends the event "Segment Consent Preference Updated" whenever a person changes the answer, whatever else is
# configured.
# Seen, with consentModel "opt-out" and a person who withdraws everything but the strictly necessary category:
# - without `integrationCategoryMappings`, and with settings that have no consentSettings, the event is sent;
# - with that option, which says to which categories destinations belong, the event is dropped, and so is every later event.
#   The category that is still allowed does not help, because it is in no mapping.
# Seen, with consentModel "opt-in": the event is sent, with the option as well.
# Consequence: a receiver in the second case believes the consent that it heard last, for ever. Leave the option out, or send
# the change from the callback that hears of it.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --silent --no-audit --no-fund @segment/analytics-consent-tools@2.0.3 @segment/analytics-next@1.84.3 jsdom@26.1.0
cat > run.js <<'JS'
const assert = require("node:assert");
const http = require("node:http");
const { readFileSync } = require("node:fs");
const { setTimeout: wait } = require("node:timers/promises");
const { JSDOM, VirtualConsole } = require("jsdom");
const { createWrapper } = require("@segment/analytics-consent-tools");

let sent = [];
const server = http.createServer((request, response) => {
  let text = "";
  request.on("data", (part) => (text += part));
  request.on("end", () => {
    response.setHeader("access-control-allow-origin", "*");
    response.setHeader("access-control-allow-headers", "*");
    response.setHeader("content-type", "application/json");
    if (request.method === "POST") sent.push(JSON.parse(text).event);
    const target = { apiKey: "wk", apiHost: `127.0.0.1:${server.address().port}/v1`, protocol: "http" };
    response.end(JSON.stringify({ integrations: { "Segment.io": target }, metrics: { sampleRate: 0 }, success: true }));
  });
});

async function withdraw(consentModel, options) {
  sent = [];
  const page = { url: "https://shop.example/", pretendToBeVisual: true, runScripts: "dangerously", virtualConsole: new VirtualConsole() };
  const { window } = new JSDOM("<!doctype html>", page);
  Object.assign(window, { fetch, Headers, Request, Response, TextDecoder, TextEncoder });
  window.eval(readFileSync("node_modules/@segment/analytics-next/dist/umd/index.js", "utf8"));
  Object.assign(global, { window, document: window.document });
  let categories = { necessary: true, statistics: true, marketing: true };
  let changed;
  const analytics = new window.AnalyticsNext.AnalyticsBrowser();
  createWrapper({
    shouldLoadSegment: async (context) => context.load({ consentModel }),
    getCategories: () => categories,
    registerOnConsentChanged: (listener) => (changed = listener),
    ...options,
  })(analytics).load({ writeKey: "wk", cdnURL: `http://127.0.0.1:${server.address().port}` });
  await analytics.track("Before");
  categories = { necessary: true, statistics: false, marketing: false };
  changed(categories);
  await wait(1000);
  analytics.track("After");
  await wait(1000);
  return sent;
}

server.listen(0, "127.0.0.1", async () => {
  const mapped = { integrationCategoryMappings: { "Segment.io": ["statistics", "marketing"] } };
  const seen = {
    "opt-out": await withdraw("opt-out", {}),
    "opt-out, mapped": await withdraw("opt-out", mapped),
    "opt-in, mapped": await withdraw("opt-in", mapped),
  };
  for (const [name, events] of Object.entries(seen)) console.log(`${name}: ${JSON.stringify(events)}`);
  const all = ["Before", "Segment Consent Preference Updated", "After"];
  assert.deepStrictEqual(seen, { "opt-out": all, "opt-out, mapped": ["Before"], "opt-in, mapped": all });
  process.exit(0);
});
JS
node run.js
