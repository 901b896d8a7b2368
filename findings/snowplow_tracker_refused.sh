#!/bin/sh
# snowplow-tracker 1.1.0 (Python): a batch that is refused as too large comes back larger.
#
# Guess: after 413 a client splits the batch or drops it, after 500 it repeats it alone.
# Seen, with batches of 5 events and a collector that refuses every request:
# - the events of a refused request go back into the buffer, and after a random pause everything that has gathered is
#   sent at once: each request is larger than the one before, whatever the status is, 413 (payload too large), 429 and
#   500 alike; the batch size is not a bound any more;
# - what is still below the batch size when the program ends without `flush` is lost: 347 events, 300 delivered.
# Consequence: a collector that bounds the size of a request must not answer 413 to this client for a passing trouble, and
# a limit must be large enough for the backlog of an outage; otherwise the client never gets through again.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check snowplow-tracker==1.1.0
cat > "$folder/unflushed.py" <<'PY'
import sys

from snowplow_tracker import EmitterConfiguration, Snowplow, StructuredEvent

tracker = Snowplow.create_tracker(
    namespace="unflushed", endpoint=sys.argv[1], app_id="shop", emitter_config=EmitterConfiguration(batch_size=50)
)
for _ in range(347):
    tracker.track(StructuredEvent(category="shop", action="view"))
PY
FOLDER="$folder" "$folder/venv/bin/python" - <<'PY'
import json
import logging
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from snowplow_tracker import EmitterConfiguration, Snowplow, StructuredEvent

logging.disable(logging.CRITICAL)


def collector(status):
    sizes = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            sizes.append(len(json.loads(body)["data"]))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}", sizes


seen = {}
for status in (413, 429, 500):
    url, sizes = collector(status)
    tracker = Snowplow.create_tracker(
        namespace=f"refused-{status}", endpoint=url, app_id="shop", emitter_config=EmitterConfiguration(batch_size=5)
    )
    for number in range(400):
        tracker.track(StructuredEvent(category="shop", action=f"view {number}"))
        time.sleep(0.05)
        if len(sizes) == 3:
            break
    seen[status] = list(sizes)
    print(f"every answer {status}, batches of 5: events in the first requests: {sizes}")
url, sizes = collector(200)
subprocess.run([sys.executable, f"{os.environ['FOLDER']}/unflushed.py", url], check=True, capture_output=True)
print(f"347 tracked, the program ends without flush: {sum(sizes)} delivered")
for refused in seen.values():
    assert len(refused) == 3 and refused[0] == 5 and refused[0] < refused[1] < refused[2], seen
assert sum(sizes) == 300
os._exit(0)
PY
