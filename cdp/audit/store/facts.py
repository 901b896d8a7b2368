"""SQL of the facts of the audit log: appending, reading, proving and erasing."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from cdp.audit.checkpoint import VerifierKey
from cdp.audit.fact import SALT_BYTES, commitment, commitment_to, entry_body
from cdp.audit.merkle import inclusion_spans, prove
from cdp.audit.store.tree import node_reader, signed_head, tree_of
from cdp.audit.verify import Receipt, receipt_document
from cdp.kit.canonical import canonical_json, instant_text
from cdp.kit.db import Transaction
from cdp.kit.ids import random_bytes

_LISTED_MAX: Final = 1_000
_CHECKED_AT_ONCE: Final = 5_000


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One entry as an auditor sees it; `index` is None until it is sequenced."""

    entry_id: int
    index: int | None
    kind: str
    recorded_at: datetime
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FactCheck:
    """How many facts were compared with their leaves, and the entry ids of those that do not match."""

    checked: int
    altered: tuple[int, ...]


class _StoredFact(NamedTuple):
    """A fact as stored, with the commitment and instant of its leaf."""

    entry_id: int
    body: Mapping[str, Any]
    salt: bytes
    commitment: bytes
    kind: str
    recorded_at: datetime
    leaf_recorded_at: datetime


def append(tx: Transaction, fact: Mapping[str, Any], now: datetime) -> int:
    """Add one fact to the log, in the transaction that it describes; returns its entry id. See `append_many`."""
    return append_many(tx, [fact], now)[0]


def append_many(tx: Transaction, facts: Sequence[Mapping[str, Any]], now: datetime) -> list[int]:
    """Add facts in one statement; returns their entry ids, in order.

    No lock is needed: a leaf has no index until it is sequenced after the commit. Raises the fault
    `audit_fact_refused` for a fact that `cdp.audit.fact` does not allow.
    """
    if not facts:
        return []
    bodies = [canonical_json(entry_body(fact, now)) for fact in facts]
    block = random_bytes(SALT_BYTES * len(bodies))
    salts = [block[at : at + SALT_BYTES] for at in range(0, len(block), SALT_BYTES)]
    rows = tx.execute(
        """
        -- entry ids follow the order of the facts
        WITH numbered AS MATERIALIZED (
            SELECT nextval('audit.entry_entry_id_seq') AS entry_id, ordered.*
            FROM (
                SELECT *
                FROM unnest(%(commitments)s::bytea[], %(kinds)s::text[], %(bodies)s::text[], %(salts)s::bytea[])
                    WITH ORDINALITY AS listed (commitment, kind, body, salt, position)
                ORDER BY position
            ) AS ordered
        ), leaf AS (
            INSERT INTO audit.entry (entry_id, commitment, recorded_at) OVERRIDING SYSTEM VALUE
            SELECT entry_id, commitment, %(now)s FROM numbered ORDER BY position
        )
        INSERT INTO audit.fact (entry_id, kind, recorded_at, body, salt)
        SELECT entry_id, kind, %(now)s, body::jsonb, salt FROM numbered ORDER BY position
        RETURNING salt, entry_id
        """,
        {
            "commitments": [commitment_to(salt, body) for salt, body in zip(salts, bodies, strict=True)],
            "kinds": [fact["kind"] for fact in facts],
            "bodies": [body.decode() for body in bodies],
            "salts": salts,
            "now": now,
        },
    )
    by_salt: dict[bytes, int] = {salt: int(entry_id) for salt, entry_id in rows}
    return [by_salt[salt] for salt in salts]


def add_read_subjects(tx: Transaction, entry_id: int, digests: Collection[bytes]) -> None:
    """Note whom the read of an entry showed, by the digests of the subjects."""
    if digests:
        tx.execute(
            """
            INSERT INTO audit.read_subject (subject_digest, entry_id)
            SELECT DISTINCT digest, %(entry)s::bigint FROM unnest(%(digests)s::bytea[]) AS listed (digest)
            """,
            {"entry": entry_id, "digests": list(digests)},
        )


