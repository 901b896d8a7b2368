"""What every door has in common: problems, limits, headers, health, figures, the public log, accounting, sources."""

import json
import logging
import time
from typing import Any

import pytest

from cdp.audit.checkpoint import parse_checkpoint, parse_note, parse_vkey
from cdp.audit.merkle import leaf_hash
from cdp.audit.verify import verify_leaves, verify_note
from cdp.flows.operations.sources import KEY_SECONDS_MAX
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from cdp.kit.logs import SafeFormatter
from cdp.vault.sign import is_signed
from tests.support import messages
from tests.support.messages import track
from tests.support.service import RunningService
from tests.support.waits import until

LOOKUP = "/api/v1/profiles/lookup"


def test_every_problem_is_a_problem_document(service: RunningService) -> None:
    answers = [
        service.call(None, "GET", "/no-such-path"),
        service.call("admin", "GET", "/api/v1/no-such-path"),
        service.call("admin", "PUT", "/api/v1/sources", {}),
        service.call("privacy", "POST", LOOKUP, {"identifer": 1}),
        service.call("privacy", "POST", LOOKUP, headers={"Content-Type": "application/json"}, content=b'{"a": '),
        service.call("privacy", "POST", LOOKUP, [1, 2]),
    ]
    found = []
    for answer in answers:
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert {"type", "title", "status", "detail", "code"} <= problem.keys()
        assert problem["status"] == answer.status_code
        found.append((answer.status_code, problem["code"]))
    assert found == [
        (404, "unknown_path"),
        (404, "unknown_path"),
        (405, "method_not_allowed"),
        (422, "invalid_request"),
        (400, "invalid_json"),
        (422, "invalid_request"),
    ]


def test_a_refusal_names_the_field_and_never_what_was_sent(service: RunningService) -> None:
    body = {"identifier": {"type": "email", "value": ["ada@example.com"]}, "ada@example.com": 1}
    answer = service.call("privacy", "POST", LOOKUP, body)
    assert "ada@" not in answer.text
    assert {each["where"] for each in answer.json()["errors"]} == {"body.identifier.value", "body.…"}


