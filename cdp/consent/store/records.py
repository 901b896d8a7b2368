"""SQL of the ledger: acts appended and read, never updated."""

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
)


def append(tx: Transaction, records: Collection[Record]) -> None:
    """Add acts to the ledger."""
    if records:
        tx.copy(
            "consent.record",
            [name for name, _ in _COLUMNS],
            [kind for _, kind in _COLUMNS],
            rows=([_stored(each, name) for name, _ in _COLUMNS] for each in records),
        )


def store_repetitions(tx: Transaction, records: Collection[Record]) -> None:
    """Remember the last instant at which these noes were said again."""
    said_again = [each for each in records if each.repeated_at is not None]
    if said_again:
        tx.execute(
            """
            INSERT INTO consent.repetition AS known (record_id, identifier_id, repeated_at)
            SELECT * FROM unnest(%(records)s::bigint[], %(identifiers)s::bigint[], %(at)s::timestamptz[])
            ON CONFLICT (record_id) DO UPDATE SET repeated_at = excluded.repeated_at
            WHERE known.repeated_at < excluded.repeated_at
            """,
            {
                "records": [each.record_id for each in said_again],
                "identifiers": [each.identifier_id for each in said_again],
                "at": [each.repeated_at for each in said_again],
            },
        )


def records_of(tx: Transaction, identifier_ids: Collection[int], *, as_of: datetime | None = None) -> list[Record]:
    """Every act about these identifiers, or those that the ledger held at `as_of`.

    Whether an identifier is shared is left to the caller.
    """
    if not identifier_ids:
        return []
    rows = tx.execute(
        """
        SELECT r.record_id, r.identifier_id, r.purpose, r.act, r.authority, r.jurisdiction, r.notice_version,
               r.notice_hash, r.source_id, r.signal, r.signal_hash, r.rule, r.policy_fingerprint, r.occurred_at,
               r.recorded_at, r.valid_until, r.is_two_step, p.repeated_at
        FROM consent.record AS r
        LEFT JOIN consent.repetition AS p USING (record_id)
        WHERE r.identifier_id = ANY(%(ids)s::bigint[])
          AND (%(as_of)s::timestamptz IS NULL OR r.recorded_at <= %(as_of)s::timestamptz)
        """,
        {"ids": list(identifier_ids), "as_of": as_of},
    )
    return [_record(row) for row in rows]


def in_order(records: Iterable[Record]) -> list[Record]:
    """Acts as a person reads them: by the instant at which they count, at one instant the no last."""
    return sorted(records, key=lambda each: (each.at, each.act.is_refusal, each.record_id))


def _stored(record: Record, name: str) -> Any:
    value = getattr(record, name)
    return value.value if isinstance(value, Act | Authority) else value


def _record(row: Row) -> Record:
    return Record(
        record_id=RecordId(row[0]),
        identifier_id=row[1],
        purpose=row[2],
        act=Act(row[3]),
        authority=Authority(row[4]),
        jurisdiction=row[5],
        notice_version=row[6],
        notice_hash=row[7],
        source_id=row[8],
        signal=row[9],
        signal_hash=row[10],
        rule=row[11],
        policy_fingerprint=row[12],
        occurred_at=row[13],
        recorded_at=row[14],
        valid_until=row[15],
        is_two_step=row[16],
        repeated_at=row[17],
    )


def with_refusals(tx: Transaction, identifier_ids: Collection[int]) -> frozenset[int]:
    """Those of the identifiers for which any act but a grant is recorded."""
    rows = tx.execute(
        """
        SELECT DISTINCT identifier_id FROM consent.record
        WHERE identifier_id = ANY(%(ids)s::bigint[]) AND act <> 'grant'
        """,
        {"ids": list(identifier_ids)},
    )
    return frozenset(row[0] for row in rows)
