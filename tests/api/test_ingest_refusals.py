"""A refusal counts whatever is wrong with the message that carries it."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from cdp.accounting.model import Outcome
from cdp.flows.consent.acts import ConsentStatement, record
from cdp.flows.consent.lookup import look_up
from cdp.kit.clock import TestClock
from cdp.kit.db import Database
from cdp.sources.model import SourceKind
from cdp.web.ingest.batch_retry import BatchProcessor
from cdp.wire.message import Invalid, Message
from tests.support.ingest_endpoint import IngestEndpoint, open_ingest_endpoint
from tests.support.messages import consent_context
from tests.support.people import NOON
from tests.support.policies import permit_all, shipped
from tests.support.waits import PATIENCE_SECONDS

pytestmark = pytest.mark.postgres

PERSON = ("user_id", "nb1")
REFUSAL = b'"userId":"nb1","context":{"consent":{"categoryPreferences":{"analytics":false}}}'


class Breakable:
    """A batch processor that fails for messages with a name."""

    def __init__(self, ingest: BatchProcessor) -> None:
        self._ingest = ingest

    def process(self, messages: Sequence[Message | Invalid]) -> list[Outcome]:
        if any(isinstance(message, Message) and "name" in message.body for message in messages):
            raise KeyError("name")
        return self._ingest.process(messages)

    def check(self, messages: Sequence[Message | Invalid]) -> None:
        if any(isinstance(message, Message) and "name" in message.body for message in messages):
            raise KeyError("name")
        self._ingest.check(messages)


@contextmanager
def opened(database: Database, folder: Path) -> Iterator[tuple[IngestEndpoint, httpx.Client]]:
    """An endpoint at which the person has consented to analytics."""
    with (
        open_ingest_endpoint(
            database, shipped(), folder, {"wk": SourceKind.SERVER}, clock=TestClock(NOON), between=Breakable
        ) as endpoint,
        httpx.Client(base_url=endpoint.url, headers={"x-write-key": "wk"}, timeout=PATIENCE_SECONDS) as client,
    ):
        statement = ConsentStatement(
            PERSON,
            "analytics",
            "grant",
            authority="authenticated",
            jurisdiction="eu",
            occurred_at=NOON - timedelta(days=60),
        )
        record(endpoint.context, statement)
        assert is_permitted(endpoint)
        yield endpoint, client


def is_permitted(endpoint: IngestEndpoint) -> bool:
    return look_up(endpoint.context, PERSON, NOON, actor="operator").verdicts["analytics"].allowed


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'{"type":"track","event":"E","properties":{"x":"\xff"},%s}', "text_not_unicode"),
        (b'{"type":"track","event":"E","properties":{"x":"\\ud800"},%s}', "malformed_json"),
        (b'{"type":"page","properties":' + b"[" * 5_000 + b"]" * 5_000 + b",%s}", "nested_too_deep"),
        (b'{"type":"page","properties":{"a":' + b'{"a":' * 40 + b"1" + b"}" * 41 + b",%s}", "nested_too_deep"),
        (b'{"type":"page","traits":{"x":oops},%s}', "malformed_json"),
        (b'{"type":"page","name":oops,%s}', "malformed_json"),
        (b'{"type":"page","x":"' + b"x" * 33_000 + b'",%s}', "message_too_large"),
        (b'{"type":"track",%s}', "event_missing"),
        (b'{"type":"visit",%s}', "type_unknown"),
        (b"{%s}", "type_missing"),
        (b'{"type":"page","messageId":[],%s}', "message_id_not_text"),
        (b'{"type":"page","anonymousId":{},%s}', "id_not_text"),
        (b'{"type":"page","anonymousId":"a\\u0000b",%s}', "id_holds_nul"),
        (b'{"type":"page","properties":"none",%s}', "field_not_an_object"),
        (b'{"type":"page","timestamp":"never",%s}', "timestamp_malformed"),
        (b'{"type":"page","name":"x",%s}', "unprocessable"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_it_counts_and_the_message_stays_invalid(database: Database, tmp_path: Path, text: bytes, reason: str) -> None:
    with opened(database, tmp_path) as (endpoint, client):
        answer = client.post("/v1/batch", content=b'{"batch":[' + text.replace(b"%s", REFUSAL) + b"]}")
        assert answer.status_code == 200
        assert endpoint.accounted() == {f"invalid {reason}": 1}
        assert not is_permitted(endpoint)


@pytest.mark.parametrize("number", [b"NaN", b"-Infinity", b"98765432109876543210", b"1e999"])
def test_it_counts_beside_a_number_that_json_does_not_have(database: Database, tmp_path: Path, number: bytes) -> None:
    text = b'{"batch":[{"type":"track","event":"E","properties":{"n":%s},' % number + REFUSAL + b"}]}"
    with opened(database, tmp_path) as (endpoint, client):
        assert client.post("/v1/batch", content=text).status_code == 200
        assert not endpoint.accounted().keys() & {"invalid malformed_json", "invalid number_out_of_range"}
        assert not is_permitted(endpoint)


@pytest.mark.parametrize("value", [b"no", b"NaN", b"98765432109876543210"])
def test_a_consent_field_that_cannot_be_read_refuses(database: Database, tmp_path: Path, value: bytes) -> None:
    text = b'{"batch":[{"type":"page","userId":"nb1","context":{"consent":{"categoryPreferences":{"analytics":%s}}}}]}'
    text = text % value
    with opened(database, tmp_path) as (endpoint, client):
        assert client.post("/v1/batch", content=text).status_code == 200
        assert endpoint.notices() == {"malformed_signal": 1}
        assert not is_permitted(endpoint)


def test_a_single_message_is_refused_and_its_refusal_counts(database: Database, tmp_path: Path) -> None:
    with opened(database, tmp_path) as (endpoint, client):
        answer = client.post("/v1/page", content=b'{"name":oops,' + REFUSAL + b"}")
        assert (answer.status_code, answer.json()["code"]) == (400, "malformed_json")
        assert not is_permitted(endpoint)


def test_what_the_batch_states_for_all_counts(database: Database, tmp_path: Path) -> None:
    text = b'{"context":%s,"batch":[{"type":"track","userId":"nb1"}]}'
    with opened(database, tmp_path) as (endpoint, client):
        context = json.dumps(consent_context(analytics=False)).encode()
        assert client.post("/v1/batch", content=text.replace(b"%s", context)).status_code == 200
        assert not is_permitted(endpoint)


def test_the_grants_of_an_invalid_message_do_not_count(database: Database, tmp_path: Path) -> None:
    text = b'{"batch":[{"type":"track","userId":"nb2","context":%s}]}'
    with opened(database, tmp_path) as (endpoint, client):
        context = json.dumps(consent_context(analytics=True)).encode()
        assert client.post("/v1/batch", content=text.replace(b"%s", context)).status_code == 200
        assert look_up(endpoint.context, ("user_id", "nb2"), NOON, actor="operator").records == ()


@pytest.mark.parametrize(
    "text",
    [
        b"{'userId':'nb1','context':{'consent':{'categoryPreferences':{'analytics':false}}}}",
        b'{"userId":nb1,"context":{"consent":{"categoryPreferences":{"analytics":false}}}}',
    ],
)
def test_a_refusal_that_cannot_be_read_is_answered_with_an_error(
    database: Database, tmp_path: Path, text: bytes
) -> None:
    good = b'{"type":"page","userId":"nb1","messageId":"good"}'
    with opened(database, tmp_path) as (endpoint, client):
        answer = client.post("/v1/batch", content=b'{"batch":[' + text + b"," + good + b"]}")
        assert (answer.status_code, answer.json()["code"]) == (400, "consent_unreadable")
        assert endpoint.accounted() == {"invalid malformed_json": 1, "stored": 1}


def test_an_unreadable_message_without_consent_is_only_counted(database: Database, tmp_path: Path) -> None:
    with opened(database, tmp_path) as (endpoint, client):
        assert client.post("/v1/batch", content=b"{\"batch\":[{'userId':'nb1'}]}").status_code == 200
        assert endpoint.accounted() == {"invalid malformed_json": 1}
        assert is_permitted(endpoint)


class Failing:
    """A batch processor that fails for whatever `fails` tells, in a way that content can cause."""

    def __init__(self, ingest: BatchProcessor, fails: Callable[[Message | Invalid], bool]) -> None:
        self._ingest = ingest
        self._fails = fails

    def process(self, messages: Sequence[Message | Invalid]) -> list[Outcome]:
        self._require(messages)
        return self._ingest.process(messages)

    def check(self, messages: Sequence[Message | Invalid]) -> None:
        self._require(messages)
        self._ingest.check(messages)

    def _require(self, messages: Sequence[Message | Invalid]) -> None:
        if any(map(self._fails, messages)):
            raise KeyError("of everybody")


def test_what_fails_for_every_message_is_a_failure_of_the_service(database: Database, tmp_path: Path) -> None:
    with (
        open_ingest_endpoint(
            database,
            shipped(),
            tmp_path,
            {"wk": SourceKind.SERVER},
            between=lambda ingest: Failing(ingest, lambda message: isinstance(message, Message)),
        ) as endpoint,
        httpx.Client(base_url=endpoint.url, headers={"x-write-key": "wk"}, timeout=PATIENCE_SECONDS) as client,
    ):
        answer = client.post("/v1/batch", json={"batch": [{"type": "page", "userId": "u1"}] * 2})
        assert (answer.status_code, answer.json()["code"]) == (503, "ingest_failed")
        assert int(answer.headers["retry-after"]) > 0
        assert endpoint.accounted() == {}


def test_a_refusal_that_cannot_be_stored_is_answered_with_an_error(database: Database, tmp_path: Path) -> None:
    def is_hers(message: Message | Invalid) -> bool:
        content = message.consents if isinstance(message, Invalid) else message
        return content is not None and content.body.get("userId") == "nb1"

    good = b'{"type":"page","userId":"nb2","messageId":"good"}'
    with (
        open_ingest_endpoint(
            database,
            permit_all(),
            tmp_path,
            {"wk": SourceKind.SERVER},
            between=lambda ingest: Failing(ingest, is_hers),
        ) as endpoint,
        httpx.Client(base_url=endpoint.url, headers={"x-write-key": "wk"}, timeout=PATIENCE_SECONDS) as client,
    ):
        answer = client.post("/v1/batch", content=b'{"batch":[{"type":"page",' + REFUSAL + b"}," + good + b"]}")
        assert (answer.status_code, answer.json()["code"]) == (400, "consent_unreadable")
        assert endpoint.accounted() == {"invalid consent_unprocessable": 1, "stored": 1}
