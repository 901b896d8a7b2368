"""How the audit log commits to an act in the ledger. Pure.

The commitment covers everything that the record contains, and 32 random bytes that are stored with the record and
deleted with it: what is left in the log then reveals nothing.
"""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Final

from cdp.consent.model import Record

SALT_BYTES: Final = 32

_LABEL: Final = b"cdp/consent/act/v1\n"
_REPETITION_LABEL: Final = b"cdp/consent/repetition/v1\n"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def act_commitment(salt: bytes, record: Record) -> bytes:
    """The 32 bytes that represent a recorded act in the log."""
    fields = (
        record.record_id,
        record.identifier_id,
        record.purpose,
        record.act.value,
        record.authority.value,
        record.jurisdiction,
        record.notice_version,
        None if record.notice_hash is None else record.notice_hash.hex(),
        record.source_id,
        record.signal,
        None if record.signal_hash is None else record.signal_hash.hex(),
        record.rule,
        record.policy_fingerprint.hex(),
        _microseconds(record.occurred_at),
        _microseconds(record.recorded_at),
        None if record.valid_until is None else _microseconds(record.valid_until),
        record.is_two_step,
        record.is_undated,
        record.is_subject_initiated,
        *(() if record.permits_from is None else (_microseconds(record.permits_from),)),
    )
    return hashlib.sha256(_LABEL + salt + repr(fields).encode()).digest()


def repetition_commitment(
    salt: bytes, record_id: int, identifier_id: int, *, repeated_at: datetime, recorded_at: datetime
) -> bytes:
    """The 32 bytes that represent the repetition of a recorded refusal in the log."""
    fields = (record_id, identifier_id, _microseconds(repeated_at), _microseconds(recorded_at))
    return hashlib.sha256(_REPETITION_LABEL + salt + repr(fields).encode()).digest()


def _microseconds(instant: datetime) -> int:
    return (instant - _EPOCH) // _MICROSECOND
