"""The consent receipt: what it says, and that nobody can change it unseen."""

import json

import pytest

from cdp.consent.model import Act
from cdp.consent.receipt import is_genuine, outward_id, receipt_body, sign_receipt
from cdp.policy.model import Purpose
from cdp.vault.sign import Signer, is_signed
from tests.spec.consent.acts import CONTRACT, INTEREST, day, grant, purpose, refuse
from tests.spec.consent.acts import act as an_act

SIGNER = Signer(b"\x05" * 32)
RECORD = grant(2, by="authenticated", notice_version="7", notice_hash=b"\x01" * 32, valid_until=day(9), number=77)


def test_says_what_was_decided_on_which_notice_until_when() -> None:
    body = receipt_body(RECORD, purpose(validity_days=7), "email")
    assert body["record_id"] == outward_id(RECORD)
    assert body["pii_principal"] == {"identifier_type": "email"}
    assert body["event"] == {
        "event_state": "dpv:ConsentGiven",
        "act": "grant",
        "event_time": "2026-01-03T00:00:00.000000Z",
        "recorded_at": "2026-01-03T00:00:00.000000Z",
        "valid_until": "2026-01-10T00:00:00.000000Z",
        "authority": "authenticated",
        "is_two_step": False,
        "notice_version": "7",
        "notice_sha256": "01" * 32,
    }


def test_leaves_out_what_is_unknown() -> None:
    assert "notice_version" not in receipt_body(refuse(1), purpose(), "email")["event"]


@pytest.mark.parametrize(
    ("act", "state"),
    [
        (Act.GRANT, "dpv:ConsentGiven"),
        (Act.REFUSE, "dpv:ConsentRefused"),
        (Act.WITHDRAW, "dpv:ConsentWithdrawn"),
        (Act.OBJECT, "eu-gdpr:A21"),
    ],
)
def test_names_each_act_in_the_vocabulary(act: Act, state: str) -> None:
    assert receipt_body(an_act(act.value, 1), purpose(), "email")["event"]["event_state"] == state


@pytest.mark.parametrize(
    ("rule", "basis"),
    [(purpose(), "a"), (CONTRACT, "b"), (INTEREST, "f")],
    ids=lambda value: getattr(value, "key", value),
)
def test_names_the_legal_basis(rule: Purpose, basis: str) -> None:
    body = receipt_body(RECORD, rule, "email")
    assert body["pii_processing"]["lawful_basis"] == f"eu-gdpr:A6-1-{basis}"


def test_is_verified_from_its_own_file() -> None:
    receipt = sign_receipt(receipt_body(RECORD, purpose(), "email"), SIGNER)
    again = json.loads(json.dumps(receipt, indent=2))
    assert is_genuine(again, SIGNER.public_key, is_signed)
    assert not is_genuine(again, Signer(b"\x06" * 32).public_key, is_signed)


def test_a_changed_receipt_is_not_genuine() -> None:
    receipt = sign_receipt(receipt_body(RECORD, purpose(), "email"), SIGNER)
    changed = [
        {**receipt, "record_id": "con_0000000000000"},
        {**receipt, "event": {**receipt["event"], "act": "refuse"}},
        {**receipt, "more": 1},
        {name: value for name, value in receipt.items() if name != "signature"},
        {**receipt, "signature": "none"},
        {**receipt, "signature": {**receipt["signature"], "value": "***"}},
    ]
    assert not any(is_genuine(each, SIGNER.public_key, is_signed) for each in changed)
