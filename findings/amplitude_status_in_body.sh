#!/bin/sh
# amplitude-analytics 1.3.0 (Python): the status of the answer is read from its body, and a program waits to end.
#
# Guess: HTTP 500 means "not accepted, repeat", whatever the body says, and 200 means "accepted".
# Seen:
# - with a JSON body that has a `code`, the code counts: HTTP 500 with {"code": 200} is taken as accepted, the events are
#   not sent again and the callback says 200;
# - with any other body, such as the HTML page of a proxy, the HTTP status counts and the events are repeated;
# - a program that ends without flush loses nothing, but ends only when its flush interval of 10 seconds is over.
# Consequence: an endpoint that speaks to this client must put the same status in the body as in the status line, and a
# gateway that rewrites one of the two loses events without an error anywhere.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check amplitude-analytics==1.3.0
cat > "$folder/unflushed.py" <<'PY'
import sys

from amplitude import Amplitude, BaseEvent, Config

client = Amplitude("key", Config(server_url=sys.argv[1], flush_interval_millis=10_000))
for _ in range(3):
    client.track(BaseEvent("view", user_id="user-0001"))
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

from amplitude import Amplitude, BaseEvent, Config

logging.disable(logging.CRITICAL)


def endpoint(status, body):
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            requests.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["events"])
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/2/httpapi", requests


def requests_after(status, body):
    url, requests = endpoint(status, body)
    answers = []
    client = Amplitude(
        "key",
        Config(server_url=url, flush_interval_millis=200, callback=lambda event, code, message=None: answers.append(code)),
    )
    client.track(BaseEvent("view", user_id="user-0001"))
    client.flush()
    time.sleep(5)
    return len(requests), answers[:1]


accepted = requests_after(500, b'{"code": 200}')
repeated = requests_after(500, b'{"code": 500}')
proxy = requests_after(502, b"<html>Bad Gateway</html>")
url, requests = endpoint(200, b'{"code": 200}')
started = time.monotonic()
subprocess.run([sys.executable, f"{os.environ['FOLDER']}/unflushed.py", url], check=True, capture_output=True)
waited = time.monotonic() - started
print("HTTP 500, code 200 in the body:", accepted[0], "request, callback", accepted[1])
print("HTTP 500, code 500 in the body:", repeated[0], "requests or more in five seconds")
print("HTTP 502, HTML in the body:", proxy[0], "requests or more in five seconds")
print(f"three events, no flush: {sum(map(len, requests))} delivered, the program ended after {waited:.0f} s")
assert accepted == (1, [200])
assert repeated[0] > 1 and proxy[0] > 1
assert sum(map(len, requests)) == 3 and 8 < waited < 15
os._exit(0)
PY
