#!/bin/sh
# cloudevents 2.2.0 (Python, its packages `core` and `v1`) and cloudevents 10.0.0 (Node): one subject, several persons.
#
# Guess: the official SDKs of one specification read each other's `subject` unchanged, in the binary mode over HTTP as well.
# Seen:
# - `core` percent-encodes attributes in headers and decodes them, as the HTTP binding demands; `v1` in the same package and
#   the SDK of Node do neither. Each agrees with itself, and in structured mode all three agree;
# - "Ann Smith" and "José" from `core` are "Ann%20Smith" and "Jos%C3%A9" to the other two, without an error;
# - "ann%40example.com" from Node or `v1` is "ann@example.com" to `core`: two subjects of the sender are one;
# - Node refuses to send "Łukasz" in this mode, with an error about a header. "José" passes, by fetch in Latin-1 and by
#   http.request(…).end(body) in UTF-8: the receiver, Node itself included, reads "José" from one and "JosÃ©" from the other.
# A sender in Python that moves from `v1` to `core`, as its documentation shows it, renames every subject with a space.
# The same question is open for the SDKs of Go and Java (cloudevents/spec, issue 1397).
# Consequence: identity is read from the data of an event, or from structured mode. Where a source sends its identifier in
# `subject` in binary mode, its mapping declares whether the sender encodes; it cannot be seen in the text.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check cloudevents==2.2.0
cd "$folder"
npm init --yes >/dev/null
npm install --silent --no-audit --no-fund cloudevents@10.0.0
cat > read.js <<'JS'
const { HTTP } = require("cloudevents");
const server = require("node:http").createServer((request, response) => {
  let body = "";
  request.on("data", (chunk) => { body += chunk; });
  request.on("end", () => response.end(JSON.stringify({ Node: HTTP.toEvent({ headers: request.headers, body }).subject })));
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
JS
cat > write.js <<'JS'
const { CloudEvent, HTTP } = require("cloudevents");
const [mode, subject, how, ...ports] = process.argv.slice(2);
const event = new CloudEvent({ type: "order", source: "/shop", subject, data: { total: 1 } });
const byRequest = (url, { headers, body }) => new Promise((resolve, reject) => {
  const options = { method: "POST", headers: { ...headers, "content-length": Buffer.byteLength(body) } };
  const request = require("node:http").request(url, options, (response) => {
    let text = "";
    response.on("data", (chunk) => { text += chunk; }).on("end", () => resolve(JSON.parse(text)));
  });
  request.on("error", reject).end(body);
});
const byFetch = async (url, { headers, body }) => (await fetch(url, { method: "POST", headers, body })).json();
const send = async (port) => (how === "fetch" ? byFetch : byRequest)(`http://127.0.0.1:${port}/`, HTTP[mode](event));
Promise.all(ports.map(send)).then(
  (answers) => console.log(JSON.stringify(Object.assign({}, ...answers))),
  (error) => console.log(JSON.stringify(error.name)),
);
JS
"$folder/venv/bin/python" -W ignore - <<'PY'
import json
import subprocess
import threading
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cloudevents.core.bindings import http as core
from cloudevents.core.v1.event import CloudEvent
from cloudevents.v1 import http as v1


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        headers, body = dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))
        by_core = core.from_http_event(core.HTTPMessage(headers, body)).get_subject()
        answer = json.dumps({"core": by_core, "v1": v1.from_http(headers, body)["subject"]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
reader = subprocess.Popen(["node", "read.js"], stdout=subprocess.PIPE, text=True)
PORTS = (server.server_port, int(reader.stdout.readline()))
DATA = {"total": 1}


def sent(headers, body):
    subjects = {}
    for port in PORTS:
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("POST", "/", body, headers)
        subjects |= json.load(connection.getresponse())
    return subjects


def by_core(mode, subject):
    attributes = {"type": "order", "source": "/shop", "subject": subject, "datacontenttype": "application/json"}
    write = {"binary": core.to_binary_event, "structured": core.to_structured_event}[mode]
    message = write(CloudEvent(attributes, DATA))
    return sent(message.headers, message.body)


def by_v1(mode, subject):
    write = {"binary": v1.to_binary, "structured": v1.to_structured}[mode]
    return sent(*write(v1.CloudEvent({"type": "order", "source": "/shop", "subject": subject}, DATA)))


def by_node(mode, subject, how="fetch"):
    command = ["node", "write.js", mode, subject, how, *map(str, PORTS)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout)


WRITERS = {"core": by_core, "v1": by_v1, "Node": by_node}
table = {}
try:
    for subject in ("Ann Smith", "José", "ann%40example.com"):
        for writer, write in WRITERS.items():
            table[subject, writer] = write("binary", subject)
            print(f"{subject} by {writer}:", table[subject, writer])
            assert set(write("structured", subject).values()) == {subject}
    outside = [by_node("binary", "Łukasz", how) for how in ("fetch", "request")]
    print("Łukasz by Node, fetch and http.request:", *outside)
    requested = by_node("binary", "José", "request")
    print("José by Node, http.request:", requested)
finally:
    reader.kill()
for subject, written in (("Ann Smith", "Ann%20Smith"), ("José", "Jos%C3%A9"), ("ann%40example.com", "ann%2540example.com")):
    assert table[subject, "core"] == {"core": subject, "v1": written, "Node": written}
for subject, read in (("Ann Smith", "Ann Smith"), ("José", "José"), ("ann%40example.com", "ann@example.com")):
    for writer in ("v1", "Node"):
        assert table[subject, writer] == {"core": read, "v1": subject, "Node": subject}
assert outside == ["TypeError", "TypeError"]
assert requested == dict.fromkeys(("core", "v1", "Node"), "JosÃ©")
PY
