"""One message on the wire: what unmodified clients send is taken, what cannot be understood says why."""

import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp.wire.frame import BatchDefaults, Frame
from cdp.wire.limits import InvalidReason
from cdp.wire.message import Invalid, Message
from cdp.wire.segment_spec import (
    EXPLANATIONS,
    MESSAGE_BYTES_MAX,
    explain,
    read_message,
)
from tests.support import messages
from tests.support.people import NOON, WEB

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
FRAME = Frame(WEB, NOW)


def read(body: object, frame: Frame = FRAME) -> Message | Invalid:
    return read_message(body if isinstance(body, bytes) else json.dumps(body).encode(), frame)


def understood(body: object, frame: Frame = FRAME) -> Message:
    message = read(body, frame)
    assert isinstance(message, Message), message
    return message


def reason_of(body: object, frame: Frame = FRAME) -> str:
    invalid = read(body, frame)
    assert isinstance(invalid, Invalid)
    assert invalid.source == WEB
    return invalid.reason


def track(**more: Any) -> dict[str, Any]:
    return {**messages.order(userId="u1", messageId="m1"), **more}


def test_a_track_message_is_understood() -> None:
    message = understood(track(properties={"revenue": 19.99}, timestamp="2026-03-01T11:00:00Z"))
    assert (message.kind, message.message_id, message.source) == ("track", "m1", WEB)
    assert message.occurred_at == datetime(2026, 3, 1, 11, tzinfo=UTC)
    assert message.received_at == NOW
    assert message.body["properties"] == {"revenue": 19.99}
    assert not message.has_gpc


@pytest.mark.parametrize("absent", [None, ""])
@pytest.mark.parametrize("key", ["anonymousId", "groupId", "previousId"])
def test_null_and_empty_ids_are_absent(key: str, absent: object) -> None:
    assert key not in understood(track(**{key: absent})).body


@pytest.mark.parametrize(
    ("sent", "text"), [(12345, "12345"), (12345.0, "12345"), (1.5, "1.5"), (2**63 - 1, str(2**63 - 1)), (0, "0")]
)
def test_numeric_ids_become_text(sent: object, text: str) -> None:
    body = understood(track(userId=sent, messageId=sent)).body
    assert (body["userId"], body["messageId"]) == (text, text)


@pytest.mark.parametrize("wrong", [True, [], ["u1"], {"id": "u1"}])
@pytest.mark.parametrize("key", ["userId", "anonymousId", "previousId", "groupId"])
def test_ids_of_another_type_are_invalid(key: str, wrong: object) -> None:
    assert reason_of(track(**{key: wrong})) == InvalidReason.ID_NOT_TEXT


def test_a_message_id_of_another_type_is_invalid() -> None:
    assert reason_of(track(messageId={"a": 1})) == InvalidReason.MESSAGE_ID_NOT_TEXT


@pytest.mark.parametrize("missing", [None, "", ...])
def test_a_missing_message_id_gets_a_random_one(missing: object) -> None:
    body = track()
    if missing is ...:
        del body["messageId"]
    else:
        body["messageId"] = missing
    ids = {understood(dict(body)).message_id for _ in range(50)}
    assert len(ids) == 50
    assert all(each.startswith("msg_") for each in ids)


def test_nul_in_an_identifier_is_invalid_and_elsewhere_it_is_kept() -> None:
    assert reason_of(track(userId="a\x00b")) == InvalidReason.ID_HOLDS_NUL
    assert reason_of(track(anonymousId="\x00")) == InvalidReason.ID_HOLDS_NUL
    message = understood(track(event="x\x00y", properties={"note": "a\x00b 👩‍👧 Áda"}))
    assert message.body["properties"]["note"] == "a\x00b 👩‍👧 Áda"


