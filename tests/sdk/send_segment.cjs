// Send one message of each kind through @segment/analytics-node, or a package with the same interface:
// `node send_segment.cjs URL WRITE_KEY INSTANT PACKAGE`.
const [url, writeKey, instant, client] = process.argv.slice(2)
const { Analytics } = require(client)

const timestamp = new Date(instant)
const analytics = new Analytics({ writeKey, host: url, path: '/v1/batch', maxRetries: 2, flushAt: 20 })
analytics.on('error', (error) => {
  console.error(error)
  process.exitCode = 1
})
analytics.identify({ userId: 'u1', traits: { email: 'ada@example.com', name: 'Áda 👩' }, timestamp })
analytics.track({ userId: 'u1', anonymousId: 'anon-1', event: 'Order Completed', properties: { order_id: 'O-1', revenue: 19.99 }, timestamp })
analytics.track({ userId: '12345', event: 'Product Viewed', properties: { none: null, tags: ['b', 'a'] } })
analytics.page({ userId: 'u1', category: 'Docs', name: 'Home', properties: { url: 'https://example.com/?q=1&email=x@y.z' } })
analytics.screen({ userId: 'u1', name: 'Settings', properties: { a: 1 } })
analytics.group({ userId: 'u1', groupId: 'g1', traits: { name: 'Initech' } })
analytics.alias({ userId: 'u1', previousId: 'anon-2' })
analytics.closeAndFlush({ timeout: 20000 })
