#!/bin/sh
# facebook_business 26.0.3 (Python) and facebook-nodejs-business-sdk 24.0.1 (Node): hashing of national telephone numbers.
#
# Guess: the normalizer for matching people refuses a number without its country, as its message "Invalid format" suggests.
# Seen:
# - both take "020 7946 0958" (London) for an international number: one zero or two in front are removed, so the hash is that
#   of +20 7946 0958, in Egypt. "(415) 555-0123" becomes +41 5555 0123, in Switzerland;
# - "+44 (0)20 7946 0958" keeps the zero: the hash is of a number that does not exist, and never matches;
# - an extension: Python refuses "+49 30 123456 ext 5", Node hashes 49301234565;
# - "415.555.0123": Python refuses it, Node hashes the text with its dots.
# Consequence: a person who is uploaded in this way is matched with a stranger or with nobody, and an opt-out by hash misses
# her. Numbers are normalized to E.164 with their region before such a client sees them, and hashed by us.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check facebook_business==26.0.3
cd "$folder"
npm init --yes >/dev/null
npm install --silent --no-audit --no-fund facebook-nodejs-business-sdk@24.0.1
cat > numbers.json <<'JSON'
["+44 20 7946 0958", "020 7946 0958", "(415) 555-0123", "+44 (0)20 7946 0958", "+49 30 123456 ext 5", "415.555.0123"]
JSON
node > node.json <<'JS'
const { UserData } = require("facebook-nodejs-business-sdk");
const hashed = (number) => {
  try {
    return new UserData().setPhone(number).normalize().ph;
  } catch (error) {
    return "refused";
  }
};
console.log(JSON.stringify(require("./numbers.json").map(hashed)));
JS
"$folder/venv/bin/python" -W ignore - <<'PY'
import json
from hashlib import sha256

from facebook_business.adobjects.serverside.user_data import UserData

CANDIDATES = ("442079460958", "2079460958", "4155550123", "4402079460958", "49301234565", "415.555.0123")
TEXTS = {sha256(text.encode()).hexdigest(): text for text in CANDIDATES}


def hashed(number):
    try:
        return UserData(phone=number).normalize()["ph"]
    except ValueError:
        return "refused"


def text_of(value):
    value = value[0] if isinstance(value, list) else value
    return TEXTS.get(value, value)


with open("numbers.json") as numbers, open("node.json") as node:
    pairs = list(zip(json.load(numbers), json.load(node), strict=True))
table = {number: (text_of(hashed(number)), text_of(by_node)) for number, by_node in pairs}
for number, (python, node) in table.items():
    print(f"{number}: Python hashes {python}, Node hashes {node}")
assert table["+44 20 7946 0958"] == ("442079460958", "442079460958")
assert table["020 7946 0958"] == ("2079460958", "2079460958")
assert table["(415) 555-0123"] == ("4155550123", "4155550123")
assert table["+44 (0)20 7946 0958"] == ("4402079460958", "4402079460958")
assert table["+49 30 123456 ext 5"] == ("refused", "49301234565")
assert table["415.555.0123"] == ("refused", "415.555.0123")
PY
