// Send one message of each kind through @rudderstack/rudder-sdk-node: `node send_rudder.cjs URL WRITE_KEY INSTANT`.
// Without an error callback a 400 would end the process, which is how the test would learn of one.
const RudderAnalytics = require('@rudderstack/rudder-sdk-node').default ?? require('@rudderstack/rudder-sdk-node')

const [url, writeKey, instant] = process.argv.slice(2)
const timestamp = new Date(instant)
const client = new RudderAnalytics(writeKey, { dataPlaneUrl: url, flushInterval: 100 })
client.identify({ userId: 'u1', traits: { email: 'ada@example.com', name: 'Áda 👩' }, timestamp })
client.track({ userId: 'u1', anonymousId: 'anon-1', event: 'Order Completed', properties: { order_id: 'O-1', revenue: 19.99 }, timestamp })
client.track({ userId: '12345', event: 'Product Viewed', properties: { none: null, tags: ['b', 'a'] } })
client.page({ userId: 'u1', category: 'Docs', name: 'Home', properties: { url: 'https://example.com/?q=1&email=x@y.z' } })
client.screen({ userId: 'u1', name: 'Settings', properties: { a: 1 } })
client.group({ userId: 'u1', groupId: 'g1', traits: { name: 'Initech' } })
client.alias({ userId: 'u1', previousId: 'anon-2' }, (error) => {
  if (error) {
    console.error(error)
    process.exitCode = 1
  }
  client.flush()
})
