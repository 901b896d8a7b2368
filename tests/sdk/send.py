"""Send one message of each kind through an unmodified Python client: `send.py MODULE URL WRITE_KEY INSTANT`.

MODULE is segment.analytics, analytics (the client of before 2022), rudderstack.analytics or customerio.analytics. Ends with 1 when the
client reports an error.
"""

import importlib
import sys
from datetime import datetime

module, url, write_key, instant = sys.argv[1:]
Client = importlib.import_module(module + ".client").Client
errors = []
client = Client(
    write_key,
    host=url,
    on_error=lambda error, _items: errors.append(repr(error)),
    gzip=module != "analytics",
    max_retries=2,
)
when = datetime.fromisoformat(instant)
if module == "rudderstack.analytics":
    client.identify("u1", traits={"email": "ada@example.com", "name": "Áda 👩"}, timestamp=when)
else:
    client.identify("u1", {"email": "ada@example.com", "name": "Áda 👩"}, timestamp=when)
client.track("u1", "Order Completed", {"order_id": "O-1", "revenue": 19.99}, anonymous_id="anon-1", timestamp=when)
client.track(12345, "Product Viewed", {"none": None, "tags": ["b", "a"]})
client.page("u1", "Docs", "Home", {"url": "https://example.com/?q=1&email=x@y.z"})
client.screen("u1", "App", "Settings", {"a": 1})
client.group("u1", "g1", {"name": "Initech"})
client.alias("anon-2", "u1")
client.flush()
client.join()
if errors:
    sys.exit("\n".join(errors))
