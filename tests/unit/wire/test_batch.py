"""Requests on the wire: batches and single messages, limits, and batches with one message that is no JSON."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp.wire.batch import MESSAGES_MAX, SHARED_BYTES_MAX, Envelope, read_batch, read_single
from cdp.wire.limits import InvalidReason
from cdp.wire.message import Invalid, Message
from cdp.wire.request_refusal import RequestRefused
from cdp.wire.salvage import Unbalanced, split_list, split_object
from tests.support import messages
from tests.support.people import WEB

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
GOOD = {"type": "page", "userId": "u1"}


def messages_of(read: Envelope | RequestRefused, write_key: str = "wk") -> list[Message | Invalid]:
    assert isinstance(read, Envelope), read
    return read.messages(WEB, NOW, write_key, has_gpc=False)


def states_of(body: bytes) -> list[str]:
    return [each.reason if isinstance(each, Invalid) else each.kind for each in messages_of(read_batch(body))]


def code_of(read: Envelope | RequestRefused) -> str:
    assert isinstance(read, RequestRefused)
    assert read.message
    return read.code


def batch(*bodies: object, **more: Any) -> bytes:
    return json.dumps(messages.batch(*bodies, **more)).encode()


def test_a_batch_is_read_in_order() -> None:
    envelope = read_batch(batch(GOOD, {"type": "track", "userId": "u", "event": "e"}, sentAt="x", writeKey="wk"))
    assert isinstance(envelope, Envelope)
    assert envelope.write_key == "wk"
    assert [m.kind for m in messages_of(envelope) if isinstance(m, Message)] == ["page", "track"]


def test_an_empty_batch_holds_nothing() -> None:
    assert messages_of(read_batch(b'{"batch": []}')) == []


def test_a_byte_order_mark_is_skipped() -> None:
    assert len(messages_of(read_batch(b"\xef\xbb\xbf" + batch(GOOD)))) == 1
    assert len(messages_of(read_single(b"\xef\xbb\xbf" + json.dumps(GOOD).encode(), "page"))) == 1


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b"\xff\xfe{\x00", "invalid_json"),
        (b'{"batch": [}', "invalid_json"),
        (b'{"batch": [{}]} x', "invalid_json"),
        (b'{"a": NaN}', "invalid_json"),
        (b"[" * 100_000, "not_an_object"),
        (b"{}", "batch_missing"),
        (b'{"batch": null}', "batch_missing"),
        (b'{"batch": {"a": 1}}', "batch_missing"),
        (b"[]", "not_an_object"),
        (b"5", "not_an_object"),
        (b'{"batch": [], "writeKey": 5}', "write_key_not_text"),
        (b'{"batch": [], "context": "x"}', "shared_not_an_object"),
        (b'{"batch": [], "integrations": [1]}', "shared_not_an_object"),
        (batch(context={"x": "a" * SHARED_BYTES_MAX}), "shared_not_an_object"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_request_without_anything_to_take_is_refused(body: bytes, code: str) -> None:
    assert code_of(read_batch(body)) == code


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b'{"x": NaN} x', "invalid_json"),
        (b'{"writeKey": NaN}', "invalid_json"),
        (b"[]", "not_an_object"),
        (b"null", "not_an_object"),
        (b'{"writeKey": 5}', "write_key_not_text"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_single_request_without_a_message_is_refused(body: bytes, code: str) -> None:
    assert code_of(read_single(body, "page")) == code


@pytest.mark.parametrize("value", [b"oops", b"[" * 5000 + b"]" * 5000], ids=["a word", "nested"])
def test_a_single_message_that_is_not_json_is_that_message_alone(value: bytes) -> None:
    envelope = read_single(b'{"writeKey": "wk", "userId": "u", "x": ' + value + b"}", "page")
    assert isinstance(envelope, Envelope)
    assert envelope.write_key == "wk"
    (message,) = messages_of(envelope)
    assert isinstance(message, Invalid)


def test_a_batch_of_2500_messages_is_taken_and_one_more_is_not() -> None:
    assert len(messages_of(read_batch(batch(*[GOOD] * MESSAGES_MAX)))) == MESSAGES_MAX
    assert code_of(read_batch(batch(*[GOOD] * (MESSAGES_MAX + 1)))) == "too_many_messages"


@pytest.mark.parametrize("absent", ["", None])
def test_an_empty_write_key_is_absent(absent: object) -> None:
    envelope = read_batch(batch(GOOD, writeKey=absent))
    assert isinstance(envelope, Envelope)
    assert envelope.write_key is None


@pytest.mark.parametrize(
    ("poison", "reason"),
    [
        (b'{"type":"page","userId":"u","properties":{"revenue":nan}}', InvalidReason.MALFORMED_JSON),
        (b'{"type":"page","userId":"u","name":"\\ud83d"}', InvalidReason.MALFORMED_JSON),
        (b'{"type":"page","userId":"u","name":"\x01"}', InvalidReason.MALFORMED_JSON),
        (b'{"type":"page","userId":"u",}', InvalidReason.MALFORMED_JSON),
        (b'{"type":"page","userId":"\xff"}', InvalidReason.TEXT_NOT_UNICODE),
        (b'{"a":' * 3000 + b"1" + b"}" * 3000, InvalidReason.NESTED_TOO_DEEP),
        (b'"' + b"a" * 33_000 + b'"', InvalidReason.MESSAGE_TOO_LARGE),
        (b"7", InvalidReason.NOT_AN_OBJECT),
        (b"null", InvalidReason.NOT_AN_OBJECT),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_one_message_that_is_poison_does_not_spoil_its_batch(poison: bytes, reason: InvalidReason) -> None:
    good = json.dumps({**GOOD, "name": 'a "b" \\ , ] } [ { '}).encode()
    assert states_of(b'{"batch": [' + good + b"," + poison + b", " + good + b' ],"sentAt":"x"}') == [
        "page",
        reason,
        "page",
    ]


def test_a_salvaged_batch_keeps_what_it_says_for_all() -> None:
    envelope = read_batch(
        b'{"sentAt":"2026-03-01T12:00:00Z","writeKey":"wk","context":{"locale":"de"},"integrations":{"All":true},'
        b'"batch":[{"type":"page","userId":oops},{"type":"page","userId":"u"}]}'
    )
    assert isinstance(envelope, Envelope)
    assert envelope.write_key == "wk"
    bad, good = messages_of(envelope)
    assert isinstance(bad, Invalid)
    assert isinstance(good, Message)
    assert good.body["sentAt"] == "2026-03-01T12:00:00Z"
    assert good.body["context"] == {"locale": "de"}
    assert good.body["integrations"] == {"All": True}


def test_a_key_that_disagrees_inside_a_batch_is_that_message_alone() -> None:
    read = messages_of(read_batch(batch(GOOD, {**GOOD, "writeKey": "other"}, {**GOOD, "writeKey": "wk"})))
    assert [isinstance(each, Message) for each in read] == [True, False, True]


def test_splitting_gives_up_on_endless_brackets() -> None:
    with pytest.raises(Unbalanced):
        split_list(b"[" + b"[]," * 300_000 + b"1]")


@pytest.mark.parametrize("text", [b"", b"x", b"{}", b"[", b"[1", b"[1}", b"[1] 2", b'["a]', b'["a\\"]', b"[{]}"])
def test_what_is_no_list_is_not_split(text: bytes) -> None:
    with pytest.raises(Unbalanced):
        split_list(text)


@pytest.mark.parametrize("text", [b"", b"[]", b"{1}", b'{"a"}', b'{"a":1', b"{,}"])
def test_what_is_no_object_is_not_split(text: bytes) -> None:
    with pytest.raises(Unbalanced):
        split_object(text)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.lists(values), st.sampled_from([None, 1]), st.booleans())
def test_splitting_a_list_gives_its_elements(elements: list[Any], indent: int | None, is_ascii: bool) -> None:
    text = json.dumps(elements, indent=indent, ensure_ascii=is_ascii).encode()
    assert [json.loads(part) for part in split_list(text)] == elements


@given(st.dictionaries(st.text(st.characters(codec="ascii", exclude_characters='"\\'), min_size=1), values))
def test_splitting_an_object_gives_its_entries(entries: dict[str, Any]) -> None:
    text = json.dumps(entries, ensure_ascii=False).encode()
    found = {json.loads(b'"' + name + b'"'): json.loads(part) for name, part in split_object(text).items()}
    assert found == entries


@given(st.binary(max_size=300) | st.text(alphabet='{}[]",: \\batch1').map(str.encode))
def test_whatever_bytes_come_they_are_an_envelope_or_refused(body: bytes) -> None:
    for read in (read_batch(body), read_single(body, "page")):
        assert isinstance(read, Envelope | RequestRefused)
        if isinstance(read, Envelope):
            assert all(isinstance(each, Message | Invalid) for each in read.messages(WEB, NOW, "wk", has_gpc=False))
