"""SQL of the ledger: acts are appended and read, never updated."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any, NamedTuple

from cdp.consent.commitment import SALT_BYTES, act_commitment, repetition_commitment
from cdp.consent.model import Act, Authority, Record, RecordId
from cdp.kit.db import Row, Transaction
from cdp.kit.ids import random_bytes

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
    ("is_subject_initiated", "bool"),
    ("permits_from", "timestamptz"),
)


def append(tx: Transaction, records: Collection[Record]) -> list[bytes]:
    """Add acts to the ledger; returns the commitment to each, for the audit log."""
    if not records:
        return []
    salts = _salts(len(records))
    tx.copy(
        "consent.record",
        [*(name for name, _ in _COLUMNS), "salt"],
        [*(kind for _, kind in _COLUMNS), "bytea"],
        rows=(
            [*(_stored(record, name) for name, _ in _COLUMNS), salt]
            for record, salt in zip(records, salts, strict=True)
        ),
    )
    return [act_commitment(salt, record) for record, salt in zip(records, salts, strict=True)]


def append_repetitions(tx: Transaction, records: Collection[Record], *, now: datetime) -> list[bytes]:
    """Add a row for the last repetition of each of these refusals, recorded at `now`; returns the commitment to each.

    Records without a repetition are skipped.
    """
    repeated = [(record, record.repeated_at) for record in records if record.repeated_at is not None]
    if not repeated:
        return []
    salts = _salts(len(repeated))
    tx.execute(
        """
        INSERT INTO consent.repetition (record_id, identifier_id, repeated_at, recorded_at, salt)
        SELECT listed.record_id, listed.identifier_id, listed.repeated_at, %(now)s, listed.salt
        FROM unnest(%(records)s::bigint[], %(identifiers)s::bigint[], %(at)s::timestamptz[], %(salts)s::bytea[])
            AS listed (record_id, identifier_id, repeated_at, salt)
        """,
        {
            "records": [record.record_id for record, _ in repeated],
            "identifiers": [record.identifier_id for record, _ in repeated],
            "at": [repeated_at for _, repeated_at in repeated],
            "salts": salts,
            "now": now,
        },
    )
    return [
        repetition_commitment(salt, record.record_id, record.identifier_id, repeated_at=repeated_at, recorded_at=now)
        for (record, repeated_at), salt in zip(repeated, salts, strict=True)
    ]


def _salts(count: int) -> list[bytes]:
    block = random_bytes(SALT_BYTES * count)
    return [block[at : at + SALT_BYTES] for at in range(0, len(block), SALT_BYTES)]


def delete_of(tx: Transaction, identifier_id: int) -> None:
    """Delete the records about one identifier; those that still count were recorded again about another one."""
    tx.execute(
        """
        WITH repetitions AS (DELETE FROM consent.repetition WHERE identifier_id = %(id)s)
        DELETE FROM consent.record WHERE identifier_id = %(id)s
        """,
        {"id": identifier_id},
    )


def identifiers_with_opt_outs(tx: Transaction) -> list[int]:
    """The identifiers about which the ledger has an act other than a grant."""
    return [row[0] for row in tx.execute("SELECT DISTINCT identifier_id FROM consent.record WHERE act <> 'grant'")]


def records_of(
    tx: Transaction,
    identifier_ids: Collection[int],
    *,
    as_of: datetime | None = None,
    occurred_by: datetime | None = None,
) -> list[Record]:
    """Every act about these identifiers; with `as_of`, those that the ledger contained then.

    With `occurred_by`, those that had taken effect by then, whenever they were recorded. Grants are shortened by the
    policies that were in force by then.

    `is_shared` is not set.
    """
    if not identifier_ids:
        return []
    rows = tx.execute(
        """
        SELECT r.record_id, r.identifier_id, r.purpose, r.act, r.authority, r.jurisdiction, r.notice_version,
               r.notice_hash, r.source_id, r.signal, r.signal_hash, r.rule, r.policy_fingerprint, r.occurred_at,
               r.recorded_at, r.valid_until, r.is_two_step, r.is_undated, r.is_subject_initiated, r.permits_from,
               CASE WHEN r.act = 'grant' AND EXISTS (SELECT FROM consent.validity) THEN consent.shortened_end(
                   r.purpose, least(r.occurred_at, r.recorded_at), r.recorded_at,
                   least(%(as_of)s::timestamptz, %(occurred_by)s::timestamptz)
               ) END AS shortened_to,
               (  -- the last repetition that was recorded by then
                   SELECT max(p.repeated_at) FROM consent.repetition AS p
                   WHERE p.record_id = r.record_id
                     AND (%(as_of)s::timestamptz IS NULL OR p.recorded_at <= %(as_of)s::timestamptz)
                     AND (%(occurred_by)s::timestamptz IS NULL OR p.repeated_at <= %(occurred_by)s::timestamptz)
               ) AS repeated_at
        FROM consent.record AS r
        WHERE r.identifier_id = ANY(%(ids)s::bigint[])
          AND (%(as_of)s::timestamptz IS NULL OR r.recorded_at <= %(as_of)s::timestamptz)
          AND (
              %(occurred_by)s::timestamptz IS NULL
              OR least(r.occurred_at, r.recorded_at) <= %(occurred_by)s::timestamptz
          )
        """,
        {"ids": list(identifier_ids), "as_of": as_of, "occurred_by": occurred_by},
    )
    return [_record(row) for row in rows]


def digests_of(tx: Transaction, identifier_ids: Collection[int]) -> dict[int, int]:
    """By identifier, the ids of its records joined by exclusive or; as ids are random, it tells which records there are."""
    rows = tx.execute(
        """
        SELECT identifier_id, bit_xor(record_id) FROM consent.record
        WHERE identifier_id = ANY(%(ids)s::bigint[]) GROUP BY identifier_id
        """,
        {"ids": list(identifier_ids)},
    )
    return dict(rows)


def identifier_of(tx: Transaction, record_id: RecordId) -> int | None:
    """The identifier that a record is about; None if there is no such record."""
    rows = tx.execute(
        "SELECT identifier_id FROM consent.record WHERE record_id = %(record)s::bigint", {"record": record_id}
    )
    return rows[0][0] if rows else None


class Place(NamedTuple):
    """A place in the ledger: a record id and, for a repetition, its instant."""

    record_id: int
    at: datetime


class CommittedRow(NamedTuple):
    """A row of the ledger with the commitment that the log must contain, and the instant of its entry."""

    place: Place
    commitment: bytes
    recorded_at: datetime


def committed_acts(tx: Transaction, after: Place, limit: int) -> list[CommittedRow]:
    """Up to `limit` acts with a salt, in the order of their ids, after a place."""
    rows = tx.execute(
        """
        SELECT r.record_id, r.identifier_id, r.purpose, r.act, r.authority, r.jurisdiction, r.notice_version,
               r.notice_hash, r.source_id, r.signal, r.signal_hash, r.rule, r.policy_fingerprint, r.occurred_at,
               r.recorded_at, r.valid_until, r.is_two_step, r.is_undated, r.is_subject_initiated, r.permits_from,
               NULL::timestamptz, NULL::timestamptz, r.salt
        FROM consent.record AS r
        WHERE r.record_id > %(after)s AND r.salt IS NOT NULL
        ORDER BY r.record_id
        LIMIT %(limit)s
        """,
        {"after": after.record_id, "limit": limit},
    )
    acts = ((_record(row[:-1]), row[-1]) for row in rows)
    return [
        CommittedRow(Place(act.record_id, act.at), act_commitment(salt, act), act.recorded_at) for act, salt in acts
    ]


def committed_repetitions(tx: Transaction, after: Place, limit: int) -> list[CommittedRow]:
    """Up to `limit` repetitions with a salt, in the order of record id and instant, after a place."""
    rows = tx.execute(
        """
        SELECT record_id, identifier_id, repeated_at, recorded_at, salt
        FROM consent.repetition
        WHERE (record_id, repeated_at) > (%(record)s::bigint, %(repeated)s::timestamptz) AND salt IS NOT NULL
        ORDER BY record_id, repeated_at
        LIMIT %(limit)s
        """,
        {"record": after.record_id, "repeated": after.at, "limit": limit},
    )
    return [
        CommittedRow(
            Place(record_id, repeated_at),
            repetition_commitment(salt, record_id, identifier_id, repeated_at=repeated_at, recorded_at=recorded_at),
            recorded_at,
        )
        for record_id, identifier_id, repeated_at, recorded_at, salt in rows
    ]


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
        is_subject_initiated, permits_from, shortened_to, repeated_at,
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
        is_subject_initiated=is_subject_initiated,
        permits_from=permits_from,
        shortened_to=shortened_to,
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
