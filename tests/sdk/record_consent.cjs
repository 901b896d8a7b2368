// Record what consent wrappers of SDKs send in a page of jsdom: `node record_consent.cjs segment|rudderstack > FILE`, with
// NODE_PATH at a folder of modules that has the SDKs of package.json, and for Segment also @segment/analytics-consent-tools.
// The result is a list of scenarios, each with the answers of the consent tool in order and the messages as sent.
const http = require('http')
const fs = require('fs')
const path = require('path')
const { setTimeout: wait } = require('timers/promises')
const { JSDOM, VirtualConsole } = require('jsdom')

const MODULES = process.env.NODE_PATH
const BUNDLES = {
  segment: '@segment/analytics-next/dist/umd/index.js',
  rudderstack: '@rudderstack/analytics-js/dist/npm/modern/bundled/umd/index.js',
}
let sent = []
const server = http.createServer((request, response) => {
  let text = ''
  request.on('data', (part) => (text += part))
  request.on('end', () => {
    const { port } = server.address()
    response.setHeader('access-control-allow-origin', '*')
    response.setHeader('access-control-allow-headers', '*')
    response.setHeader('content-type', 'application/json')
    if (request.method === 'POST') sent.push({ path: request.url, body: JSON.parse(text) })
    const source = {
      id: '1', name: 'web', writeKey: 'wk_web', enabled: true, workspaceId: 'cdp', connections: [], destinations: [],
      config: { statsCollection: { errors: { enabled: false }, metrics: { enabled: false } } },
      dataplanes: { default: [{ url: `http://127.0.0.1:${port}`, default: true }] },
    }
    const answers = {
      GET: request.url.includes('/settings')
        ? { integrations: { 'Segment.io': { apiKey: 'wk_web', apiHost: `127.0.0.1:${port}/v1`, protocol: 'http' } }, metrics: { sampleRate: 0 } }
        : { source, updatedAt: '2026-01-01T00:00:00.000Z' },
    }
    response.end(JSON.stringify(answers[request.method] ?? { success: true }))
  })
})

function page(bundle) {
  const { window } = new JSDOM('<!doctype html><title>Shop</title>', {
    url: 'https://shop.example/', pretendToBeVisual: true, runScripts: 'dangerously', virtualConsole: new VirtualConsole(),
  })
  Object.assign(window, { fetch, Headers, Request, Response, TextDecoder, TextEncoder })
  window.navigator.sendBeacon = (url, body) => Boolean(fetch(url, { method: 'POST', body }))
  window.eval(fs.readFileSync(path.join(MODULES, bundle), 'utf8'))
  return window
}

const ALL = { C0001: true, C0002: true, C0004: true }
const PART = { C0001: true, C0002: false, C0004: true }
const NECESSARY = { C0001: true, C0002: false, C0004: false }
const MAPPED = { integrationCategoryMappings: { 'Segment.io': ['C0002', 'C0004'] } }
const fix = (base) => async (window, analytics, categories) => {
  const anonymousId = (await analytics.user()).anonymousId()
  const message = { event: 'Segment Consent Preference Updated', anonymousId, context: { consent: { categoryPreferences: categories } } }
  window.navigator.sendBeacon(`${base}/v1/t?writeKey=wk_web`, JSON.stringify(message))
}

