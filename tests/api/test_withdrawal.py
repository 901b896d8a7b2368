"""Withdrawal by the token of a receipt: no sign-in, one button, effective when it is answered, of no use to others."""

import re
from itertools import count
from typing import Any

import httpx
import pytest

from cdp.consent.receipt import is_genuine
from cdp.consent.withdrawal_token import withdrawal_token
from cdp.kit.ids import decode_id
from cdp.vault.sign import Signer, is_signed
from tests.support.messages import consent_context, track
from tests.support.service import RunningService

_numbers = count(1)


@pytest.fixture
def fay() -> dict[str, str]:
    """A person of her own for each test: the service is one for all."""
    return {"type": "email", "value": f"fay{next(_numbers)}@example.com"}


def granted(
    service: RunningService, of: dict[str, str], purpose: str = "email_marketing", **more: Any
) -> dict[str, Any]:
    act = {"identifier": of, "purpose": purpose, "act": "grant", "jurisdiction": "eu", "authority": "authenticated"}
    made: dict[str, Any] = service.post("privacy", "/api/v1/consents", act | more, 201)["receipt"]
    return made


def path_of(receipt: dict[str, Any]) -> str:
    found: str = receipt["pii_processing"]["purposes"][0]["withdrawal_method"]["path"]
    return found


def records(service: RunningService, of: dict[str, str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = service.post("auditor", "/api/v1/consents/lookup", {"identifier": of})["records"]
    return found


def test_opening_the_page_changes_nothing_and_the_button_withdraws(
    service: RunningService, fay: dict[str, str]
) -> None:
    path = path_of(granted(service, fay))
    page = service.client.get(path)
    assert (page.status_code, page.headers["cache-control"]) == (200, "no-store")
    assert "Writing to you by e-mail" in page.text
    assert fay["value"] not in page.text
    assert "<script" not in page.text
    assert "set-cookie" not in page.headers
    assert [each["act"] for each in records(service, fay)] == ["grant"]
    button = re.search(r'<form method="post" action="([^"]+)"><button>Withdraw consent</button>', page.text)
    assert button is not None
    done = service.client.post(button[1])
    assert (done.status_code, "Your consent is withdrawn" in done.text) == (200, True)
    grant, withdrawn = records(service, fay)
    assert (withdrawn["act"], withdrawn["authority"]) == ("withdraw", "authenticated")
    assert withdrawn["rule"] == f"receipt.{grant['record']}"
    verdicts = service.post("privacy", "/api/v1/consents/lookup", {"identifier": fay})["verdicts"]
    assert verdicts["email_marketing"]["reason"] == "withdrawn"
    assert "refused or withdrawn already" in service.client.get(path).text


def test_a_withdrawal_takes_no_more_steps_than_a_grant(service: RunningService, fay: dict[str, str]) -> None:
    answer = service.client.post(path_of(granted(service, fay)), headers={"Accept": "application/json"})
    receipt = answer.json()["receipt"]
    key = service.context.vault.root_keys.signer().public_key
    assert is_genuine(receipt, key, is_signed)
    assert receipt["event"][0]["event_state"] == "dpv:ConsentWithdrawn"
    assert "withdrawal_method" not in receipt["pii_processing"]["purposes"][0]


def test_repeating_it_adds_nothing_and_gives_the_same_receipt(service: RunningService, fay: dict[str, str]) -> None:
    path = path_of(granted(service, fay))
    first = service.client.post(path, headers={"Accept": "application/json"}).json()["receipt"]
    file = service.client.post(f"{path}/receipt")
    assert file.headers["content-disposition"] == 'attachment; filename="withdrawal-receipt.json"'
    assert file.json() == first
    assert len(records(service, fay)) == 2


def test_who_consents_again_can_withdraw_by_the_first_receipt_too(service: RunningService, fay: dict[str, str]) -> None:
    path = path_of(granted(service, fay))
    service.client.post(path)
    granted(service, fay)
    service.client.post(path)
    assert [each["act"] for each in records(service, fay)] == ["grant", "withdraw", "grant", "withdraw"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_nobody_can_make_a_token(service: RunningService, fay: dict[str, str], method: str) -> None:
    receipt = granted(service, fay)
    token = path_of(receipt).rpartition("/")[2]
    name, _, signature = token.partition(".")
    number = decode_id("con", receipt["record_id"])
    assert number is not None
    foreign = withdrawal_token(number, Signer(b"\x07" * 32))  # type: ignore[arg-type] # a number that is a record's
    wrong = [name, f"{name}.", f"{name}.{signature[::-1]}", foreign, "wdr_0000000000001." + signature, "x" * 104, "%00"]
    answers = [service.client.request(method, f"/privacy/withdraw/{each}") for each in wrong]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.text for answer in answers}) == 1
    assert [each["act"] for each in records(service, fay)] == ["grant"]


def test_the_token_of_an_erased_person_does_nothing_and_says_nothing(
    service: RunningService, fay: dict[str, str]
) -> None:
    path = path_of(granted(service, fay))
    request = service.post(
        "privacy", "/api/v1/subject-requests", {"kind": "erasure", "regime": "gdpr", "identifiers": [fay]}, 201
    )["id"]
    service.post("privacy", f"/api/v1/subject-requests/{request}/verify", {})
    service.post("privacy", f"/api/v1/subject-requests/{request}/run", {})
    page, done = service.client.get(path), service.client.post(path)
    assert "no longer kept" in page.text
    assert "There is nothing to withdraw" in done.text
    assert fay["value"] not in page.text + done.text
    assert records(service, fay) == []


def of_a_message(service: RunningService, answers: dict[str, bool]) -> httpx.Response:
    body = track("Product Viewed", anonymousId="fay-browser", context=consent_context(**answers))
    return service.client.post("/v1/track", auth=(service.browser_key, ""), json=body)


def test_an_act_of_a_browser_has_a_receipt_too_and_its_token_withdraws(service: RunningService) -> None:
    assert of_a_message(service, {"analytics": True}).status_code == 200
    device = {"type": "anonymous_id", "value": "fay-browser"}
    (grant,) = records(service, device)
    receipt = service.post("privacy", "/api/v1/consents/receipt", {"record": grant["record"]})
    assert receipt["event"][0]["authority"] == "device"
    assert receipt["pii_principal_identifier_type"] == "anonymous_id"
    assert is_genuine(receipt, service.context.vault.root_keys.signer().public_key, is_signed)
    assert service.client.post(path_of(receipt)).status_code == 200
    assert records(service, device)[-1] | {"authority": "device", "act": "withdraw"} == records(service, device)[-1]


@pytest.mark.parametrize("record", ["con_0000000000001", "con_", "", "ada@example.com", "prf_0000000000001"])
def test_a_record_that_is_not_there_is_unknown(service: RunningService, record: str) -> None:
    answer = service.call("privacy", "POST", "/api/v1/consents/receipt", {"record": record})
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_record")


@pytest.mark.parametrize("role", ["marketer", "auditor", "admin", None])
def test_only_privacy_staff_hand_out_receipts(service: RunningService, fay: dict[str, str], role: str | None) -> None:
    record = granted(service, fay)["record_id"]
    answer = service.call(role, "POST", "/api/v1/consents/receipt", {"record": record})
    assert answer.status_code == (401 if role is None else 403)
