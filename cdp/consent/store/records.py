"""SQL of the ledger: acts are appended and read, never updated."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

from cdp.consent.model import Act, Authority, Record, RecordId
from cdp.kit.db import Row, Transaction

_COLUMNS = (
    ("record_id", "int8"),
    ("identifier_id", "int8"),
    ("purpose", "text"),
    ("act", "text"),
    ("authority", "text"),
    ("jurisdiction", "text"),
    ("notice_version", "text"),
    ("notice_hash", "bytea"),
    ("source_id", "int4"),
    ("signal", "text"),
    ("signal_hash", "bytea"),
    ("rule", "text"),
    ("policy_fingerprint", "bytea"),
    ("occurred_at", "timestamptz"),
    ("recorded_at", "timestamptz"),
    ("valid_until", "timestamptz"),
    ("is_two_step", "bool"),
    ("is_undated", "bool"),
)


def append(tx: Transaction, records: Collection[Record]) -> None:
    """Add acts to the ledger."""
    if records:
        tx.copy(
            "consent.record",
            [name for name, _ in _COLUMNS],
            [kind for _, kind in _COLUMNS],
            rows=([_stored(record, name) for name, _ in _COLUMNS] for record in records),
        )


def store_repetitions(tx: Transaction, records: Collection[Record]) -> None:
    """Store the last instant at which these refusals were repeated; records without one are skipped."""
    repeated = [record for record in records if record.repeated_at is not None]
    if repeated:
        tx.execute(
            """
            INSERT INTO consent.repetition AS stored (record_id, identifier_id, repeated_at)
            SELECT * FROM unnest(%(records)s::bigint[], %(identifiers)s::bigint[], %(at)s::timestamptz[])
            ON CONFLICT (record_id) DO UPDATE SET repeated_at = excluded.repeated_at
            WHERE stored.repeated_at < excluded.repeated_at
            """,
            {
                "records": [record.record_id for record in repeated],
                "identifiers": [record.identifier_id for record in repeated],
                "at": [record.repeated_at for record in repeated],
            },
        )


def records_of(tx: Transaction, identifier_ids: Collection[int], *, as_of: datetime | None = None) -> list[Record]:
    """Every act about these identifiers; with `as_of`, those that the ledger contained then.

    `is_shared` is not set.
    """
    if not identifier_ids:
        return []
    rows = tx.execute(
        """
        SELECT r.record_id, r.identifier_id, r.purpose, r.act, r.authority, r.jurisdiction, r.notice_version,
               r.notice_hash, r.source_id, r.signal, r.signal_hash, r.rule, r.policy_fingerprint, r.occurred_at,
               r.recorded_at, r.valid_until, r.is_two_step, r.is_undated, p.repeated_at
        FROM consent.record AS r
        LEFT JOIN consent.repetition AS p USING (record_id)
        WHERE r.identifier_id = ANY(%(ids)s::bigint[])
          AND (%(as_of)s::timestamptz IS NULL OR r.recorded_at <= %(as_of)s::timestamptz)
        """,
        {"ids": list(identifier_ids), "as_of": as_of},
    )
    return [_record(row) for row in rows]


def in_order(records: Iterable[Record]) -> list[Record]:
    """Acts in the order in which they take effect; at one instant, refusals come last."""
    return sorted(records, key=lambda record: (record.at, record.act.is_refusal, record.record_id))


def _stored(record: Record, name: str) -> Any:
    value = getattr(record, name)
    return value.value if isinstance(value, Act | Authority) else value


def _record(row: Row) -> Record:
    (
        record_id, identifier_id, purpose, act, authority, jurisdiction, notice_version, notice_hash, source_id, signal,
        signal_hash, rule, policy_fingerprint, occurred_at, recorded_at, valid_until, is_two_step, is_undated,
        repeated_at,
    ) = row  # fmt: skip
    return Record(
        record_id=RecordId(record_id),
        identifier_id=identifier_id,
        purpose=purpose,
        act=Act(act),
        authority=Authority(authority),
        jurisdiction=jurisdiction,
        notice_version=notice_version,
        notice_hash=notice_hash,
        source_id=source_id,
        signal=signal,
        signal_hash=signal_hash,
        rule=rule,
        policy_fingerprint=policy_fingerprint,
        occurred_at=occurred_at,
        recorded_at=recorded_at,
        valid_until=valid_until,
        is_two_step=is_two_step,
        is_undated=is_undated,
        repeated_at=repeated_at,
    )


def with_refusals(tx: Transaction, identifier_ids: Collection[int]) -> frozenset[int]:
    """The identifiers among these with at least one recorded refusal."""
    rows = tx.execute(
        """
        SELECT DISTINCT identifier_id FROM consent.record
        WHERE identifier_id = ANY(%(ids)s::bigint[]) AND act <> 'grant'
        """,
        {"ids": list(identifier_ids)},
    )
    return frozenset(identifier_id for (identifier_id,) in rows)