def test_emoji_in_an_identifier_is_kept() -> None:
    assert understood(track(userId="👩🏽‍🚀")).body["userId"] == "👩🏽‍🚀"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ([1, 2], InvalidReason.NOT_AN_OBJECT),
        ("text", InvalidReason.NOT_AN_OBJECT),
        (None, InvalidReason.NOT_AN_OBJECT),
        ({"userId": "u1"}, InvalidReason.TYPE_MISSING),
        ({"userId": "u1", "type": None}, InvalidReason.TYPE_MISSING),
        ({"userId": "u1", "type": "Track"}, InvalidReason.TYPE_UNKNOWN),
        ({"userId": "u1", "type": ["track"]}, InvalidReason.TYPE_UNKNOWN),
        ({"userId": "u1", "type": 5}, InvalidReason.TYPE_UNKNOWN),
        ({"type": "identify", "traits": {"email": "a@example.com"}}, InvalidReason.ID_MISSING),
        ({"type": "track", "event": "orphan"}, InvalidReason.ID_MISSING),
        ({"type": "track", "userId": "u1"}, InvalidReason.EVENT_MISSING),
        ({"type": "track", "userId": "u1", "event": " "}, InvalidReason.EVENT_MISSING),
        ({"type": "track", "userId": "u1", "event": 5}, InvalidReason.EVENT_MISSING),
        ({"type": "group", "userId": "u1"}, InvalidReason.GROUP_ID_MISSING),
        ({"type": "alias", "userId": "u1"}, InvalidReason.PREVIOUS_ID_MISSING),
        ({"type": "page", "userId": "u1", "properties": "x"}, InvalidReason.FIELD_NOT_AN_OBJECT),
        ({"type": "identify", "userId": "u1", "traits": [1]}, InvalidReason.FIELD_NOT_AN_OBJECT),
        ({"type": "page", "userId": "u1", "context": 5}, InvalidReason.FIELD_NOT_AN_OBJECT),
        ({"type": "page", "userId": "u1", "timestamp": "yesterday"}, InvalidReason.TIMESTAMP_MALFORMED),
        ({"type": "page", "userId": "u1", "timestamp": 1700000000}, InvalidReason.TIMESTAMP_MALFORMED),
        ({"type": "page", "userId": "u1", "originalTimestamp": ["x"]}, InvalidReason.TIMESTAMP_MALFORMED),
    ],
)
def test_what_cannot_be_understood_is_invalid_with_a_reason(body: object, reason: InvalidReason) -> None:
    assert reason_of(body) == reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'{"type":"page","userId":"u1","properties":{"x":NaN,"y":"\\ud800"}}', InvalidReason.MALFORMED_JSON),
        (b'{"type":"page","userId":"u1","properties":{"x":NaN,}}', InvalidReason.MALFORMED_JSON),
        (b'{"type":"page","userId":"u1","properties":{"x":"\\ud800"}}', InvalidReason.MALFORMED_JSON),
        (b'{"type":"page","userId":"\xff"}', InvalidReason.TEXT_NOT_UNICODE),
        (
            b'{"type":"page","userId":"u1","properties":{"x":' + b"[" * 33 + b"]" * 33 + b"}}",
            InvalidReason.NESTED_TOO_DEEP,
        ),
        (
            b'{"type":"page","userId":"u1","properties":{"x":' + b"[" * 5000 + b"]" * 5000 + b"}}",
            InvalidReason.NESTED_TOO_DEEP,
        ),
        (b"", InvalidReason.MALFORMED_JSON),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_poison_is_invalid_with_a_reason(text: bytes, reason: InvalidReason) -> None:
    assert reason_of(text) == reason


@pytest.mark.parametrize(
    "number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "98765432109876543210", "-" + "9" * 40, "9" * 6000]
)
def test_a_number_that_json_or_the_store_does_not_have_is_its_text(number: str) -> None:
    text = f'{{"type":"page","userId":"u1","properties":{{"x":[{{"y":{number}}}],"z":20}}}}'.encode()
    found = read_message(text, Frame(WEB, NOON))
    assert isinstance(found, Message)
    assert found.body["properties"] == {"x": [{"y": number}], "z": 20}


def test_wide_messages_and_long_digits_in_text_are_no_poison() -> None:
    assert len(understood(track(properties={"items": [{}] * 100})).body["properties"]["items"]) == 100
    assert understood(track(properties={"card": "9" * 30})).body["properties"]["card"] == "9" * 30


def test_of_equal_names_the_last_wins() -> None:
    assert understood(b'{"type":"page","userId":"u1","userId":"u2"}').body["userId"] == "u2"


def test_a_message_of_32_kib_is_taken_and_one_byte_more_is_not() -> None:
    empty = len(json.dumps(track(properties={"x": ""})))
    assert isinstance(read(track(properties={"x": "a" * (MESSAGE_BYTES_MAX - empty)})), Message)
    assert reason_of(track(properties={"x": "a" * (MESSAGE_BYTES_MAX - empty + 1)})) == InvalidReason.MESSAGE_TOO_LARGE


def test_external_ids_are_enough_to_say_who() -> None:
    ids = [{"id": "c1", "type": "customer", "collection": "users", "encoding": "none"}]
    assert understood({"type": "page", "context": {"externalIds": ids}}).kind == "page"
    assert reason_of({"type": "page", "context": {"externalIds": []}}) == InvalidReason.ID_MISSING


def test_nulls_and_empty_lists_where_objects_belong_are_tolerated() -> None:
    body = understood(track(context=None, traits=[], properties=None)).body
    assert body["traits"] == {}
    assert "context" not in body
    assert "properties" not in body


