#!/bin/sh
# Node 20.20.2 with ICU 78.2 (Intl), babel 2.19.0, py-moneyed 3.0 and iso4217 1.16.20260101 (Python): the digits of a currency.
#
# Guess: the number of digits after the point is that of ISO 4217, so an amount in minor units means the same everywhere.
# Seen:
# - moneyed and iso4217 follow ISO 4217; Intl and babel follow the habits of display, and give the Hungarian forint, the
#   Colombian peso and the Indonesian rupiah no digits instead of two, the Iraqi dinar none instead of three;
# - Intl and babel do not agree either: the Pakistani rupee has none in Intl and two in babel;
# - so 1999 minor units of HUF are 19.99 or 1999: a factor of 100, of 1000 for IQD;
# - a refund printed by Intl in Norwegian or Swedish begins with U+2212; babel refuses that, and prints a hyphen itself.
# Consequence: amounts are exchanged as decimal numbers in the main unit with the code of the currency. A mapping that takes
# minor units names the list its digits come from, and never `Intl.NumberFormat(…).resolvedOptions()`.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check babel==2.19.0 py-moneyed==3.0 iso4217==1.16.20260101
cd "$folder"
node > intl.json <<'JS'
const digits = (currency) => new Intl.NumberFormat("en", { style: "currency", currency }).resolvedOptions().maximumFractionDigits;
const codes = ["EUR", "JPY", "HUF", "COP", "IDR", "IQD", "PKR"];
const printed = ["nb-NO", "sv-SE"].map((tag) => [tag, new Intl.NumberFormat(tag).format(-12.5)]);
console.log(JSON.stringify({ digits: Object.fromEntries(codes.map((code) => [code, digits(code)])), printed }));
JS
"$folder/venv/bin/python" -W ignore - <<'PY'
import json
from decimal import Decimal

import moneyed
from babel.numbers import NumberFormatError, format_decimal, get_currency_precision, parse_decimal
from iso4217 import Currency

with open("intl.json") as file:
    intl = json.load(file)
table = {
    code: (Currency(code).exponent, len(str(moneyed.get_currency(code).sub_unit)) - 1, digits, get_currency_precision(code))
    for code, digits in intl["digits"].items()
}
print("code: iso4217, moneyed, Intl, babel; 1999 minor units by ISO and by Intl")
for code, digits in table.items():
    print(f"{code}: {digits}; {Decimal(1999).scaleb(-digits[0])}, {Decimal(1999).scaleb(-digits[2])}")
refunds = {}
for tag, text in intl["printed"]:
    locale = tag.replace("-", "_")
    try:
        parse_decimal(text, locale=locale)
        refunds[tag] = "read"
    except NumberFormatError:
        refunds[tag] = "refused"
    own = format_decimal(Decimal("-12.5"), locale=locale)
    print(f"{tag}: Intl prints {text!a}, babel prints {own!a} and has {refunds[tag]} the former")
assert table["EUR"] == (2, 2, 2, 2) and table["JPY"] == (0, 0, 0, 0)
assert table["HUF"] == table["COP"] == table["IDR"] == (2, 2, 0, 0)
assert table["IQD"] == (3, 3, 0, 0) and table["PKR"] == (2, 2, 0, 2)
assert [text[0] for _, text in intl["printed"]] == ["\u2212"] * 2 and set(refunds.values()) == {"refused"}
PY
