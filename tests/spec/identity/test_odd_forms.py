"""What each odd form of an identifier becomes: the table of docs/reference/identifiers.md, stated a second time."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp.identity.model import Identifier, Ignored
from cdp.identity.normalize import IdentifierReader
from cdp.identity.odd_forms import ODD_FORMS, PAGE, pages
from cdp.policy.identifiers import EmailFolding, Identifiers
from cdp.wire.frame import Frame
from cdp.wire.limits import InvalidReason
from cdp.wire.message import Invalid, Message
from cdp.wire.segment_spec import read_message
from tests.support.people import WEB
from tests.support.policies import ROOT, shipped

BO = "bo@x.example"
CALIFORNIA = "+14155550123"

MEANT: dict[str, dict[str, list[object]]] = {
    "email": {
        BO: [
            " Bo@X.Example ", "mailto:bo@x.example", "MAILTO:bo@x.example?subject=Hello", "bo%40x.example", "Bo Lee <bo@x.example>",
            '"Lee, Bo" <bo@x.example>', "bo@x.example (Bo)", "<bo@x.example>", "SMTP:bo@x.example", "bo@x.example.", "bo@x.example,",
            "bo@x.example;", '"bo@x.example"', "'bo@x.example", '"bo"@x.example', "\u200bbo@x.example", "bo@x.example。",
            "bo@x.example; bo@x.example", "bo@x.example <bo@x.example>", "[bo@x.example](mailto:bo@x.example)",
            "<mailto:bo@x.example|bo@x.example>", "email: bo@x.example", "mailto:bo%40x.example",
        ],
        "bo@xn--bcher-kva.example": ["bo@bücher.example", "bo@xn--bcher-kva.example"],
        "o'brien@x.example": ["o'brien@x.example", "'o'brien@x.example'"],
        "jörg@x.example": ["Jörg@x.example", "jo\u0308rg@x.example"],
        "bo+news@x.example": ["bo+news@x.example"],
    },
    "phone": {
        CALIFORNIA: [
            "(415) 555-0123", "1 415 555 0123", "tel:+1-415-555-0123", "4155550123.0", "'4155550123", 4155550123.0, 4155550123,
            "415 555 0123 (home)", "Mobile: 415 555 0123", "+1 (415) 555-0123.", "\u202a+14155550123\u202c",
        ],
        "+4930123456": ["+49 (0)30 123456", "011 49 30 123456", "0049 30 123456"],
        "+14155550123;ext=22": ["+1 415 555 0123 ext. 22", "+14155550123;ext=22"],
        "+18003569377": ["1-800-FLOWERS"],
        "+11234567890": ["123-456-7890"],
    },
    "user_id": {
        "12347": ["12347.0", 12347.0, 12347, "12347", "12347.00"],
        "A-17": ['"A-17"', "'A-17", '="A-17"', "%22A-17%22", "\ufeffA-17", " A-17 "],
        "1.0.0": ["1.0.0"],
        "1E10": ["1E10"],
        "👩🏽‍🚀": ["👩🏽‍🚀"],
        "{3f2504e0-4f89-11d3-9a0c-0305e82c3301}": ["{3f2504e0-4f89-11d3-9a0c-0305e82c3301}"],
    },
    "ios.idfa": {"aebe52e7-03ee-455a-b3c4-e57283966239": ["AEBE52E7-03EE-455A-B3C4-E57283966239"]},
}  # fmt: skip
"""By type and normalized value, the forms in which it is sent."""

IGNORED: dict[str, dict[Ignored, list[object]]] = {
    "email": {
        Ignored.MALFORMED: [
            "ann@x.example;ann@y.example", "ann@x.example ann@y.example", "ann@x.example, ann@y.example", "ann@x.example or ann@y.example",
            "ann@x.example <ann@y.example>", "ann@x.example/ann@y.example", "di@@x.example", "di@x", "di.x.example", "@x.example",
            "di@192.0.2.1", "di@x..example", "di @x.example", "Di di@x.example", "di(at)x.example", "di@x_y.example",
        ],
        Ignored.BLOCKED: ["none@none.com", "noreply@x.example", "test@test.com", "N/A", "#N/A", "null@null.null"],
    },
    "phone": {
        Ignored.MALFORMED: [
            "4.15555E+09", "99", "555-0123", "123456789", "415 555 012 345", "415 555 0123 / 415 555 0199",
            "415 555 0123; 415 555 0199", "call me",
        ],
        Ignored.BLOCKED: ["111-111-1111", "0000000000", "none"],
    },
    "user_id": {
        Ignored.MALFORMED: ["1.23457E+11", 1.2345678901234567e20, {"id": 17}, [17]],
        Ignored.BLOCKED: [
            "", "N/A", "#N/A", "n.a.", "(not set)", "NULL", "<null>", "\\N", "NaN", "undefined", "None", "not available", "-", "?", "0",
            "-1", "0.0", True, "#REF!", "#VALUE!", "#NV", "{{user.id}}", "${userId}", "%%user_id%%", "*|USER_ID|*", "[email]",
            "[object Object]", "anonymous", "guest", '"N/A"', " n/a ", "(NONE)", "--", "...", "keine Angabe",
        ],
    },
    "ios.idfa": {Ignored.BLOCKED: ["00000000-0000-0000-0000-000000000000"]},
}  # fmt: skip
"""By type and reason, forms that are no identifier."""


@pytest.fixture(scope="module")
def reader() -> IdentifierReader:
    return IdentifierReader(shipped().identifiers)


@pytest.mark.parametrize(
    ("type_", "sent", "value"),
    [(type_, sent, value) for type_, meant in MEANT.items() for value, forms in meant.items() for sent in forms],
)
def test_what_is_one_identifier_is_read_as_one(reader: IdentifierReader, type_: str, sent: object, value: str) -> None:
    assert reader.read(type_, sent) == Identifier(type_, value)


@pytest.mark.parametrize(
    ("type_", "sent", "reason"),
    [(type_, sent, why) for type_, ignored in IGNORED.items() for why, forms in ignored.items() for sent in forms],
)
def test_what_is_no_identifier_is_ignored(reader: IdentifierReader, type_: str, sent: object, reason: Ignored) -> None:
    assert reader.read(type_, sent) is reason


@pytest.mark.parametrize(
    ("sent", "meaning"),
    [
        *((sent, value) for value, forms in MEANT["user_id"].items() for sent in forms),
        *((sent, why) for why, forms in IGNORED["user_id"].items() for sent in forms),
        (2.0**53, Ignored.MALFORMED),
        (-(2.0**53), Ignored.MALFORMED),
        (2.0**53 - 1, "9007199254740991"),
        (2**63 - 1, "9223372036854775807"),
    ],
)
def test_the_id_of_a_message_is_read_as_the_reference_says(
    reader: IdentifierReader, sent: object, meaning: str | Ignored
) -> None:
    """What is neither text nor a number makes the message invalid, as the page says."""
    body = {"type": "track", "event": "Seen", "anonymousId": "a1", "userId": sent}
    message = read_message(json.dumps(body).encode(), Frame(WEB, datetime(2026, 3, 1, tzinfo=UTC)))
    if isinstance(sent, (bool, dict, list)):
        assert isinstance(message, Invalid)
        assert message.reason == InvalidReason.ID_NOT_TEXT
        return
    assert isinstance(message, Message)
    promoted = reader.promote(message.body)
    user_ids = [identifier.value for identifier in promoted.identifiers if identifier.type == "user_id"]
    if isinstance(meaning, Ignored):
        assert (user_ids, list(promoted.ignored)) == ([], [] if sent == "" else [(meaning, "user_id")])
    else:
        assert (user_ids, list(promoted.ignored)) == ([meaning], [])


def test_every_row_of_the_reference_is_stated_here() -> None:
    stated = {(type_, repr(sent)) for type_, meant in MEANT.items() for forms in meant.values() for sent in forms}
    stated |= {
        (type_, repr(sent)) for type_, ignored in IGNORED.items() for forms in ignored.values() for sent in forms
    }
    assert {(form.type, repr(form.sent)) for form in ODD_FORMS} <= stated


def test_the_reference_is_what_the_shipped_policy_reads() -> None:
    assert (ROOT / "docs" / "reference" / PAGE).read_text(encoding="utf-8") == pages(shipped().identifiers)[PAGE]


PARTS = [
    "bo",
    "@",
    "x.example",
    "mailto:",
    "<",
    ">",
    "(",
    ")",
    '"',
    "'",
    ";",
    ",",
    " ",
    ".",
    "%40",
    "?",
    "ü",
    "\u200b",
    "12347",
    ".0",
    "E+11",
    "=",
]


@given(
    st.sampled_from(["email", "phone", "user_id", "ios.idfa"]),
    st.lists(st.sampled_from(PARTS), max_size=8) | st.lists(st.characters(), max_size=20),
)
def test_a_normalized_value_is_read_as_itself(type_: str, parts: list[str]) -> None:
    """So a stored value that reads differently was stored under other rules."""
    for folding in (EmailFolding.OFF, EmailFolding.PLUS_AND_DOTS):
        rules = shipped().identifiers.model_copy(update={"email_folding": folding})
        once = IdentifierReader(rules).read(type_, "".join(parts))
        if isinstance(once, Identifier):
            assert IdentifierReader(rules).read(type_, once.value) == once


@given(st.integers(1, 10**15), st.sampled_from(["+", "", "00", "+49", "+1"]), st.sampled_from(["US", "DE", "IT", "GB"]))
def test_a_normalized_telephone_number_is_read_as_itself(digits: int, prefix: str, region: str) -> None:
    rules: Identifiers = shipped().identifiers.model_copy(update={"default_region": region})
    once = IdentifierReader(rules).read("phone", f"{prefix}{digits}")
    if isinstance(once, Identifier):
        assert IdentifierReader(rules).read("phone", once.value) == once