@pytest.mark.parametrize("is_told", [True, False])
def test_a_body_over_a_megabyte_is_refused_whether_its_length_is_told_or_not(
    service: RunningService, is_told: bool
) -> None:
    content: Any = b" " * 1_000_001 if is_told else (b" " * 100_000 for _ in range(11))
    answer = service.call("privacy", "POST", LOOKUP, content=content, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


def test_personal_answers_are_not_kept_and_pages_run_nothing(service: RunningService) -> None:
    service.add_person("ada@example.com", "ada")
    shown = service.call("privacy", "POST", LOOKUP, {"identifier": {"type": "email", "value": "ada@example.com"}})
    assert shown.headers["cache-control"] == "no-store"
    page = service.call(None, "GET", "/")
    assert page.headers["content-type"].startswith("text/html")
    assert "script" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    assert service.call(None, "GET", "/cdp.css").status_code == 200
    for answer in (shown, page):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "server" not in answer.headers


def test_health_and_support_of_gpc(service: RunningService) -> None:
    assert service.get(None, "/healthz") == {"status": "ok"}
    support = service.get(None, "/.well-known/gpc.json")
    assert support["gpc"] is True


def test_a_database_that_is_away_is_told_with_retry_after(
    service: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_args: object, **_more: object) -> None:
        raise Fault("database_unavailable", "The database is away", "Ask again.", status=503, retry_after_seconds=2)

    monkeypatch.setattr(Database, "transaction", away)
    for role, path in (("privacy", LOOKUP), (None, "/audit/log/checkpoint")):
        answer = service.call(role, "POST" if role else "GET", path, {} if role else None)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")


def test_what_breaks_inside_is_told_by_an_incident_and_logged_without_values(
    service: RunningService, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_args: object, **_more: object) -> None:
        raise RuntimeError("ada@example.com is in the message")

    monkeypatch.setattr("cdp.flows.identity.lookup.look_up", broken)
    with caplog.at_level(logging.ERROR):
        answer = service.call("privacy", "POST", LOOKUP, {"identifier": {"type": "email", "value": "ada@example.com"}})
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (500, "internal_error")
    assert "ada" not in answer.text
    lines = [SafeFormatter("json").format(record) for record in caplog.records]
    assert any(problem["incident"] in line for line in lines)
    assert "ada@" not in "".join(lines)


def test_the_access_log_holds_neither_query_nor_address(
    service: RunningService, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="cdp.web"):
        service.get("auditor", "/api/v1/ingest/accounting", 404, source="ada-example")

        def lines() -> list[dict[str, Any]]:
            """The lines of this request: each is written after its answer has left, that of an earlier one perhaps now."""
            records = [record for record in caplog.records if record.name == "cdp.web"]
            told = [json.loads(SafeFormatter("json").format(record)) for record in records]
            return [each for each in told if each["route"] == "/api/v1/ingest/accounting"]

        until(lines)
    (line,) = lines()
    assert (line["method"], line["status"]) == ("GET", 404)
    assert "ada" not in str(line)
    assert "127.0.0.1" not in str(line)


def test_metrics_count_messages_by_state_and_name_nobody(service: RunningService) -> None:
    service.add_person("bea@example.com", "bea")
    service.send(track("x"), messages.page(anonymousId="d9"))
    text = service.call("admin", "GET", "/metrics").text
    figures = {line.rpartition(" ")[0]: line.rpartition(" ")[2] for line in text.splitlines() if line[:1] != "#"}
    stored = float(figures['cdp_messages_total{reason="",state="stored"}'])
    assert stored >= 2
    assert any('state="not_permitted"' in name for name in figures)
    assert any('state="invalid"' in name for name in figures)
    assert float(figures["cdp_ingest_transaction_seconds_count"]) >= 3
    assert figures["cdp_waiting_messages"] == "0.0"
    assert float(figures['cdp_ingest_answers_total{status="200"}']) >= 3
    assert float(figures["cdp_profiles"]) >= 1
    assert float(figures["cdp_audit_waiting_leaves"]) > 0
    service.sign()
    again = service.call("admin", "GET", "/metrics").text
    assert "cdp_audit_lag_seconds 0.0" in again
    assert "bea" not in text


def test_a_source_that_defers_answers_as_any_other_and_counts_what_waits(service: RunningService) -> None:
    made = service.post("admin", "/api/v1/sources", {"name": "patient", "jurisdiction": "eu"}, 201)
    assert made["defer"] is False
    service.send(messages.page(anonymousId="d"), key=made["write_key"])
    changed = service.post("admin", "/api/v1/sources/patient/defer", {"defer": True}, 200)
    assert (changed["name"], changed["defer"]) == ("patient", True)
    assert service.post("admin", "/api/v1/sources/nobody/defer", {"defer": True}, 404)["code"] == "unknown_source"
    service.post("admin", "/api/v1/sources/patient/defer", {"defer": "yes"}, 422)
    time.sleep(KEY_SECONDS_MAX + 0.1)
    service.send(messages.page(anonymousId="d"), key=made["write_key"])
    told = service.get("auditor", "/api/v1/ingest/accounting", source="patient")
    assert told["by_state"] == {"not_permitted": 1, "deferred": 1}
    text = service.call("admin", "GET", "/metrics").text
    assert "cdp_deferred_messages 1.0" in text
    assert "cdp_deferred_overdue 0.0" in text
    assert service.post("admin", "/api/v1/sources", {"name": "second", "defer": True}, 201)["defer"] is True


def test_accounting_adds_up(service: RunningService) -> None:
    service.send(track("x", userId="u"), messages.page())
    told = service.get("auditor", "/api/v1/ingest/accounting")
    assert told["received"] == sum(told["by_state"].values()) == sum(each["messages"] for each in told["counts"])
    mine = service.get("admin", "/api/v1/ingest/accounting", source="server")
    assert {each["source"] for each in mine["counts"]} == {"server"}
    past: dict[str, Any] = {"from": "2020-01-01T00:00:00Z", "to": "2020-01-02T00:00:00Z"}
    empty = service.get("admin", "/api/v1/ingest/accounting", **past)
    assert (empty["received"], empty["counts"]) == (0, [])


def test_a_source_is_created_used_and_stopped(service: RunningService) -> None:
    made = service.post("admin", "/api/v1/sources", {"name": "web shop", "jurisdiction": "eu"}, 201)
    assert (made["kind"], made["scopes"]) == ("browser", ["ingest"])
    service.send(messages.page(anonymousId="d1"), key=made["write_key"])
    assert service.post("admin", "/api/v1/sources", {"name": "web shop"}, 409)["code"] == "source_exists"
    assert made["write_key"] not in service.call("admin", "GET", "/api/v1/sources").text
    renewed = service.post("admin", "/api/v1/sources/web shop/rotate", None, 200)["write_key"]
    assert renewed != made["write_key"]
    service.send(messages.page(anonymousId="d1"), key=renewed)
    assert service.call("admin", "POST", "/api/v1/sources/web shop/disable").status_code == 204
    assert service.call("admin", "POST", "/api/v1/sources/web shop/rotate").status_code == 404
    assert service.call("admin", "POST", "/api/v1/sources/web shop/disable").status_code == 404
    refused = service.post("admin", "/api/v1/sources", {"name": "x", "jurisdiction": "mars"}, 422)
    assert refused["code"] == "unknown_jurisdiction"
    assert refused["detail"] == "The policy declares eu, us-ca, unknown."


def test_entries_are_read_page_by_page_and_by_kind(service: RunningService) -> None:
    service.sign()
    first = service.get("auditor", "/api/v1/audit/entries", limit=5)
    second = service.get("auditor", "/api/v1/audit/entries", limit=5, before=first["next"])
    numbers = [each["entry"] for each in first["entries"] + second["entries"]]
    assert numbers == sorted(set(numbers), reverse=True)
    created = service.get("auditor", "/api/v1/audit/entries", kind="token.created")["entries"]
    assert {each["body"]["role"] for each in created} == {"marketer", "privacy", "auditor", "admin"}
    assert service.get("auditor", "/api/v1/audit/entries", 422, kind="no.such")["code"] == "unknown_entry_kind"


def test_a_report_recomputes_figures_and_finds_an_altered_fact(service: RunningService) -> None:
    told = service.get("auditor", "/api/v1/audit/report")
    assert told["altered"] == []
    assert told["facts_checked"] == sum(told["entries"].values())
    assert told["policies"][0]["policy"] == service.context.policy.fingerprint
    alter = (
        "UPDATE audit.fact SET body = jsonb_set(body, '{role}', to_jsonb(%(role)s::text)) WHERE entry_id = %(entry)s"
    )
    with service.context.database.transaction() as tx:
        ((entry, role),) = tx.execute(
            "SELECT entry_id, body ->> 'role' FROM audit.fact WHERE kind = 'token.created' ORDER BY entry_id LIMIT 1"
        )
        tx.execute(alter, {"entry": entry, "role": "auditor" if role != "auditor" else "admin"})
    assert service.get("auditor", "/api/v1/audit/report")["altered"] == [entry]
    with service.context.database.transaction() as tx:
        tx.execute(alter, {"entry": entry, "role": role})
    assert service.get("auditor", "/api/v1/audit/report")["altered"] == []


def test_a_stranger_rebuilds_the_log_from_its_tiles(service: RunningService) -> None:
    service.sign()
    key = parse_vkey(service.call(None, "GET", "/audit/log/key").text)
    note = service.call(None, "GET", "/audit/log/checkpoint").text
    checkpoint = verify_note(note, [key], is_signed)
    assert checkpoint == parse_checkpoint(parse_note(note).text)
    size = parse_checkpoint(parse_note(note).text).size
    assert size < 256
    bundle = service.call(None, "GET", f"/audit/log/tile/entries/000.p/{size}")
    assert "immutable" in bundle.headers["cache-control"]
    entries = [bundle.content[at + 2 : at + 34] for at in range(0, len(bundle.content), 34)]
    assert verify_leaves(entries, parse_checkpoint(parse_note(note).text)) is None
    hashes = service.call(None, "GET", f"/audit/log/tile/0/000.p/{size}").content
    assert hashes[:32] == leaf_hash(entries[0])
    for path in ("0/999", "0/0", "entries/../checkpoint", "9999/000", f"0/000.p/{size + 1}"):
        assert service.call(None, "GET", f"/audit/log/tile/{path}").status_code == 404
