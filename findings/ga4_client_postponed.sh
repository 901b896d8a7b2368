#!/bin/sh
# ga4mp 2.0.4 (Python client of GA4's Measurement Protocol): a postponed event is not in a list, and a time needs to be naive.
#
# Guess: `events` is a list in every request, as Google's reference says, and a time with a zone is sent as the instant that it is.
# Seen, against a server of this script:
# - `send` puts events into a list, and 26 of them into two requests;
# - `send(postpone=True)` and `postponed_send` make a request for each event, in which `events` is the event itself, an object;
#   a reader that expects a list iterates over the keys `name` and `params`, or refuses;
# - `date` with a time zone raises TypeError (it is compared with the local time), a naive one is local time of the machine, and
#   its fraction of a second is lost;
# - an event without a parameter cannot be sent: create_new_event("login") alone raises AssertionError;
# - there is no way to send Google's `consent` object: only `non_personalized_ads`, which is set as if it were a user property.
# Consequence: take one event for a list of one; expect no consent from this client.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" --quiet --disable-pip-version-check install ga4mp==2.0.4
cat > "$folder/run.py" <<'PY'
import json
import threading
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer

from ga4mp import GtagMP

bodies = []


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()


def client():
    made = GtagMP(api_secret="secret", measurement_id="G-1", client_id="12.34")
    made._base_domain = f"http://127.0.0.1:{server.server_port}/mp/collect"
    return made


def login(sender):
    event = sender.create_new_event("login")
    event.set_event_param("method", "password")
    return event


sender = client()
sender.send([login(sender) for _ in range(26)])
print("send:", [(type(body["events"]).__name__, len(body["events"])) for body in bodies])
assert [len(body["events"]) for body in bodies] == [25, 1]

bodies.clear()
sender.send([login(sender), login(sender)], postpone=True)
sender.postponed_send()
print("postponed:", [(type(body["events"]).__name__, sorted(body["events"])) for body in bodies])
assert [sorted(body["events"]) for body in bodies] == [["name", "params"]] * 2
assert all(isinstance(body["timestamp_micros"], int) for body in bodies)

try:
    sender.send([login(sender)], date=datetime.now(timezone.utc) - timedelta(hours=1))
    raise SystemExit("a time with a zone is taken")
except TypeError as error:
    print("aware time:", error)

bodies.clear()
past = datetime.now().replace(microsecond=750_000) - timedelta(hours=1)
sender.send([login(sender)], date=past)
micros = bodies[0]["timestamp_micros"]
print("fraction of a second sent:", micros % 1_000_000)
assert micros == int(past.replace(microsecond=0).timestamp()) * 1_000_000

try:
    sender.send([sender.create_new_event("login")])
    raise SystemExit("an event without parameters is sent")
except AssertionError as error:
    print("without parameters:", error)

bodies.clear()
sender.store.set_user_property("non_personalized_ads", True)
sender.store.set_user_property("consent", {"ad_user_data": "DENIED"})
sender.send([login(sender)])
print("keys of a request:", sorted(bodies[0]), bodies[0]["user_properties"])
assert "consent" not in bodies[0]
assert bodies[0]["non_personalized_ads"] is True
PY
"$folder/venv/bin/python" "$folder/run.py"
