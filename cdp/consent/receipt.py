"""The consent receipt: a signed copy of one record for the person, following ISO/IEC TS 27560 with DPV terms.

It states what was decided, for which purpose, on which notice and when; it contains no value of an identifier. It can
be verified offline with the file and the public key.
"""

import base64
from collections.abc import Mapping
from typing import Any, Final, Protocol

from cdp.consent.model import Act, Record
from cdp.kit.canonical import canonical_json, instant_text
from cdp.kit.ids import encode_id
from cdp.policy.model import LegalBasis, Purpose

FORMAT: Final = "cdp/consent-receipt@v1"
SCHEMA: Final = "dpv-27560:receipt-record"

_LABEL: Final = b"cdp/consent-receipt/v1\n"

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


def receipt_body(record: Record, rule: Purpose, identifier_type: str) -> dict[str, Any]:
    """The body of a receipt for one act; unknown fields are omitted."""
    return {
        "format": FORMAT,
        "schema_version": SCHEMA,
        "record_id": outward_id(record),
        "pii_principal": {"identifier_type": identifier_type},
        "pii_processing": {
            "purpose": rule.key,
            "purpose_name": rule.name,
            "purpose_description": rule.text,
            "lawful_basis": _BASES[rule.legal_basis],
            "pii_information": sorted(rule.categories),
            "data_use": rule.data_use,
            "jurisdiction": record.jurisdiction,
            "policy": record.policy_fingerprint.hex(),
        },
        "event": _without_none(
            {
                "event_state": _STATES[record.act],
                "act": record.act.value,
                "event_time": instant_text(record.at),
                "recorded_at": instant_text(record.recorded_at),
                "valid_until": None if record.valid_until is None else instant_text(record.valid_until),
                "authority": record.authority.value,
                "is_two_step": record.is_two_step,
                "notice_version": record.notice_version,
                "notice_sha256": None if record.notice_hash is None else record.notice_hash.hex(),
            }
        ),
    }


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


def _signed_bytes(body: Mapping[str, Any]) -> bytes:
    return _LABEL + canonical_json(dict(body))


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _without_none(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
