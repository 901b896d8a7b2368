"""Messages of a queue: one, a batch, or what cannot be read."""

import gzip
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from cdp.wire.frame import Frame, Queued
from cdp.wire.message import Invalid, Message
from cdp.wire.queued import read_queued
from tests.support.people import NOON, SHOP

PUT_AT = datetime(2026, 4, 1, tzinfo=UTC)
FRAME = Frame(SHOP, NOON)


def read(body: bytes, *, message_id: str = "q-1", put_at: datetime | None = None) -> list[Message | Invalid]:
    return read_queued(body, FRAME, Queued(message_id, put_at))


def one(body: Any, **more: Any) -> Message:
    [message] = read(json.dumps(body).encode(), **more)
    assert isinstance(message, Message)
    return message


def invalid(body: bytes) -> Invalid:
    [found] = read(body)
    assert isinstance(found, Invalid)
    return found


TRACK = {"type": "track", "event": "Seen", "userId": "u1"}


def test_a_message_keeps_its_id_and_otherwise_has_that_of_the_queue() -> None:
    assert one({**TRACK, "messageId": "m"}).message_id == "m"
    assert one(TRACK).message_id == "q-1"
    batch = read(json.dumps({"batch": [TRACK, {**TRACK, "messageId": "m"}, TRACK]}).encode())
    assert [part.message_id for part in batch if isinstance(part, Message)] == ["q-1-0", "m", "q-1-2"]


def test_the_digest_of_a_message_is_that_of_one_that_is_sent() -> None:
    dated = {**TRACK, "timestamp": "2026-05-01T10:00:00Z"}
    assert one(dated).body_digest == one(dated, put_at=PUT_AT).body_digest
    assert one(TRACK).body_digest == one(TRACK, put_at=PUT_AT).body_digest


@pytest.mark.parametrize("key", ["timestamp", "originalTimestamp"])
def test_sent_at_does_not_correct_the_time(key: str) -> None:
    message = one({**TRACK, key: "2026-05-01T10:00:00Z", "sentAt": "2026-05-01T10:00:05Z"}, put_at=PUT_AT)
    assert message.occurred_at == datetime(2026, 5, 1, 10, tzinfo=UTC)
    assert message.body["sentAt"] == "2026-05-01T10:00:05Z"


def test_a_message_without_a_time_happened_when_it_was_put_there() -> None:
    assert one(TRACK, put_at=PUT_AT).occurred_at == PUT_AT
    assert one(TRACK).occurred_at == NOON
    assert one(TRACK, put_at=NOON.replace(year=2030)).occurred_at == NOON


def test_what_a_batch_states_holds_for_its_messages() -> None:
    body = {"batch": [TRACK], "context": {"ip": "0.0.0.0"}, "sentAt": "2026-05-01T10:00:00Z"}
    assert one(body).body["context"] == {"ip": "0.0.0.0"}


def test_a_body_may_be_compressed_and_may_begin_with_a_mark() -> None:
    text = json.dumps(TRACK).encode()
    for body in (gzip.compress(text), b"\xef\xbb\xbf" + text):
        [message] = read(body)
        assert isinstance(message, Message)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "malformed_json"),
        (b"{", "malformed_json"),
        (b"[]", "not_an_object"),
        (b'"text"', "not_an_object"),
        (b'{"batch": 1}', "not_an_object"),
        (b'{"batch": [], "context": 1}', "field_not_an_object"),
        (json.dumps({"batch": [TRACK] * 2501}).encode(), "batch_too_large"),
        (b" " * (SHOP.request_bytes_max + 1), "batch_too_large"),
        (gzip.compress(b" " * (SHOP.request_bytes_max + 1)), "batch_too_large"),
        (b"\x1f\x8bnot gzip", "malformed_json"),
        (json.dumps({**TRACK, "type": "seen"}).encode(), "type_unknown"),
        (json.dumps({**TRACK, "properties": {"text": "x" * 40_000}}).encode(), "message_too_large"),
    ],
)
def test_what_cannot_be_read_is_one_invalid_message(body: bytes, reason: str) -> None:
    assert invalid(body).reason == reason


def test_a_broken_message_does_not_cost_its_batch() -> None:
    good = json.dumps(TRACK)
    found = read(f'{{"batch": [{good}, {{"a": \\u0000}}, {good}]}}'.encode())
    assert [type(part) for part in found] == [Message, Invalid, Message]


def test_a_refusal_that_cannot_be_read_is_known_to_be_missing() -> None:
    assert invalid(b'{"userId": "u1", "context": {"consent": {').is_unread
    assert invalid(b"\x1f\x8bnot gzip").is_unread
    assert not invalid(b'{"userId": "u1"').is_unread


def test_a_refusal_counts_at_its_own_time() -> None:
    consent = {"consent": {"categoryPreferences": {"email_marketing": False}}}
    body = {
        "type": "?",
        "userId": "u1",
        "context": consent,
        "timestamp": "2026-05-01T10:00:00Z",
        "sentAt": "2026-05-02T10:00:00Z",
    }
    consents = invalid(json.dumps(body).encode()).consents
    assert consents is not None
    assert consents.occurred_at == datetime(2026, 5, 1, 10, tzinfo=UTC)


def test_the_limit_is_that_of_the_source() -> None:
    frame = replace(FRAME, source=replace(SHOP, request_bytes_max=100))
    [found] = read_queued(json.dumps(TRACK).encode() + b" " * 100, frame, Queued("q"))
    assert isinstance(found, Invalid)
