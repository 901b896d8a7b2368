#!/bin/sh
# amplitude-analytics 1.3.0, segment-analytics-python 2.4.0, rudder-sdk-python 2.1.9 and posthog 7.91.1, numpy 2.4.6:
# one property of a type that JSON does not have.
#
# Guess: the client converts the value or raises an error; the other properties are not touched.
# Seen:
# - amplitude: an order with a price as Decimal, a set or a tuple is sent without any property, and the callback says 200.
#   The same for the properties of the person: a Decimal next to `email_opt_in: False` takes the opt-out with it;
# - segment and rudder convert Decimal, tuple and set, drop the UUID of an account, and drop a whole list for one UUID in it;
#   in a list of products each product stays and loses its id. An `anonymous_id` that is a UUID is converted;
# - False from a column of numpy is dropped by segment and rudder and null in posthog: an opt-out is "not stated". Next to it
#   a whole number of numpy raises an error in segment and rudder, so that only the opt-out is lost without one;
# - posthog converts a UUID and a set, and sends null for a member of an Enum, where the others send its value.
# segment and rudder log a warning, with the value in clear text; amplitude and posthog log nothing.
# Consequence: an absent or null property is never taken as a withdrawal or a default, and a source that stops to send a
# property it has sent before is reported. Producers convert to JSON types before they call such a client.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check amplitude-analytics==1.3.0 \
  segment-analytics-python==2.4.0 rudder-sdk-python==2.1.9 posthog==7.91.1 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - <<'PY'
import json
import logging
import threading
from decimal import Decimal
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import UUID

import numpy
import posthog
import rudderstack.analytics.client as rudder
import segment.analytics.client as segment
from amplitude import Amplitude, BaseEvent, Config

logged = []


class Log(logging.Handler):
    def emit(self, record):
        logged.append((record.name, record.levelname))


logging.basicConfig(level=logging.WARNING, handlers=[Log()])
ACCOUNT = UUID("5c5b5f0e-0000-4000-8000-000000000000")
Color = Enum("Color", {"RED": "red"})
received = []


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        received.extend(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["events"])
        self.send_response(200)
        self.send_header("Content-Length", "13")
        self.end_headers()
        self.wfile.write(b'{"code": 200}')

    def log_message(self, *args):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()


def by_amplitude(value):
    received.clear()
    codes = []
    done = threading.Event()

    def callback(event, code, message=None):
        codes.append(code)
        done.set()

    url = f"http://127.0.0.1:{server.server_port}/2/httpapi"
    client = Amplitude("key", Config(server_url=url, flush_interval_millis=200, callback=callback))
    properties = {"email_opt_in": False, "value": value}
    client.track(BaseEvent("order", user_id="user-0001", event_properties=properties, user_properties=properties))
    client.flush()
    assert done.wait(30) and codes == [200]
    return received[0].get("event_properties"), received[0].get("user_properties")


def by_segment(value):
    return segment.Client("key", send=False).identify("user-0001", {"email_opt_in": False, "value": value})[1]["traits"]


def by_rudder(value):
    message = rudder.Client("key", send=False).identify("user-0001", {"email_opt_in": False, "value": value})[1]
    return message["context"]["traits"]


def by_posthog(value):
    seen = []
    client = posthog.Posthog("key", host="http://127.0.0.1:9", send=False, before_send=seen.append)
    client.set(distinct_id="user-0001", properties={"email_opt_in": False, "value": value})
    return seen[0]["$set"]


def seen(client, value):
    try:
        return client(value)
    except TypeError:
        return "TypeError"


VALUES = {
    "text": "gold",
    "Decimal": Decimal("19.90"),
    "tuple": ("a", "b"),
    "set": {"a"},
    "UUID": ACCOUNT,
    "UUID in a list": ["a", ACCOUNT],
    "UUID in a product": [{"id": ACCOUNT, "quantity": 1}],
    "False of numpy": numpy.array([False])[0],
    "5 of numpy": numpy.array([5])[0],
    "Enum": Color.RED,
}
BY_AMPLITUDE = {"text": ({"email_opt_in": False, "value": "gold"},) * 2, "Enum": ({"email_opt_in": False, "value": "red"},) * 2}
KEPT = {"email_opt_in": False}
table = {}
for name, value in VALUES.items():
    table[name] = {client.__name__: seen(client, value) for client in (by_amplitude, by_segment, by_rudder, by_posthog)}
    print(f"{name}:", *(f"\n  {client}: {result}" for client, result in table[name].items()))
    assert table[name]["by_amplitude"] == BY_AMPLITUDE.get(name, (None, None))
    assert table[name]["by_segment"] == table[name]["by_rudder"]
print("logged:", sorted(set(logged)))
assert set(logged) == {("segment", "WARNING"), ("rudderstack", "WARNING")}
for name in ("UUID", "UUID in a list", "False of numpy"):
    assert table[name]["by_segment"] == KEPT
assert table["Decimal"]["by_segment"] == table["Decimal"]["by_posthog"] == KEPT | {"value": 19.9}
assert table["set"]["by_segment"] == table["set"]["by_posthog"] == KEPT | {"value": ["a"]}
assert table["UUID in a product"]["by_segment"] == KEPT | {"value": [{"quantity": 1}]}
assert table["5 of numpy"]["by_segment"] == "TypeError"
assert table["Enum"]["by_segment"] == KEPT | {"value": "red"}
assert table["UUID"]["by_posthog"] == KEPT | {"value": str(ACCOUNT)}
assert table["False of numpy"]["by_posthog"] == table["Enum"]["by_posthog"] == KEPT | {"value": None}
for client in (segment.Client, rudder.Client):
    assert client("key", send=False).identify("user-0001", {}, anonymous_id=ACCOUNT)[1]["anonymousId"] == str(ACCOUNT)
PY
