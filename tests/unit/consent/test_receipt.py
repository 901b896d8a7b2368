"""The consent receipt: what it says, and that nobody can change it unseen."""

import json
from datetime import timedelta
from typing import Any, Final

import pytest

from cdp.consent.model import Act, Record, RecordId
from cdp.consent.receipt import is_genuine, outward_id, receipt_body, sign_receipt, stated_by
from cdp.consent.withdrawal_token import record_of, withdrawal_token
from cdp.policy.model import LegalBasis, Policy
from cdp.vault.sign import Signer, is_signed
from tests.spec.consent.acts import act as an_act
from tests.spec.consent.acts import day, grant, refuse
from tests.support.controllers import RESPONSIBLE, with_controller
from tests.support.policies import shipped

SIGNER: Final = Signer(b"\x05" * 32)
RECORD: Final = grant(
    2, by="authenticated", notice_version="7", notice_hash=b"\x01" * 32, valid_until=day(9), number=77
)
TOKEN: Final = withdrawal_token(RECORD.record_id, SIGNER)
MANDATORY: Final = {
    "": {"schema_version", "record_id", "pii_principal_id", "pii_processing", "party_identification", "event"},
    "processing": {"privacy_notice", "language", "purposes", "jurisdiction"},
    "purpose": {
        "purpose",
        "lawful_basis",
        "pii_information",
        "pii_controllers",
        "storage_locations",
        "retention_period",
        "recipient_third_parties",
        "withdrawal_method",
    },
    "party": {"party_id", "party_name", "party_address"},
    "event": {"event_time", "validity_duration", "entity_id", "event_type", "event_state"},
}
"""The fields that ISO/IEC TS 27560:2023 requires, by their place (clauses 6.3.3 to 6.3.7)."""


def complete() -> Policy:
    """A policy that names everybody, and where the pages and the data are."""
    places = {"privacy_center": "https://privacy.nordlicht.example", "storage_locations": ["Germany"]}
    return with_controller(shipped(), RESPONSIBLE | places)


def body_of(record: Record = RECORD, policy: Policy | None = None, token: str | None = TOKEN) -> dict[str, Any]:
    return receipt_body(record, policy or complete(), "email", token=token)


def purpose_of(body: dict[str, Any]) -> dict[str, Any]:
    (found,) = body["pii_processing"]["purposes"]
    return dict(found)


def test_has_every_field_that_the_standard_requires() -> None:
    body = body_of()
    assert body.keys() >= MANDATORY[""]
    assert body["pii_processing"].keys() >= MANDATORY["processing"]
    assert purpose_of(body).keys() >= MANDATORY["purpose"]
    assert all(party.keys() >= MANDATORY["party"] for party in body["party_identification"][:3])
    assert body["event"][0].keys() >= MANDATORY["event"]


def test_says_what_was_decided_on_which_notice_until_when() -> None:
    body = body_of()
    assert body["record_id"] == outward_id(RECORD)
    assert body["pii_principal_identifier_type"] == "email"
    assert body["pii_processing"]["privacy_notice"] == {
        "url": "https://privacy.nordlicht.example/privacy",
        "version": "7",
        "sha256": "01" * 32,
    }
    assert body["event"] == [
        {
            "event_state": "dpv:ConsentGiven",
            "event_type": "dpv:ExpressedConsent",
            "entity_id": body["pii_principal_id"],
            "act": "grant",
            "event_time": "2026-01-03T00:00:00.000000Z",
            "recorded_at": "2026-01-03T00:00:00.000000Z",
            "validity_duration": "P7D",
            "valid_until": "2026-01-10T00:00:00.000000Z",
            "authority": "authenticated",
            "is_two_step": False,
        }
    ]
    assert stated_by(body) == {"purpose": "analytics", "act": "grant"}


def test_names_who_is_responsible_and_to_whom_to_complain() -> None:
    body = body_of()
    assert [party["party_role"] for party in body["party_identification"]] == [
        "dpv:DataController",
        "dpv:JointDataControllers",
        "dpv:Representative",
        "dpv:DataProtectionOfficer",
    ]
    controllers = [party["party_id"] for party in body["party_identification"][:2]]
    assert purpose_of(body)["pii_controllers"] == controllers
    policy = complete()
    assert purpose_of(body)["authority_party"] == policy.jurisdictions.regime_of("eu").authority
    assert purpose_of(body)["retention_period"]["browsing"] == (
        f"P{policy.retention.classes['browsing'].keep_for_days}D"
    )


