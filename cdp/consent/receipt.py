"""The consent receipt: a signed copy of one record for the person, following ISO/IEC TS 27560:2023 with DPV terms.

It states what was decided, for which purpose, on which notice and when, who is responsible, and how to withdraw; it
contains no value of an identifier. It can be verified offline with the file and the public key. The fields are those of
the profile `dpv-27560:receipt-record` of the W3C Data Privacy Vocabularies and Controls Community Group.
"""

import base64
from collections.abc import Mapping
from typing import Any, Final, Protocol

from cdp.consent.model import Act, Record
from cdp.kit.canonical import canonical_json, instant_text
from cdp.kit.ids import encode_id
from cdp.policy.controller import (
    CONTROLLER,
    CONTROLLERS,
    JOINT_CONTROLLER,
    PROTECTION_OFFICER,
    REPRESENTATIVE,
    Party,
)
from cdp.policy.model import LegalBasis, Policy, Purpose

FORMAT: Final = "cdp/consent-receipt@v2"
FORMATS: Final[Mapping[str, bytes]] = {
    "cdp/consent-receipt@v1": b"cdp/consent-receipt/v1\n",
    FORMAT: b"cdp/consent-receipt/v2\n",
}
"""The formats that were ever issued, each with the line that its signature covers before the body; people keep receipts for years."""
SCHEMA: Final = "https://w3id.org/dpv/schema/dpv-27560#receipt-record"
WITHDRAWAL_PATH: Final = "/privacy/withdraw"

_LANGUAGE: Final = "en"
_EXPRESSED: Final = "dpv:ExpressedConsent"
_EXPLICIT: Final = "dpv:ExplicitlyExpressedConsent"

_STATES: Final[Mapping[Act, str]] = {
    Act.GRANT: "dpv:ConsentGiven",
    Act.REFUSE: "dpv:ConsentRefused",
    Act.WITHDRAW: "dpv:ConsentWithdrawn",
    Act.OBJECT: "eu-gdpr:A21",
    Act.RESTRICT: "eu-gdpr:A18",
    Act.RELEASE: "eu-gdpr:A18",
}

_BASES: Final[Mapping[LegalBasis, str]] = {
    LegalBasis.CONSENT: "eu-gdpr:A6-1-a",
    LegalBasis.CONTRACT: "eu-gdpr:A6-1-b",
    LegalBasis.LEGAL_OBLIGATION: "eu-gdpr:A6-1-c",
    LegalBasis.VITAL_INTERESTS: "eu-gdpr:A6-1-d",
    LegalBasis.PUBLIC_TASK: "eu-gdpr:A6-1-e",
    LegalBasis.LEGITIMATE_INTERESTS: "eu-gdpr:A6-1-f",
}

_ROLES: Final[Mapping[str, str]] = {
    CONTROLLER: "dpv:DataController",
    JOINT_CONTROLLER: "dpv:JointDataControllers",
    REPRESENTATIVE: "dpv:Representative",
    PROTECTION_OFFICER: "dpv:DataProtectionOfficer",
}


class ReceiptSigner(Protocol):
    """Signs messages with Ed25519: signatures of 64 bytes."""

    @property
    def public_key(self) -> bytes: ...

    def sign(self, message: bytes) -> bytes: ...


class ReceiptSignatureCheck(Protocol):
    """Checks whether a signature over a message was made with the private key of a public key."""

    def __call__(self, public_key: bytes, message: bytes, signature: bytes) -> bool: ...


def outward_id(record: Record) -> str:
    """The id of a record outside the store, for example `con_0004zc8e6w1rk`."""
    return encode_id("con", record.record_id)


def receipt_body(record: Record, policy: Policy, identifier_type: str, *, token: str | None = None) -> dict[str, Any]:
    """The body of a receipt for one act about one purpose, under the policy by which it was recorded; unknown fields are omitted.

    `token` is that by which the consent can be withdrawn (`withdrawal_token`).
    """
    rule = policy.purposes[record.purpose]
    return {
        "format": FORMAT,
        "schema_version": SCHEMA,
        "record_id": outward_id(record),
        "pii_principal_id": _principal(record),
        "pii_principal_identifier_type": identifier_type,
        "pii_processing": {
            "privacy_notice": _notice(record, policy),
            "language": _LANGUAGE,
            "jurisdiction": record.jurisdiction,
            "purposes": [_purpose(record, rule, policy, token=token)],
            "policy": record.policy_fingerprint.hex(),
        },
        "party_identification": [
            _without_none(
                {
                    "party_id": _party_id(party),
                    "party_name": party.name,
                    "party_address": party.address,
                    "party_email": party.email,
                    "party_phone": party.phone,
                    "party_url": party.url,
                    "party_role": _ROLES[party.role],
                }
            )
            for party in policy.responsible.parties
        ],
        "event": [_event(record)],
    }