async function segment(base) {
  const { createWrapper } = require('@segment/analytics-consent-tools')
  const found = []
  for (const [scenario, model, answers, options, also] of [
    ['opt-in, then a part', 'opt-in', [ALL, PART], {}],
    ['opt-in, then withdrawn', 'opt-in', [ALL, NECESSARY], {}],
    ['opt-in with mappings, then withdrawn', 'opt-in', [ALL, NECESSARY], MAPPED],
    ['opt-out, then a part', 'opt-out', [ALL, PART], {}],
    ['opt-out, then withdrawn', 'opt-out', [ALL, NECESSARY], {}],
    ['opt-out with mappings, then withdrawn', 'opt-out', [ALL, NECESSARY], MAPPED],
    ['opt-out with mappings, then withdrawn, by the line of the page', 'opt-out', [ALL, NECESSARY], MAPPED, fix(base)],
  ]) {
    sent = []
    const window = page(BUNDLES.segment)
    Object.assign(global, { window, document: window.document })
    let [categories] = answers
    let changed
    const analytics = new window.AnalyticsNext.AnalyticsBrowser()
    createWrapper({
      shouldLoadSegment: async (context) => context.load({ consentModel: model }),
      getCategories: () => categories,
      registerOnConsentChanged: (listener) => (changed = listener),
      ...options,
    })(analytics).load({ writeKey: 'wk_web', cdnURL: base })
    await analytics.track('Product Viewed', { sku: 'MUG-204' })
    for (categories of answers.slice(1)) {
      changed(categories)
      await wait(400)
      analytics.track('Product Viewed', { sku: 'MUG-205' })
      await wait(400)
      if (also) await also(window, analytics, categories)
      await wait(400)
    }
    found.push({ scenario, answers, sent })
  }
  return found
}

async function rudderstack(base) {
  const found = []
  const oneTrust = (groups) => (window) => {
    const Groups = ['C0001', 'C0002', 'C0004'].map((id) => ({ CustomGroupId: id, GroupName: id }))
    Object.assign(window, { OneTrust: { GetDomainData: () => ({ Groups }) }, OnetrustActiveGroups: groups })
  }
  const ketch = Buffer.from(JSON.stringify({ analytics: { status: 'granted' }, advertising: { status: 'denied' } })).toString('base64')
  const custom = (allowedConsentIds, deniedConsentIds, more) => ({ enabled: true, provider: 'custom', allowedConsentIds, deniedConsentIds, ...more })
  const buffered = { enabled: true, storage: { strategy: 'none' }, events: { delivery: 'buffer' } }
  const later = (management) => (analytics) => analytics.consent({ trackConsent: true, consentManagement: management })
  for (const [scenario, options, prepare, act] of [
    ['oneTrust, opt-in, before an answer', { consentManagement: { enabled: true, provider: 'oneTrust' } }, oneTrust(',C0001,')],
    ['oneTrust, opt-out, before an answer', { consentManagement: { enabled: true, provider: 'oneTrust' } }, oneTrust(',C0001,C0002,C0004,')],
    ['ketch', { consentManagement: { enabled: true, provider: 'ketch' } }, (window) => (window.document.cookie = `_ketch_consent_v1_=${ketch}`)],
    ['iubenda', { consentManagement: { enabled: true, provider: 'iubenda' } }, (window) => (window._iub = { csConfiguration: {}, cs: { consent: { purposes: { 1: true, 2: false, 4: true } } } })],
    ['custom', { consentManagement: custom(['analytics'], ['advertising']) }],
    ['custom, resolutionStrategy or', { consentManagement: custom(['analytics'], ['advertising'], { resolutionStrategy: 'or' }) }],
    ['custom, then withdrawn', { consentManagement: custom(['analytics', 'advertising'], []) }, null, later(custom([], ['analytics', 'advertising']))],
    ['oneTrust, buffered until an answer', { preConsent: buffered, consentManagement: { enabled: true, provider: 'oneTrust' } }, oneTrust(',C0001,C0002,'), (analytics) => analytics.consent({ trackConsent: true })],
    ['custom, buffered until an answer', { preConsent: buffered, consentManagement: { enabled: true, provider: 'custom' } }, null, later(custom(['analytics'], ['advertising']))],
  ]) {
    sent = []
    const window = page(BUNDLES.rudderstack)
    prepare?.(window)
    const analytics = new window.rudderanalytics.RudderAnalytics()
    analytics.load('wk_web', base, { configUrl: base, ...options })
    analytics.track('Product Viewed', { sku: 'MUG-204' })
    await wait(1200)
    if (act) {
      act(analytics)
      analytics.track('Product Viewed', { sku: 'MUG-205' })
      await wait(1200)
    }
    found.push({ scenario, sent })
  }
  return found
}

server.listen(0, '127.0.0.1', async () => {
  const found = await { segment, rudderstack }[process.argv[2]](`http://127.0.0.1:${server.address().port}`)
  fs.writeSync(1, `${JSON.stringify(found, null, 1)}\n`)
  process.exit(0)
})
