// Run an example in a page of a browser, as jsdom has it: `node run_in_page.cjs EXAMPLE`. The page's origin is not that of
// the service, so that the rules for cross-origin requests apply. The example imports one SDK, of which the bundle for pages
// is loaded instead. Ends when everything was sent, or when the test kills it.
const fs = require('fs')
const path = require('path')
const { JSDOM, VirtualConsole } = require('jsdom')

const BUNDLES = {
  '@segment/analytics-next': ['@segment/analytics-next/dist/umd/index.js', 'AnalyticsNext'],
  '@rudderstack/analytics-js/bundled': ['@rudderstack/analytics-js/dist/npm/modern/bundled/umd/index.js', 'rudderanalytics'],
}
const shown = new VirtualConsole()
for (const kind of ['error', 'warn', 'jsdomError']) shown.on(kind, (...texts) => console.error(kind, ...texts))
const page = '<!doctype html><title>Shop</title>'
const { window } = new JSDOM(page, {
  url: 'https://shop.example/',
  pretendToBeVisual: true,
  runScripts: 'dangerously',
  virtualConsole: shown,
})
// Parts of a browser that jsdom does not have; Node's are the same.
Object.assign(window, { fetch, Headers, Request, Response, TextDecoder, TextEncoder })
window.navigator.sendBeacon = (url, body) => Boolean(fetch(url, { method: 'POST', body }))

const [, names, sdk, body] = /^import (\{.*\}) from "(.*)";\n(.*)$/s.exec(fs.readFileSync(process.argv[2], 'utf8'))
const [bundle, global] = BUNDLES[sdk]
const modules = process.env.NODE_PATH
window.eval(fs.readFileSync(path.join(modules, bundle), 'utf8'))
window.eval(`const ${names} = ${global};\n${body}`)
