// Sign a body as platforms do, with their own libraries: `node sign_webhooks.cjs`. Reads {secrets, body, id, at} from standard input, where
// `at` is an instant, and prints the headers by library. Shopify's library only verifies: its headers are printed if it accepts them.
const crypto = require('node:crypto')
const { readFileSync } = require('node:fs')
const { join } = require('node:path')
const { pathToFileURL } = require('node:url')
const standardwebhooks = require('standardwebhooks')
const svix = require('svix')
const Stripe = require('stripe')
require('@shopify/shopify-api/adapters/node')
const { shopifyApi } = require('@shopify/shopify-api')

const { secrets, body, id, at } = JSON.parse(readFileSync(0, 'utf8'))
const instant = new Date(at)
const seconds = Math.floor(instant.getTime() / 1000)

function standard(library, prefix) {
  const signature = new library.Webhook(secrets.standard).sign(id, instant, body)
  return { [`${prefix}-id`]: id, [`${prefix}-timestamp`]: String(seconds), [`${prefix}-signature`]: signature }
}

function stripe() {
  const library = new Stripe('sk_test_none')
  const header = library.webhooks.generateTestHeaderString({ payload: body, secret: secrets.stripe, timestamp: seconds })
  return { 'Stripe-Signature': header }
}

async function github() {
  // The package has modules only, and their resolver does not read NODE_PATH.
  const folder = join(process.env.NODE_PATH, '@octokit/webhooks-methods')
  const { exports } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  const { sign } = await import(pathToFileURL(join(folder, exports['.'].default.import)))
  return { 'X-Hub-Signature-256': await sign(secrets.github, body), 'X-GitHub-Delivery': id }
}

async function shopify() {
  const headers = {
    'X-Shopify-Hmac-SHA256': crypto.createHmac('sha256', secrets.shopify).update(body, 'utf8').digest('base64'),
    'X-Shopify-Topic': 'orders/create',
    'X-Shopify-API-Version': '2026-10',
    'X-Shopify-Shop-Domain': 'example.myshopify.com',
    'X-Shopify-Webhook-Id': id,
  }
  const api = shopifyApi({
    apiKey: 'key', apiSecretKey: secrets.shopify, hostName: 'example.com', apiVersion: '2026-10', isEmbeddedApp: false, logger: { level: 0 },
  })
  const request = { method: 'POST', url: '/', headers }
  const checked = await api.webhooks.validate({ rawBody: body, rawRequest: request, rawResponse: {} })
  if (!checked.valid) throw new Error(`Shopify's library refuses: ${JSON.stringify(checked)}`)
  return headers
}

async function main() {
  const headers = {
    standardwebhooks: standard(standardwebhooks, 'webhook'),
    svix: standard(svix, 'svix'),
    stripe: stripe(),
    github: await github(),
    shopify: await shopify(),
  }
  console.log(JSON.stringify(headers))
}

main().catch((error) => {
  console.error(error)
  process.exitCode = 1
})