def test_a_grant_can_be_withdrawn_where_the_policy_says_or_at_a_path() -> None:
    assert purpose_of(body_of())["withdrawal_method"] == {
        "token": TOKEN,
        "url": f"https://privacy.nordlicht.example/privacy/withdraw/{TOKEN}",
    }
    assert purpose_of(body_of(policy=shipped()))["withdrawal_method"] == {
        "token": TOKEN,
        "path": f"/privacy/withdraw/{TOKEN}",
    }


def test_leaves_out_what_is_unknown() -> None:
    body = body_of(refuse(1), shipped(), None)
    assert body["pii_processing"]["privacy_notice"] == {}
    assert "withdrawal_method" not in purpose_of(body)
    assert "validity_duration" not in body["event"][0]
    assert body["party_identification"] == []


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
    assert body_of(an_act(act.value, 1))["event"][0]["event_state"] == state


@pytest.mark.parametrize(
    ("basis", "term"), [(LegalBasis.CONSENT, "a"), (LegalBasis.CONTRACT, "b"), (LegalBasis.LEGITIMATE_INTERESTS, "f")]
)
def test_names_the_legal_basis(basis: LegalBasis, term: str) -> None:
    policy = shipped()
    rule = policy.purposes["analytics"].model_copy(update={"legal_basis": basis})
    there = policy.model_copy(update={"purposes": {**policy.purposes, "analytics": rule}})
    assert purpose_of(body_of(policy=there))["lawful_basis"] == f"eu-gdpr:A6-1-{term}"


def test_is_verified_from_its_own_file() -> None:
    receipt = sign_receipt(body_of(), SIGNER)
    again = json.loads(json.dumps(receipt, indent=2))
    assert is_genuine(again, SIGNER.public_key, is_signed)
    assert not is_genuine(again, Signer(b"\x06" * 32).public_key, is_signed)


def test_a_changed_receipt_is_not_genuine() -> None:
    receipt = sign_receipt(body_of(), SIGNER)
    changed_receipts = [
        {**receipt, "record_id": "con_0000000000000"},
        {**receipt, "event": [{**receipt["event"][0], "act": "refuse"}]},
        {**receipt, "format": "cdp/consent-receipt@v1"},
        {**receipt, "format": "something else"},
        {**receipt, "more": 1},
        {name: value for name, value in receipt.items() if name != "signature"},
        {**receipt, "signature": "none"},
        {**receipt, "signature": {**receipt["signature"], "value": "***"}},
    ]
    assert not any(is_genuine(each, SIGNER.public_key, is_signed) for each in changed_receipts)


def test_a_receipt_of_the_first_format_stays_genuine() -> None:
    body = {
        "format": "cdp/consent-receipt@v1",
        "record_id": "con_0000000000001",
        "pii_processing": {"purpose": "analytics"},
        "event": {"act": "refuse"},
    }
    receipt = sign_receipt(body, SIGNER)
    assert is_genuine(receipt, SIGNER.public_key, is_signed)
    assert stated_by(receipt) == {"purpose": "analytics", "act": "refuse"}


def test_a_token_names_its_record_to_the_key_that_issued_it() -> None:
    assert record_of(TOKEN, SIGNER.public_key, is_signed) == RECORD.record_id
    assert record_of(TOKEN, Signer(b"\x06" * 32).public_key, is_signed) is None
    assert len(TOKEN) == 104
    of_another = withdrawal_token(RecordId(78), SIGNER)
    mixed = of_another.partition(".")[0] + "." + TOKEN.partition(".")[2]
    assert record_of(mixed, SIGNER.public_key, is_signed) is None


@pytest.mark.parametrize("end", ["", "A", "=", "==", "é", "\x00"])
def test_a_damaged_token_names_nothing(end: str) -> None:
    damaged = (TOKEN[:-2] + end, TOKEN + (end or "A"), TOKEN[1:] + end, TOKEN.replace(".", f"-{end}"))
    assert {record_of(each, SIGNER.public_key, is_signed) for each in damaged} <= {None}


def test_a_validity_in_whole_days() -> None:
    record = grant(2, valid_until=day(2) + timedelta(days=395))
    assert body_of(record)["event"][0]["validity_duration"] == "P395D"


def test_receipts_differ_by_purpose() -> None:
    about = grant(2, about="email_marketing")
    assert purpose_of(body_of(about))["purpose_type"] == "marketing.communications.email"