def test_what_a_batch_says_is_merged_and_the_message_wins() -> None:
    shared = BatchDefaults({"library": {"name": "a"}, "locale": "de"}, {"All": True, "X": False})
    message = understood(track(context={"locale": "en"}, integrations={"X": True}), Frame(WEB, NOW, shared=shared))
    assert message.body["context"] == {"library": {"name": "a"}, "locale": "en"}
    assert message.body["integrations"] == {"All": True, "X": True}
    bare = understood(track(), Frame(WEB, NOW, shared=shared))
    assert bare.body["context"] == {"library": {"name": "a"}, "locale": "de"}
    odd = understood(track(integrations=False), Frame(WEB, NOW, shared=shared))
    assert odd.body["integrations"] is False


def test_the_path_gives_the_type() -> None:
    frame = Frame(WEB, NOW, kind="page")
    assert understood({"userId": "u1"}, frame).kind == "page"
    assert understood({"userId": "u1", "type": "track"}, frame).body["type"] == "page"


def test_self_alias_and_unknown_keys_are_tolerated() -> None:
    message = understood(
        {"type": "alias", "userId": "u1", "previousId": "u1", "channel": "web", "_metadata": {"bundled": []}, "odd": 1}
    )
    assert message.body["previousId"] == "u1"
    assert message.body["odd"] == 1


def test_a_write_key_in_a_message_must_be_that_of_the_request_and_is_not_kept() -> None:
    frame = Frame(WEB, NOW, write_key="wk")
    assert reason_of(track(writeKey="other"), frame) == InvalidReason.WRITE_KEY_DISAGREES
    assert "writeKey" not in understood(track(writeKey="wk"), frame).body
    assert understood(track(writeKey=None), frame).kind == "track"


def test_a_retry_has_the_same_digest_and_another_body_has_not() -> None:
    first = understood(track(sentAt="2026-03-01T11:59:00Z", _metadata={"retryCount": 0}))
    again = understood(
        {"sentAt": "2026-03-01T11:59:30Z", **track(_metadata={"retryCount": 1}, writeKey="wk")},
        Frame(WEB, NOW, write_key="wk", shared=BatchDefaults({"library": {}}), sent_at="2026-03-01T11:59:31Z"),
    )
    assert first.body_digest == again.body_digest
    assert len(first.body_digest) == 32
    assert understood(track(properties={"a": 1})).body_digest != first.body_digest


def test_the_same_message_has_one_digest_on_either_path() -> None:
    alone = track()
    del alone["type"]
    assert understood(alone, Frame(WEB, NOW, kind="track")).body_digest == understood(track()).body_digest


def test_the_time_of_the_batch_is_kept_with_the_message() -> None:
    frame = Frame(WEB, NOW, sent_at="2026-03-01T11:00:00Z")
    assert understood(track(), frame).body["sentAt"] == "2026-03-01T11:00:00Z"
    own = understood(track(sentAt="2026-03-01T10:00:00Z", timestamp="2026-03-01T09:00:00Z"), frame)
    assert own.body["sentAt"] == "2026-03-01T10:00:00Z"
    assert own.occurred_at == datetime(2026, 3, 1, 11, tzinfo=UTC)


def test_gpc_of_the_request_is_a_fact_of_each_message() -> None:
    assert understood(track(), Frame(WEB, NOW, has_gpc=True)).has_gpc


def test_every_reason_is_explained() -> None:
    assert set(EXPLANATIONS) == set(InvalidReason)
    assert explain("expired") == "The message is older than the retention period of its class."
    assert explain("something_of_the_flow")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
message_keys = st.sampled_from(
    [
        "type",
        "event",
        "userId",
        "anonymousId",
        "previousId",
        "groupId",
        "messageId",
        "timestamp",
        "originalTimestamp",
        "sentAt",
        "context",
        "properties",
        "traits",
        "integrations",
        "writeKey",
        "_metadata",
    ]
)


@given(
    st.dictionaries(
        message_keys,
        json_values | st.sampled_from(["track", "page", "alias", "2026-01-01", "9999-12-31T23:59:59-14:00"]),
    )
)
def test_whatever_an_object_holds_it_is_a_message_or_invalid(body: dict[str, Any]) -> None:
    """Never an exception; times are aware, never in the future; ids are text or absent."""
    result = read(json.dumps(body).encode())
    if isinstance(result, Invalid):
        assert result.reason in set(InvalidReason)
        return
    assert result.occurred_at.tzinfo is not None
    assert result.occurred_at <= NOW
    for key in ("userId", "anonymousId", "previousId", "groupId"):
        assert isinstance(result.body.get(key, "-"), str)
        assert result.body.get(key) != ""
    assert not any(isinstance(value, float) and not math.isfinite(value) for value in result.body.values())


@given(st.binary(max_size=200))
def test_whatever_bytes_come_they_are_a_message_or_invalid(text: bytes) -> None:
    assert isinstance(read(text), Message | Invalid)
