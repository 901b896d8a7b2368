"""SQL of the ledger: acts appended, read by identifier or by profile, never updated."""

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
            ([_stored(each, name) for name, _ in _COLUMNS] for each in records),
        )


def repeat(tx: Transaction, records: Collection[Record]) -> None:
    """Remember the last instant at which these noes were said again."""
    said_again = [each for each in records if each.repeated_at is not None]
    if said_again:
        tx.bulk(
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


def records_of_identifiers(tx: Transaction, identifier_ids: Collection[int]) -> list[Record]:
    """Every act about these identifiers; whether they are shared is left to the caller."""
    if not identifier_ids:
        return []
    rows = tx.bulk(
        """
        SELECT r.record_id, r.identifier_id, r.purpose, r.act, r.authority, r.jurisdiction, r.notice_version,
               r.notice_hash, r.source_id, r.signal, r.signal_hash, r.rule, r.policy_fingerprint, r.occurred_at,
               r.recorded_at, r.valid_until, r.is_two_step, FALSE, p.repeated_at
        FROM consent.record AS r
        LEFT JOIN consent.repetition AS p USING (record_id)
        WHERE r.identifier_id = ANY(%(ids)s::bigint[])
        """,
        {"ids": list(identifier_ids)},
    )
    return [_record(row) for row in rows]


def records_of_profiles(
    tx: Transaction, profile_ids: Collection[int], *, as_of: datetime | None = None
) -> dict[int, list[Record]]:
    """Per profile, the acts that decide about it: those of its own identifiers, and, marked as shared,
    those of identifiers that link nobody but stand in one of its anchors.

    With `as_of`, what the ledger held at that instant.
    """
    found: dict[int, list[Record]] = {profile_id: [] for profile_id in profile_ids}
    if not found:
        return {}
    rows = tx.bulk(
        """
        WITH asked AS (SELECT * FROM unnest(%(ids)s::bigint[]) AS a (profile_id)),
        -- what a profile owns; and what no profile owns alone, from the messages that made its anchors
        counted AS (
            SELECT asked.profile_id, i.identifier_id, i.is_shared
            FROM asked
            JOIN identity.link USING (profile_id)
            JOIN identity.identifier AS i USING (identifier_id)
            UNION
            SELECT asked.profile_id, i.identifier_id, TRUE
            FROM asked
            JOIN identity.canonical USING (profile_id)
            JOIN identity.anchor_member USING (anchor_id)
            JOIN identity.identifier AS i USING (identifier_id)
            WHERE i.is_shared OR NOT EXISTS (SELECT FROM identity.link AS l WHERE l.identifier_id = i.identifier_id)
        )
        SELECT r.record_id, r.identifier_id, r.purpose, r.act, r.authority, r.jurisdiction, r.notice_version,
               r.notice_hash, r.source_id, r.signal, r.signal_hash, r.rule, r.policy_fingerprint, r.occurred_at,
               r.recorded_at, r.valid_until, r.is_two_step, counted.is_shared, p.repeated_at, counted.profile_id
        FROM counted
        JOIN consent.record AS r USING (identifier_id)
        LEFT JOIN consent.repetition AS p USING (record_id)
        WHERE %(as_of)s::timestamptz IS NULL OR r.recorded_at <= %(as_of)s::timestamptz
        """,
        {"ids": list(found), "as_of": as_of},
    )
    for row in rows:
        found[row[-1]].append(_record(row))
    return found


def profiles_counting(tx: Transaction, identifier_ids: Collection[int]) -> set[int]:
    """The profiles about which acts on these identifiers decide: see `records_of_profiles`."""
    if not identifier_ids:
        return set()
    rows = tx.bulk(
        """
        SELECT profile_id FROM identity.link WHERE identifier_id = ANY(%(ids)s::bigint[])
        UNION
        SELECT c.profile_id
        FROM identity.identifier AS i
        JOIN identity.anchor_member USING (identifier_id)
        JOIN identity.canonical AS c USING (anchor_id)
        WHERE i.identifier_id = ANY(%(ids)s::bigint[])
          AND (i.is_shared OR NOT EXISTS (SELECT FROM identity.link AS l WHERE l.identifier_id = i.identifier_id))
        """,
        {"ids": list(identifier_ids)},
    )
    return {row[0] for row in rows}


def record_by_id(tx: Transaction, record_id: int) -> Record | None:
    """One act, None when the ledger does not hold it."""
    rows = tx.bulk(
        """
        SELECT r.record_id, r.identifier_id, r.purpose, r.act, r.authority, r.jurisdiction, r.notice_version,
               r.notice_hash, r.source_id, r.signal, r.signal_hash, r.rule, r.policy_fingerprint, r.occurred_at,
               r.recorded_at, r.valid_until, r.is_two_step, FALSE, p.repeated_at
        FROM consent.record AS r
        LEFT JOIN consent.repetition AS p USING (record_id)
        WHERE r.record_id = %(id)s
        """,
        {"id": record_id},
    )
    return _record(rows[0]) if rows else None


def in_order(records: Iterable[Record]) -> list[Record]:
    """Acts as a person reads them: by the instant at which they count, at one instant the no last."""
    return sorted(records, key=lambda each: (each.at, each.act.is_no, each.record_id))


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
        is_shared=row[17],
        repeated_at=row[18],
    )
