#!/bin/sh
# Python 3.11.7 `email`, nodemailer 10.6.1 and mailparser 3.14.2 (Node): the two headers of one-click unsubscription, RFC 8058.
#
# Guess: a URL in `List-Unsubscribe` is written as it was set, and the option of a mail library for list headers can write
# `List-Unsubscribe-Post: List-Unsubscribe=One-Click`.
# Seen:
# - Python writes a URL of 76 characters or more, as one with a signed token, as encoded words (`=?utf-8?q?=3Chttps=3A//…?=`),
#   though it is plain ASCII and RFC 2369 wants it between angle brackets. With two addresses the mailto: alone survives;
# - a correct message that is read and written again with Python's `policy.SMTP`, unchanged, loses the URL in the same way;
# - a parser that takes the header as it stands, mailparser, finds no URL in it. The header that promises one click is whole;
# - nodemailer's option `list` makes `<http://List-Unsubscribe=One-Click>` of the promise, which RFC 8058 does not know, and two
#   addresses given as a plain array are two headers, of which RFC 2369 allows one.
# No library warns. Short links of a test work, the long ones of production do not: who presses the button stays on the list,
# or the mail program has no address and shows no button.
# Consequence: Python needs `policy.SMTP.clone(max_line_length=998)`, nodemailer the promise in `headers` and the addresses in
# an array in the array. A test of a sender reads both headers from the bytes that were sent, with a token of full length.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --silent --no-audit --no-fund nodemailer@10.6.1 mailparser@3.14.2
cat > python.py <<'PY'
import json
import platform
from email import message_from_bytes, policy
from email.message import EmailMessage

URL = "https://shop.example/unsubscribe?token="


def headers(address, rules=policy.SMTP):
    message = EmailMessage(policy=rules)
    message["List-Unsubscribe"] = address
    message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message.set_content("News")
    return message.as_bytes()


long = f"<{URL}{'a' * 60}>"
whole = headers(long, policy.SMTP.clone(max_line_length=998))
messages = {
    "short": headers(f"<{URL}{'a' * 36}>"),
    "long": headers(long),
    "two": headers(f"{long}, <mailto:leave@shop.example>"),
    "whole": whole,
    "again": message_from_bytes(whole, policy=policy.SMTP).as_bytes(),
}
print(json.dumps({"version": platform.python_version(), **{name: data.decode("ascii") for name, data in messages.items()}}))
PY
python3 python.py > python.json
cat > read.js <<'JS'
const assert = require("node:assert");
const nodemailer = require("nodemailer");
const { simpleParser } = require("mailparser");
const { version, ...messages } = require("./python.json");

const url = `https://shop.example/unsubscribe?token=${"a".repeat(60)}`;
const click = "List-Unsubscribe=One-Click";
const lines = (text) => text.split("\r\n\r\n")[0].replace(/\r\n\s+/g, " ").split("\r\n").filter((line) => /^List-/.test(line));
const sender = nodemailer.createTransport({ streamTransport: true, buffer: true });
const sent = async (options) => {
  const { message } = await sender.sendMail({ from: "shop@x.example", to: "ann@x.example", text: "News", ...options });
  return lines(message.toString());
};

(async () => {
  const found = {};
  for (const [name, text] of Object.entries(messages)) {
    const list = (await simpleParser(text)).headers.get("list");
    found[name] = list.unsubscribe.url ? "a URL" : "no URL";
    console.log(`Python ${version}, ${name}: ${found[name]};`, lines(text)[0].slice(0, 72), "…");
    assert.equal(lines(text)[1], `List-Unsubscribe-Post: ${click}`);
  }
  const option = await sent({ list: { unsubscribe: [url, "leave@shop.example"], "unsubscribe-post": click } });
  const both = await sent({ list: { unsubscribe: [[url, "leave@shop.example"]] }, headers: { "List-Unsubscribe-Post": click } });
  console.log("nodemailer, option list:", option);
  console.log("nodemailer, array in the array and headers:", both);
  assert.deepEqual(found, { short: "a URL", long: "no URL", two: "no URL", whole: "a URL", again: "no URL" });
  assert.match(lines(messages.two)[0], /\?= <mailto:leave@shop\.example>$/);
  assert.deepEqual(option, [
    `List-Unsubscribe: <${url}>`,
    "List-Unsubscribe: <mailto:leave@shop.example>",
    "List-Unsubscribe-Post: <http://List-Unsubscribe=One-Click>",
  ]);
  assert.deepEqual(new Set(both), new Set([
    `List-Unsubscribe: <${url}>, <mailto:leave@shop.example>`,
    `List-Unsubscribe-Post: ${click}`,
  ]));
})();
JS
node --unhandled-rejections=strict read.js
