// A real Chromium that a test drives: reads one JSON command a line, and answers each with one line.
// `node browse.cjs CHROMIUM` with NODE_PATH set to the folder of the packages.
const fs = require('fs')
const path = require('path')
const readline = require('readline')
const puppeteer = require('puppeteer-core')

const AUTOCONSENT = path.join(process.env.NODE_PATH, '@duckduckgo/autoconsent/dist/autoconsent.playwright.js')
const pages = []
const requests = []
const lines = []

async function open(browser, { url, gpc = false, autoconsent = null }) {
  const page = await browser.newPage()
  pages.push(page)
  page.on('request', (request) => requests.push({ url: request.url(), kind: request.resourceType(), body: request.postData() || '' }))
  page.on('console', (message) => lines.push(message.text()))
  page.on('pageerror', (error) => lines.push(String(error)))
  if (gpc) await page.evaluateOnNewDocument(() => Object.defineProperty(navigator, 'globalPrivacyControl', { value: true }))
  if (autoconsent) await optOut(page, autoconsent)
  await page.goto(url, { waitUntil: 'load' })
  return pages.length - 1
}

// What DuckDuckGo's browsers do with a banner that their rules know: refuse.
async function optOut(page, rule) {
  await page.exposeFunction('autoconsentSendMessage', async (message) => {
    lines.push(`autoconsent ${message.type} ${message.result ?? ''}`)
    if (message.type === 'init') {
      const config = { enabled: true, autoAction: 'optOut', disabledCmps: [], enablePrehide: false, detectRetries: 20, isMainWorld: true }
      const answer = { type: 'initResp', config, rules: { autoconsent: [rule] } }
      await page.evaluate((text) => { void window.autoconsentReceiveMessage(JSON.parse(text)) }, JSON.stringify(answer))
    }
  })
  const script = fs.readFileSync(AUTOCONSENT, 'utf8')
  await page.evaluateOnNewDocument(script)
}

const COMMANDS = {
  open,
  evaluate: (_, { tab, code }) => pages[tab].evaluate(`(async () => { ${code} })()`),
  go: async (_, { tab, url }) => { await pages[tab].goto(url, { waitUntil: 'load' }) },
  close: (_, { tab }) => pages[tab].close({ runBeforeUnload: true }),
  press: async (_, { tab, keys }) => { for (const key of keys) await pages[tab].keyboard.press(key) },
  offline: async (_, { tab, value }) => { await pages[tab].setOfflineMode(value) },
  picture: async (_, { tab, file }) => { await pages[tab].screenshot({ path: file }) },
  requests: () => requests,
  lines: () => lines,
}

async function main() {
  const browser = await puppeteer.launch({
    executablePath: process.argv[2],
    args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-background-networking', '--no-first-run'],
  })
  try {
    for await (const line of readline.createInterface({ input: process.stdin })) {
      const { command, ...given } = JSON.parse(line)
      let answer
      try {
        answer = { value: (await COMMANDS[command](browser, given)) ?? null }
      } catch (error) {
        answer = { error: String(error) }
      }
      process.stdout.write(JSON.stringify(answer) + '\n')
    }
  } finally {
    await browser.close()
  }
}

main()
