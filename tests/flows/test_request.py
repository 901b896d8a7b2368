"""Subject requests: deadlines, ends, faults, receipts, and that no answer tells who exists."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cdp.audit.checkpoint import parse_vkey
from cdp.audit.verify import Unverified, Verified, verify_receipt
from cdp.flows.rights import requests
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from cdp.rights.model import Status
from cdp.vault.sign import is_signed
from tests.support.people import ADA
from tests.support.policies import permit_all
from tests.support.requests import RequestPipeline, open_request_pipeline

pytestmark = pytest.mark.postgres


@pytest.fixture
def rights(database: Database, tmp_path: Path) -> RequestPipeline:
    return open_request_pipeline(database, permit_all(), tmp_path)


def opened(rights: RequestPipeline, kind: str = "erasure", regime: str = "gdpr") -> Any:
    return requests.open_request(
        rights.context, kind=kind, regime=regime, identifiers=[("user_id", "ada")], now=rights.pipeline.clock.now()
    )


def test_deadlines_are_stored_with_the_request(rights: RequestPipeline) -> None:
    european, californian = opened(rights), opened(rights, "opt-out", "ccpa")
    assert european.due_at == datetime(2026, 7, 1, 12, tzinfo=UTC)
    assert californian.due_at == datetime(2026, 6, 22, 12, tzinfo=UTC)
    assert requests.listing(rights.context) == [european, californian], "the one that is still open comes first"
    assert californian.status is Status.FULFILLED
    extended = requests.extend(rights.context, european.request_id, rights.pipeline.clock.now())
    assert requests.listing(rights.context, "received") == [extended]
    assert extended.due_at == datetime(2026, 9, 1, 12, tzinfo=UTC)


def test_what_is_named_lies_sealed(rights: RequestPipeline) -> None:
    opened(rights)
    assert (
        rights.pipeline.one("SELECT count(*) FROM rights.request_identifier WHERE position('ada'::bytea IN sealed) > 0")
        == 0
    )
    request = requests.listing(rights.context)[0]
    shown = requests.show(rights.context, request.request_id)
    assert [(each.type, each.value) for each in shown.identifiers] == [("user_id", "ada")]


def test_nobody_learns_before_they_are_verified_whether_a_person_is_known(rights: RequestPipeline) -> None:
    rights.pipeline.send(ADA)
    answers = []
    for value in ("ada", "nobody"):
        request = requests.open_request(
            rights.context,
            kind="erasure",
            regime="gdpr",
            identifiers=[("user_id", value)],
            now=rights.pipeline.clock.now(),
        )
        asked = requests.ask(rights.context, request.request_id, rights.pipeline.clock.now())
        denied = requests.deny(rights.context, request.request_id, "unverified", now=rights.pipeline.clock.now())
        answers.append([replace(each, request_id=0, entry_id=None) for each in (request, asked, denied)])  # type: ignore[arg-type]
    assert answers[0] == answers[1]


def test_nothing_held_is_said_and_gives_no_receipt_of_an_erasure_of_zeros(rights: RequestPipeline) -> None:
    for kind in ("erasure", "access"):
        request = rights.ask(kind, ("user_id", "nobody"))
        assert requests.run(
            rights.context, request.request_id, rights.pipeline.clock.now(), dry_run=True
        ).is_nothing_held
        done = requests.run(rights.context, request.request_id, rights.pipeline.clock.now())
        assert (done.request.status, done.is_nothing_held, done.steps) == (Status.FULFILLED, True, ())
        rights.sequence()
        body = requests.receipt(rights.context, done.request.request_id)["body"]
        assert body["is_nothing_held"] is True
        assert not body.keys() & {"steps", "identifiers", "anchors", "profiles", "keys_shredded", "is_scrubbed"}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"kind": "vanish"}, "unknown_right"),
        ({"regime": "atlantis"}, "unknown_regime"),
        ({"kind": "opt_out"}, "right_not_in_regime"),
        ({"identifiers": []}, "no_identifier"),
        ({"identifiers": [("user_id", f"u{n}") for n in range(21)]}, "too_many_identifiers"),
        ({"identifiers": [("user_id", "null")]}, "invalid_identifier"),
        ({"identifiers": [("shoe_size", "43")]}, "invalid_identifier"),
    ],
)
def test_what_cannot_be_taken_in_is_refused_without_repeating_it(
    rights: RequestPipeline, change: dict[str, Any], code: str
) -> None:
    asked: dict[str, Any] = {"kind": "erasure", "regime": "gdpr", "identifiers": [("user_id", "ada")]} | change
    with pytest.raises(Fault) as caught:
        requests.open_request(rights.context, now=rights.pipeline.clock.now(), **asked)
    assert caught.value.code == code
    assert "43" not in caught.value.detail
    assert requests.listing(rights.context) == []


def test_an_unknown_id_is_not_found(rights: RequestPipeline) -> None:
    for call in (requests.verify, requests.withdraw, requests.run, requests.export):
        with pytest.raises(Fault) as caught:
            call(rights.context, 12345, rights.pipeline.clock.now())
        assert (caught.value.code, caught.value.status) == ("unknown_request", 404)


def test_a_denial_has_a_reason_and_shreds_what_was_named(rights: RequestPipeline) -> None:
    request = opened(rights)
    with pytest.raises(Fault, match="unknown_denial"):
        requests.deny(rights.context, request.request_id, "mood", now=rights.pipeline.clock.now())
    denied = requests.deny(rights.context, request.request_id, "unverified", now=rights.pipeline.clock.now())
    assert denied.status is Status.DENIED
    assert requests.show(rights.context, request.request_id).identifiers == ()


def test_no_answer_in_time_ends_the_request(rights: RequestPipeline) -> None:
    requests.ask(rights.context, opened(rights).request_id, rights.pipeline.clock.now())
    assert requests.sweep_requests(rights.context, rights.pipeline.clock.now())["expired"] == 0
    rights.later(days=40)
    assert requests.sweep_requests(rights.context, rights.pipeline.clock.now())["expired"] == 1
    assert requests.listing(rights.context)[0].status is Status.EXPIRED
    assert rights.pipeline.one("SELECT count(*) FROM rights.request_identifier") == 0


class TestReceipt:
    def test_a_stranger_verifies_it_offline(self, rights: RequestPipeline) -> None:
        rights.pipeline.send(ADA)
        ended = rights.erase(("user_id", "ada"))
        with pytest.raises(Fault) as caught:
            requests.receipt(rights.context, ended.request_id)
        assert caught.value.code == "receipt_not_ready"
        assert caught.value.retry_after_seconds == 1
        rights.sequence()
        document = json.loads(json.dumps(requests.receipt(rights.context, ended.request_id)))
        trusted = [parse_vkey(document["vkey"])]
        verified = verify_receipt(document, trusted, is_signed)
        assert isinstance(verified, Verified)
        assert verified.body["request"] == ended.outward_id
        assert verified.body["kind"] == "request.fulfilled"
        assert {"table": "identity.identifier", "verb": "delete", "rows": 2} in verified.body["steps"]
        document["body"]["identifiers"] = 3
        assert isinstance(verify_receipt(document, trusted, is_signed), Unverified)

    def test_it_holds_nothing_of_the_person(self, rights: RequestPipeline) -> None:
        rights.pipeline.send(ADA)
        ended = rights.erase(("user_id", "ada"))
        rights.sequence()
        text = json.dumps(requests.receipt(rights.context, ended.request_id)["body"]).lower()
        assert "ada" not in text
        assert "example.com" not in text

    def test_there_is_none_before_the_end(self, rights: RequestPipeline) -> None:
        request = rights.ask("erasure", ("user_id", "ada"))
        with pytest.raises(Fault, match="request_not_fulfilled"):
            requests.receipt(rights.context, request.request_id)
