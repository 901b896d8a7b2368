"""A failure of the service at any call of an act of a person: it is in force once, or it was not acknowledged."""

from itertools import count
from pathlib import Path

import psycopg
import pytest

from cdp.accounting.model import State
from cdp.flows.consent.lookup import look_up
from cdp.flows.imports.mapping import load_mapping
from cdp.flows.imports.messages import import_file
from cdp.flows.rights.replay import is_behind
from cdp.kit.clock import SystemClock
from cdp.kit.errors import Fault
from tests.support.fault_injection import FAILURES, Injection, injected
from tests.support.messages import track
from tests.support.service import RunningService

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

OF_SERVICE = ("disk full", "connection cut")
NUMBERS = count(1)
MAPPING = """
type: identify
identifiers: {email: mail}
consents: {email_marketing: {column: letters}}
"""


def acts(service: RunningService, mail: str) -> list[str]:
    found = look_up(service.context, ("email", mail), SystemClock().now(), actor="operator")
    return [record["act"] for record in found.records]


def suppressed(service: RunningService) -> int:
    with service.context.database.transaction(read_only=True) as tx:
        ((messages,),) = tx.execute(
            "SELECT coalesce(sum(messages), 0)::int FROM accounting.accounting WHERE state = %(state)s",
            {"state": State.SUPPRESSED.value},
        )
    counted: int = messages
    return counted


@pytest.mark.parametrize("failure", OF_SERVICE)
def test_a_withdrawal_by_the_api_is_in_force_or_not_acknowledged(service: RunningService, failure: str) -> None:
    at, refused = 0, 0
    while True:
        at += 1
        mail = f"p{next(NUMBERS)}@example.com"
        body = {"identifier": {"type": "email", "value": mail}, "purpose": "email_marketing", "act": "withdraw"}
        with injected(Injection(at, FAILURES[failure])) as injection:
            answer = service.call("privacy", "POST", "/api/v1/consents", body)
        if answer.status_code == 201:
            assert acts(service, mail) == ["withdraw"]
        else:
            refused += 1
            assert (answer.status_code, int(answer.headers["retry-after"]) > 0) == (503, True), answer.text
            service.post("privacy", "/api/v1/consents", body, 201)
        assert set(acts(service, mail)) == {"withdraw"}
        assert not is_behind(service.context)
        if injection.calls < at:
            break
    assert refused > 10


@pytest.mark.parametrize("failure", OF_SERVICE)
def test_the_barrier_of_an_erasure_stands_or_its_verification_was_not_acknowledged(
    service: RunningService, failure: str
) -> None:
    at, refused = 0, 0
    while True:
        at += 1
        name = f"u{next(NUMBERS)}"
        identifier = {"type": "user_id", "value": name}
        asked = {"kind": "erasure", "regime": "gdpr", "identifiers": [identifier]}
        request = service.post("privacy", "/api/v1/subject-requests", asked, 201)["id"]
        path = f"/api/v1/subject-requests/{request}/verify"
        with injected(Injection(at, FAILURES[failure])) as injection:
            answer = service.call("privacy", "POST", path)
        if answer.status_code != 200:
            refused += 1
            assert (answer.status_code, int(answer.headers["retry-after"]) > 0) == (503, True), answer.text
            assert service.call("privacy", "POST", path).status_code in (200, 409)  # 409: it was committed
        before = suppressed(service)
        service.send(track(userId=name))
        assert suppressed(service) == before + 1
        if injection.calls < at:
            break
    assert refused > 10


@pytest.mark.parametrize("failure", OF_SERVICE)
def test_an_import_goes_on_after_a_failure_at_any_call(service: RunningService, tmp_path: Path, failure: str) -> None:
    rules = tmp_path / "list.yaml"
    rules.write_text(MAPPING, encoding="utf-8")
    at, interrupted = OF_SERVICE.index(failure), 0
    while True:
        at += 3  # every third call of many
        mails = [f"i{next(NUMBERS)}@example.com" for _ in range(4)]
        file = tmp_path / f"list{at}.csv"
        file.write_text("\n".join(("mail,letters", *(f"{mail},no" for mail in mails), "")), encoding="utf-8")
        mapping = load_mapping(rules)
        injection = Injection(at, FAILURES[failure])
        try:
            with injected(injection):
                done = import_file(service.context, file, mapping, chunk_rows=2)
        except (Fault, OSError, psycopg.Error):
            interrupted += 1
            try:
                done = import_file(service.context, file, mapping, chunk_rows=2, resume=True)
            except Fault as fault:
                if fault.code != "nothing_to_resume":
                    raise
                done = import_file(service.context, file, mapping, chunk_rows=2)
        assert "invalid" not in done.tally.states
        assert done.rows == 4
        assert {act for mail in mails for act in acts(service, mail)} == {"refuse"}
        assert all(acts(service, mail) for mail in mails)
        if injection.calls < at:
            break
    assert interrupted > 10
