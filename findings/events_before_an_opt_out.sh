#!/bin/sh
# mixpanel-browser 2.83.0, @amplitude/analytics-browser 2.48.1, posthog-js 1.449.2: what an opt-out does to an event that waits.
#
# Guess: the three SDKs agree on an event that was tracked just before the opt-out, and none leaves after it; of somebody who logs in
# while opted out, nothing is kept.
# Seen, in jsdom, against a server of this script:
# - Mixpanel drops the event that was tracked before the opt-out: it was consented to, and is lost;
# - Amplitude and PostHog send it one and three seconds after the opt-out;
# - the first event after the opt-in carries, with all three, the id of a login that happened while opted out, and PostHog keeps
#   that id in localStorage meanwhile.
# Consequence: a message that arrives after a refusal can be older than it, so a refusal is compared with the time of an event and not
# with its arrival; a client of ours empties what waits when somebody refuses, and keeps no id of them.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts \
    mixpanel-browser@2.83.0 @amplitude/analytics-browser@2.48.1 posthog-js@1.449.2 jsdom@26.1.0
cat > run.js <<'JS'
const assert = require("node:assert");
const fs = require("node:fs");
const http = require("node:http");
const { JSDOM, VirtualConsole } = require("jsdom");

const sent = [];
const server = http.createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    let text = decodeURIComponent(Buffer.concat(chunks).toString().replace(/\+/g, " "));
    const data = /^data=([A-Za-z0-9+/=]+)$/.exec(text);
    text = data ? Buffer.from(data[1], "base64").toString() : text.replace(/^data=/, "");
    if (text.startsWith("{") || text.startsWith("[")) {
      const body = JSON.parse(text);
      for (const event of body.events || body.batch || [].concat(body)) {
        const properties = event.properties || {};
        sent.push({ name: event.event || event.event_type, person: properties.distinct_id ?? event.user_id });
      }
    }
    response.writeHead(200, {
      "access-control-allow-origin": request.headers.origin || "*",
      "access-control-allow-headers": "*",
      "access-control-allow-credentials": "true",
      "content-type": "application/json",
    });
    response.end('{"code": 200, "status": 1}');
  });
});

const file = (path) => fs.readFileSync(`node_modules/${path}`, "utf8");
const SDKS = {
  mixpanel: {
    script: file("mixpanel-browser/dist/mixpanel.umd.js"),
    start: "mixpanel.init('token', {api_host: 'HOST', persistence: 'localStorage', autocapture: false})",
    track: (name) => `mixpanel.track('${name}')`,
    out: "mixpanel.opt_out_tracking()", back: "mixpanel.opt_in_tracking()", login: "mixpanel.identify('user-0001')",
  },
  amplitude: {
    script: file("@amplitude/analytics-browser/lib/scripts/amplitude-min.js"),
    start: "amplitude.init('key', {serverUrl: 'HOST/2/httpapi', autocapture: false, flushIntervalMillis: 1000})",
    track: (name) => `amplitude.track('${name}')`,
    out: "amplitude.setOptOut(true)", back: "amplitude.setOptOut(false)", login: "amplitude.setUserId('user-0001')",
  },
  posthog: {
    script: `(() => { const module = {exports: {}}, exports = module.exports; ${file("posthog-js/dist/main.js")};
      window.posthog = module.exports.posthog || module.exports.default; })()`,
    start: "posthog.init('phc_key', {api_host: 'HOST', autocapture: false, capture_pageview: false, capture_pageleave: false, " +
      "disable_session_recording: true, advanced_disable_flags: true, disable_compression: true, persistence: 'localStorage'})",
    track: (name) => `posthog.capture('${name}')`,
    out: "posthog.opt_out_capturing()", back: "posthog.opt_in_capturing()", login: "posthog.identify('user-0001')",
  },
};
const wait = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

async function page(sdk, host) {
  const { window } = new JSDOM("<!doctype html><title>Shop</title>", {
    url: "https://shop.example/", pretendToBeVisual: true, runScripts: "dangerously", virtualConsole: new VirtualConsole(),
  });
  Object.assign(window, { fetch, Headers, Request, Response, TextDecoder, TextEncoder });
  window.navigator.sendBeacon = (url, body) => Boolean(fetch(url, { method: "POST", body }));
  window.eval(sdk.script);
  await (window.eval(sdk.start.replace("HOST", host))?.promise ?? null);
  await wait(2000);
  sent.length = 0;
  return window;
}

async function main() {
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const host = `http://127.0.0.1:${server.address().port}`;
  const waiting = {}, logins = {}, kept = {};
  for (const [name, sdk] of Object.entries(SDKS)) {
    let window = await page(sdk, host);
    window.eval(`${sdk.track("before")}; ${sdk.out}; ${sdk.track("after")}`);
    await wait(8000);
    waiting[name] = sent.map((event) => event.name);
    window.close();
    window = await page(sdk, host);
    window.eval(`${sdk.out}; ${sdk.login}`);
    await wait(1000);
    kept[name] = Object.values(window.localStorage).some((value) => String(value).includes("user-0001"));
    window.eval(`${sdk.back}; ${sdk.track("later")}`);
    await wait(8000);
    logins[name] = sent.filter((event) => event.name === "later").map((event) => event.person);
    window.close();
  }
  console.log("tracked, opted out; arrives:", waiting);
  console.log("login while opted out; kept in localStorage:", kept);
  console.log("opted in again; the person of the next event:", logins);
  assert.deepStrictEqual(waiting, { mixpanel: [], amplitude: ["before"], posthog: ["before"] });
  assert.deepStrictEqual(kept, { mixpanel: false, amplitude: false, posthog: true });
  assert.deepStrictEqual(logins, { mixpanel: ["user-0001"], amplitude: ["user-0001"], posthog: ["user-0001"] });
  server.close();
  process.exit(0);
}

main();
JS
node run.js