def _notice(record: Record, policy: Policy) -> dict[str, Any]:
    center = policy.responsible.privacy_center
    return _without_none(
        {
            "url": None if center is None else f"{center}/privacy",
            "version": record.notice_version,
            "sha256": None if record.notice_hash is None else record.notice_hash.hex(),
        }
    )


def _purpose(record: Record, rule: Purpose, policy: Policy, *, token: str | None) -> dict[str, Any]:
    regime = policy.jurisdictions.regime_of(record.jurisdiction)
    return _without_none(
        {
            "purpose": rule.key,
            "purpose_name": rule.name,
            "purpose_description": rule.text,
            "purpose_type": rule.data_use,
            "lawful_basis": _BASES[rule.legal_basis],
            "pii_information": [{"pii_type": category} for category in sorted(rule.categories)],
            "pii_controllers": [_party_id(party) for party in policy.responsible.parties if party.role in CONTROLLERS],
            "storage_locations": list(policy.responsible.storage_locations) or None,
            "retention_period": {key: _days(class_.keep_for_days) for key, class_ in policy.retention.classes.items()},
            "recipient_third_parties": [
                recipient.name
                for recipient in policy.destinations.destinations.values()
                if recipient.purpose == rule.key
            ],
            "withdrawal_method": None if token is None else withdrawal_method(policy, token),
            "privacy_rights": [right.value for right in regime.rights],
            "authority_party": regime.authority,
        }
    )


def withdrawal_method(policy: Policy, token: str) -> dict[str, str]:
    """How a consent is withdrawn with the token of its receipt: the page, by its full URL if the policy names where it is."""
    center = policy.responsible.privacy_center
    path = f"{WITHDRAWAL_PATH}/{token}"
    return {"token": token, "path": path} if center is None else {"token": token, "url": f"{center}{path}"}


def _event(record: Record) -> dict[str, Any]:
    return _without_none(
        {
            "event_time": instant_text(record.at),
            "recorded_at": instant_text(record.recorded_at),
            "validity_duration": None if record.valid_until is None else _days((record.valid_until - record.at).days),
            "valid_until": None if record.valid_until is None else instant_text(record.valid_until),
            "entity_id": _principal(record),
            "event_type": _EXPLICIT if record.is_two_step else _EXPRESSED,
            "event_state": _STATES[record.act],
            "act": record.act.value,
            "authority": record.authority.value,
            "is_two_step": record.is_two_step,
            "signal": record.signal,
            "signal_sha256": None if record.signal_hash is None else record.signal_hash.hex(),
            "rule": record.rule,
        }
    )


def _principal(record: Record) -> str:
    """A random number for the identifier that acted: the same in all receipts about it, and of no use elsewhere."""
    return encode_id("idf", record.identifier_id)


def _party_id(party: Party) -> str:
    return f"{party.role}: {party.name or party.email}"


def _days(days: int) -> str:
    """A number of days as an ISO 8601 duration."""
    return f"P{days}D"


def sign_receipt(body: Mapping[str, Any], signer: ReceiptSigner) -> dict[str, Any]:
    """The receipt as a JSON object: the body with a signature over its RFC 8785 bytes."""
    return {
        **body,
        "signature": {
            "algorithm": "Ed25519",
            "public_key": _text(signer.public_key),
            "value": _text(signer.sign(_signed_bytes(body))),
        },
    }


def is_genuine(receipt: Mapping[str, Any], public_key: bytes, is_signed: ReceiptSignatureCheck) -> bool:
    """Whether a receipt was signed with this key and has not been changed."""
    body = {name: value for name, value in receipt.items() if name != "signature"}
    signature = receipt.get("signature")
    if not isinstance(signature, dict) or not isinstance(signature.get("value"), str):
        return False
    try:
        value = base64.b64decode(signature["value"], validate=True)
        message = _signed_bytes(body)
    except ValueError:
        return False
    return is_signed(public_key, message, value)


def stated_by(receipt: Mapping[str, Any]) -> dict[str, str]:
    """The purpose and the act that a genuine receipt of any format states."""
    processing, event = receipt["pii_processing"], receipt["event"]
    if receipt["format"] == FORMAT:
        processing, event = processing["purposes"][0], event[0]
    return {"purpose": processing["purpose"], "act": event["act"]}


def _signed_bytes(body: Mapping[str, Any]) -> bytes:
    """What is signed. Raises ValueError if the body is of no known format, or has no canonical form."""
    label = FORMATS.get(str(body.get("format")))
    if label is None:
        raise ValueError("not a consent receipt")
    return label + canonical_json(dict(body))


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _without_none(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
