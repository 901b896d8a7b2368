#!/bin/sh
# mixpanel 5.4.1 (Python) and mixpanel 0.24.0 (Node): one instant, two times on the wire.
#
# Guess: a datetime that has a zone is sent with it, or in UTC, as other clients do.
# Seen, for 10:00 at +05:30 as a property of an event and of a person:
# - Python sends "2026-03-01T10:00:00": the zone is dropped, so that 10:00 without a zone, 10:00 in India and 10:00 in
#   New York are one text;
# - the same as `time`, the instant of the event itself: a text without a zone in place of seconds since 1970;
# - Node sends "2026-03-01T04:30:00.000Z" and, as `time`, the milliseconds of that instant.
# A service in Python and a shop in Node that report one order disagree by the hours of their zone.
# Consequence: a time without an offset from this client is not taken as UTC without asking: the mapping of the source
# declares its zone, and callers convert to UTC before they hand a time over.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check mixpanel==5.4.1
cd "$folder"
npm init --yes >/dev/null
npm install --silent --no-audit --no-fund mixpanel@0.24.0
cat > send.js <<'JS'
const client = require("mixpanel").init("token", { host: `127.0.0.1:${process.argv[2]}`, protocol: "http" });
const at = new Date("2026-03-01T10:00:00+05:30");
client.track("order", { distinct_id: "user-0001", at, time: at }, () => client.people.set("user-0001", { at }));
JS
"$folder/venv/bin/python" - <<'PY'
import base64
import json
import os
import subprocess
import threading
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from mixpanel import Consumer, Mixpanel

received = []


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(base64.b64decode(parse_qs(urlsplit(self.path).query)["data"][0]))

    def do_POST(self):
        self.answer(parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())["data"][0])

    def answer(self, data):
        message = json.loads(data)
        message = message[0] if isinstance(message, list) else message
        properties = message.get("properties") or message["$set"]
        received.append({key: properties[key] for key in ("at", "time") if key in properties})
        body = b'{"status": 1, "error": null}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"
consumer = Consumer(events_url=f"{url}/track", people_url=f"{url}/engage", import_url=f"{url}/import")
client = Mixpanel("token", consumer=consumer)
zones = {"India": timezone(timedelta(hours=5, minutes=30)), "New York": timezone(timedelta(hours=-5)), "no zone": None}
for zone in zones.values():
    at = datetime(2026, 3, 1, 10, tzinfo=zone)
    client.track("user-0001", "order", {"at": at, "time": at})
client.people_set("user-0001", {"at": datetime(2026, 3, 1, 10, tzinfo=zones["India"])})
python = list(received)
received.clear()
subprocess.run(["node", "send.js", str(server.server_port)], check=True, timeout=60)
for name, message in zip([*zones, "India, person"], python, strict=True):
    print(f"Python, {name}: {message}")
print("Node, India:", *received)
local = "2026-03-01T10:00:00"
assert python == [{"at": local, "time": local}] * 3 + [{"at": local}]
assert received == [{"at": "2026-03-01T04:30:00.000Z", "time": 1772339400000}, {"at": "2026-03-01T04:30:00.000Z"}]
os._exit(0)
PY