def reads_of(tx: Transaction, digests: Collection[bytes], *, limit: int = _LISTED_MAX) -> list[LogEntry]:
    """The reads that showed any of these subjects, newest first."""
    if not digests:
        return []
    rows = tx.execute(
        """
        SELECT fact.entry_id, entry.leaf_index, fact.kind, fact.recorded_at, fact.body
        FROM audit.fact JOIN audit.entry USING (entry_id)
        WHERE fact.entry_id IN (
            SELECT entry_id FROM audit.read_subject WHERE subject_digest = ANY(%(digests)s::bytea[])
        )
        ORDER BY fact.entry_id DESC
        LIMIT %(limit)s
        """,
        {"digests": list(digests), "limit": limit},
    )
    return [LogEntry(*row) for row in rows]


def entries(
    tx: Transaction,
    *,
    kinds: Iterable[str] = (),
    since: datetime | None = None,
    until: datetime | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[LogEntry]:
    """Entries whose facts are not erased, newest first; for the next page, pass the last entry id as `before`."""
    wanted = list(kinds)
    rows = tx.execute(
        """
        SELECT fact.entry_id, entry.leaf_index, fact.kind, fact.recorded_at, fact.body
        FROM audit.fact JOIN audit.entry USING (entry_id)
        WHERE (%(any_kind)s OR fact.kind = ANY(%(kinds)s::text[]))
          AND fact.recorded_at >= coalesce(%(since)s::timestamptz, '-infinity')
          AND fact.recorded_at < coalesce(%(until)s::timestamptz, 'infinity')
          AND fact.entry_id < coalesce(%(before)s::bigint, 9223372036854775807)
        ORDER BY fact.entry_id DESC
        LIMIT %(limit)s
        """,
        {
            "any_kind": not wanted,
            "kinds": wanted,
            "since": since,
            "until": until,
            "before": before,
            "limit": min(max(limit, 1), _LISTED_MAX),
        },
    )
    return [LogEntry(*row) for row in rows]


def leaves(tx: Transaction, entry_ids: Sequence[int]) -> dict[int, bytes]:
    """The commitments of these entries, by entry id."""
    rows = tx.execute(
        "SELECT entry_id, commitment FROM audit.entry WHERE entry_id = ANY(%(entries)s::bigint[])",
        {"entries": list(entry_ids)},
    )
    return {entry_id: bytes(commitment) for entry_id, commitment in rows}


def receipt(tx: Transaction, entry_id: int) -> Receipt | None:
    """The proof that an entry is in the log; None if it is not sequenced yet, or its fact is erased."""
    rows = tx.execute(
        """
        SELECT entry.tree_id, entry.leaf_index, fact.body, fact.salt
        FROM audit.entry JOIN audit.fact USING (entry_id)
        WHERE entry.entry_id = %(entry)s AND entry.leaf_index IS NOT NULL
        """,
        {"entry": entry_id},
    )
    if not rows:
        return None
    tree_id, index, body, salt = rows[0]
    head = signed_head(tx, tree_id)
    if head is None:
        return None
    proof = prove(inclusion_spans(index, head.size), node_reader(tx, tree_id))
    return Receipt(body, salt, index, tuple(proof), head.note)


def receipt_file(tx: Transaction, entry_id: int, public_key: bytes) -> dict[str, Any] | None:
    """The JSON object of a receipt, including the key that verifies it; None as for `receipt`."""
    found = receipt(tx, entry_id)
    tree = tree_of(tx, entry_id)
    if found is None or tree is None:
        return None
    return receipt_document(found, VerifierKey(tree.origin, public_key))


def check_facts(tx: Transaction, *, since: datetime | None = None, until: datetime | None = None) -> FactCheck:
    """Compare every stored fact of a period with its leaf, so that figures computed from facts are reliable.

    The kind and the instant in the columns must be those that the leaf commits to.
    """
    checked, after, altered = 0, 0, list[int]()
    while True:
        rows = tx.execute(
            """
            SELECT fact.entry_id, fact.body, fact.salt, entry.commitment, fact.kind, fact.recorded_at, entry.recorded_at
            FROM audit.fact JOIN audit.entry USING (entry_id)
            WHERE fact.entry_id > %(after)s
              AND fact.recorded_at >= coalesce(%(since)s::timestamptz, '-infinity')
              AND fact.recorded_at < coalesce(%(until)s::timestamptz, 'infinity')
            ORDER BY fact.entry_id
            LIMIT %(limit)s
            """,
            {"after": after, "since": since, "until": until, "limit": _CHECKED_AT_ONCE},
        )
        facts = [_StoredFact(*row) for row in rows]
        altered += [fact.entry_id for fact in facts if not _is_as_logged(fact)]
        checked += len(rows)
        if len(rows) < _CHECKED_AT_ONCE:
            return FactCheck(checked, tuple(altered))
        after = facts[-1].entry_id


def _is_as_logged(fact: _StoredFact) -> bool:
    stated = (fact.body.get("kind"), fact.body.get("at"), fact.body.get("at"))
    stored = (fact.kind, instant_text(fact.recorded_at), instant_text(fact.leaf_recorded_at))
    return commitment(fact.salt, fact.body) == fact.commitment and stated == stored


def acts_at(tx: Transaction, instants: Collection[datetime]) -> dict[datetime, list[str]]:
    """The commitments to consent acts in the entries of each instant, as the entries list them."""
    rows = tx.execute(
        """
        SELECT fact.recorded_at, array_agg(fact.body ->> 'acts')
        FROM audit.fact
        WHERE fact.kind IN ('consent.batch', 'consent.recorded')
          AND fact.recorded_at = ANY(%(instants)s::timestamptz[]) AND fact.body ? 'acts'
        GROUP BY fact.recorded_at
        """,
        {"instants": sorted(set(instants))},
    )
    return dict(rows)


def earliest_act_entry(tx: Transaction) -> datetime | None:
    """The instant of the earliest entry about consent acts whose fact is not erased."""
    rows = tx.execute(
        """
        SELECT min(recorded_at) FROM audit.fact WHERE kind IN ('consent.batch', 'consent.recorded')
        """
    )
    instant: datetime | None = rows[0][0]
    return instant


def migrated_at(tx: Transaction, version: int) -> datetime | None:
    """When a migration was applied to this store after its start; None if it began with it, or nothing is known."""
    rows = tx.execute(
        """
        SELECT migrated.recorded_at FROM audit.fact AS migrated
        WHERE migrated.kind = 'schema.migrated' AND (migrated.body ->> 'version')::int = %(version)s
          AND NOT EXISTS (
              SELECT FROM audit.fact AS first
              WHERE first.kind = 'schema.migrated' AND (first.body ->> 'version')::int = 1
                AND first.recorded_at = migrated.recorded_at
          )
        ORDER BY migrated.recorded_at LIMIT 1
        """,
        {"version": version},
    )
    return next((recorded_at for (recorded_at,) in rows), None)


def erase_salts(tx: Transaction, records: Sequence[str]) -> int:
    """Erase the facts about these consent records with their salts; returns how many. Their leaves reveal nothing then."""
    if not records:
        return 0
    rows = tx.execute(
        """
        WITH deleted AS (
            DELETE FROM audit.fact
            WHERE kind = 'consent.recorded' AND body ->> 'record' = ANY(%(records)s::text[])
            RETURNING 1
        )
        SELECT count(*) FROM deleted
        """,
        {"records": list(records)},
    )
    return int(rows[0][0])


def expire_facts(tx: Transaction, kinds: Iterable[str], before: datetime, *, limit: int = 10_000) -> int:
    """Erase facts of these kinds, with their salts, recorded before an instant; returns how many.

    Deletes at most `limit` facts, oldest first.
    """
    rows = tx.execute(
        """
        WITH aged AS (
            SELECT entry_id FROM audit.fact
            WHERE kind = ANY(%(kinds)s::text[]) AND recorded_at < %(before)s
            ORDER BY entry_id LIMIT %(limit)s
        ), deleted AS (
            DELETE FROM audit.fact USING aged WHERE fact.entry_id = aged.entry_id RETURNING 1
        )
        SELECT count(*) FROM deleted
        """,
        {"kinds": list(kinds), "before": before, "limit": limit},
    )
    return int(rows[0][0])
