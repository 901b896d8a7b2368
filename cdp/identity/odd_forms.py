"""The reference page of identifiers: what each odd form of a value becomes, computed by reading it. Pure.

The forms are those that spreadsheets, databases, address books, templates and people write.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from cdp.identity.model import Identifier
from cdp.identity.normalize import IdentifierReader
from cdp.policy.identifiers import Identifiers

PAGE: Final = "identifiers.md"


class OddForm(NamedTuple):
    """A value as it is sent for a type, and where such values come from."""

    type: str
    sent: object
    origin: str


ODD_FORMS: Final = tuple(
    OddForm(type_, sent, origin)
    for type_, origin, values in (
        ("email", "capital letters, spaces", (" Bo@X.Example ",)),
        ("email", "a link", ("mailto:bo@x.example", "MAILTO:bo@x.example?subject=Hello", "bo%40x.example")),
        ("email", "an address book", ("Bo Lee <bo@x.example>", '"Lee, Bo" <bo@x.example>', "bo@x.example (Bo)", "<bo@x.example>")),
        ("email", "a mail server's directory", ("SMTP:bo@x.example",)),
        ("email", "a sentence or a list", ("bo@x.example.", "bo@x.example,", "bo@x.example;")),
        ("email", "quotes, a spreadsheet's mark for text", ('"bo@x.example"', "'bo@x.example", '"bo"@x.example')),
        ("email", "copied from a page (a space of no width)", ("\u200bbo@x.example",)),
        ("email", "a domain in another alphabet", ("bo@bücher.example", "bo@x.example。")),
        ("email", "one address twice", ("bo@x.example; bo@x.example", "bo@x.example <bo@x.example>")),
        ("email", "two addresses", ("ann@x.example;ann@y.example", "ann@x.example ann@y.example", "ann@x.example, ann@y.example", "ann@x.example or ann@y.example", "ann@x.example <ann@y.example>")),
        ("email", "not an address", ("di@@x.example", "di@x", "di.x.example", "@x.example", "di@192.0.2.1", "di@x..example", "di @x.example")),
        ("email", "nobody's address", ("none@none.com", "noreply@x.example", "test@test.com")),
        ("phone", "a national number, spaces and signs", ("(415) 555-0123", "1 415 555 0123", "+49 (0)30 123456", "tel:+1-415-555-0123")),
        ("phone", "a prefix for calls abroad", ("011 49 30 123456", "0049 30 123456")),
        ("phone", "a spreadsheet", ("4155550123.0", "'4155550123", 4155550123.0)),
        ("phone", "a number of which a spreadsheet kept some digits", ("4.15555E+09",)),
        ("phone", "a label", ("415 555 0123 (home)", "Mobile: 415 555 0123")),
        ("phone", "an extension, which other people do not share", ("+1 415 555 0123 ext. 22",)),
        ("phone", "too short or too long for its country", ("99", "555-0123", "123456789", "415 555 012 345")),
        ("phone", "two numbers", ("415 555 0123 / 415 555 0199", "415 555 0123; 415 555 0199")),
        ("phone", "typed where a number is required", ("111-111-1111", "0000000000")),
        ("user_id", "a column of whole numbers with gaps", ("12347.0", 12347.0, 12347)),
        ("user_id", "a number of which a spreadsheet kept some digits", ("1.23457E+11", 1.2345678901234567e20)),
        ("user_id", "quotes, a spreadsheet's mark for text", ('"A-17"', "'A-17", '="A-17"', "%22A-17%22")),
        ("user_id", "copied from a page (a mark of byte order)", ("\ufeffA-17",)),
        ("user_id", "a value that is not there", ("", "N/A", "#N/A", "n.a.", "(not set)", "NULL", "<null>", "\\N", "NaN", "undefined", "None", "not available", "-", "?", "0", "-1", "0.0", True)),
        ("user_id", "an error of a spreadsheet", ("#REF!", "#VALUE!", "#NV")),
        ("user_id", "a template that nobody filled", ("{{user.id}}", "${userId}", "%%user_id%%", "*|USER_ID|*", "[email]")),
        ("user_id", "a mistake of a program", ("[object Object]", "anonymous", "guest")),
        ("user_id", "an object or a list", ({"id": 17}, [17])),
        ("ios.idfa", "a device whose owner refused tracking", ("00000000-0000-0000-0000-000000000000",)),
        ("ios.idfa", "capital letters", ("AEBE52E7-03EE-455A-B3C4-E57283966239",)),
    )
    for sent in values
)  # fmt: skip


def pages(identifiers: Identifiers) -> Mapping[str, str]:
    """File name and text of the page under these rules, relative to docs/reference."""
    reader = IdentifierReader(identifiers)
    lines = [
        "<!-- Written by `cdp docs`. Change the code, then run it again. -->",
        "",
        "# Identifiers",
        "",
        "Every entry reads identifiers by the same rules: messages, files, link tables, look-ups and requests. A value is read as what is",
        "meant, or it is not an identifier. Then it links nobody, the message is stored under its other identifiers, and `cdp source accounting`",
        "counts it as `blocked_identifier` (it says that there is none) or `malformed_identifier` (it cannot be one). A look-up or a request that",
        "names such a value is refused with `invalid_identifier`, or with `invalid_request` if it is empty or not a string. A message is invalid as a",
        "whole (`id_not_text`) if its `userId`, `anonymousId`, `previousId` or `groupId` is a boolean, an object or a list.",
        "",
        f"Under the shipped [identifiers.yaml](policies-identifiers.md), whose default region is {identifiers.default_region}:",
        "",
        "| type | sent | becomes | where it comes from |",
        "|---|---|---|---|",
    ]
    for form in ODD_FORMS:
        outcome = reader.read(form.type, form.sent)
        becomes = f"`{outcome.value}`" if isinstance(outcome, Identifier) else f"{outcome.value.replace('_', ' ')}"
        lines.append(f"| `{form.type}` | {_shown(form.sent)} | {becomes} | {form.origin} |")
    lines += [
        "",
        "Earlier versions accepted some of these values. `cdp identity review` lists the stored identifiers that the present rules read",
        "differently, and `cdp identity accept` decides a case ([identity](../explanation/identity.md#evidence-and-operations)).",
    ]
    return {PAGE: "\n".join(lines) + "\n"}


def _shown(sent: object) -> str:
    """The value as text in a table; signs that cannot be seen by their code point."""
    text = repr(sent) if not isinstance(sent, str) else sent
    escaped = "".join(f"\\u{ord(sign):04x}" if sign in "\u200b\ufeff" else sign for sign in text)
    kind = "" if isinstance(sent, str) else f" ({_KINDS[type(sent)]})"
    return f"`` {escaped} ``{kind}".replace("|", "\\|") if escaped else "an empty text"


_KINDS: Final = {int: "number", float: "number", bool: "boolean", dict: "object", list: "list"}
