"""All SQL of the ledger's facts: appending, reading, proving and erasing. The tree's own SQL is in `store_tree`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

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
    """What an auditor sees of one entry; `index` is None until the sequencer placed it."""

    entry_id: int
    index: int | None
    kind: str
    recorded_at: datetime
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FactCheck:
    """How many facts were held against their leaves, and which do not match."""

    checked: int
    altered: tuple[int, ...]


def append(tx: Transaction, fact: Mapping[str, Any], now: datetime) -> int:
    """Add one fact to the log, in the acting transaction; its entry id. See `append_many`."""
    return append_many(tx, [fact], now)[0]


def append_many(tx: Transaction, facts: Sequence[Mapping[str, Any]], now: datetime) -> list[int]:
    """Add facts in one statement; their entry ids, in order.

    Takes no lock: the leaf has no index until the sequencer gives it one after the commit. Raises the fault
    `audit_fact_refused` for a fact that `cdp.audit.fact` does not allow.
    """
    if not facts:
        return []
    bodies = [canonical_json(entry_body(fact, now)) for fact in facts]
    block = random_bytes(SALT_BYTES * len(bodies))
    salts = [block[at : at + SALT_BYTES] for at in range(0, len(block), SALT_BYTES)]
    rows = tx.execute(
        """
        WITH given AS MATERIALIZED (
            SELECT nextval('audit.entry_entry_id_seq') AS entry_id, ordered.*
            FROM (
                SELECT *
                FROM unnest(%(commitments)s::bytea[], %(kinds)s::text[], %(bodies)s::text[], %(salts)s::bytea[])
                    WITH ORDINALITY AS listed (commitment, kind, body, salt, place)
                ORDER BY place
            ) AS ordered
        ), leaf AS (
            INSERT INTO audit.entry (entry_id, commitment, recorded_at) OVERRIDING SYSTEM VALUE
            SELECT entry_id, commitment, %(now)s FROM given ORDER BY place
        )
        INSERT INTO audit.fact (entry_id, kind, recorded_at, body, salt)
        SELECT entry_id, kind, %(now)s, body::jsonb, salt FROM given ORDER BY place
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
    by_salt: dict[bytes, int] = {row[0]: row[1] for row in rows}
    return [by_salt[salt] for salt in salts]


def entries(
    tx: Transaction,
    *,
    kinds: Iterable[str] = (),
    since: datetime | None = None,
    until: datetime | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[LogEntry]:
    """Entries whose facts are not erased, newest first; go on with `before` = the last entry id."""
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


def receipt(tx: Transaction, entry_id: int) -> Receipt | None:
    """The proof that an entry stands in the log; None when it is not placed yet, or its fact is erased."""
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
    """The JSON of a receipt, with the key that verifies it named in it; None as for `receipt`."""
    found = receipt(tx, entry_id)
    tree = tree_of(tx, entry_id)
    if found is None or tree is None:
        return None
    return receipt_document(found, VerifierKey(tree.origin, public_key))


def check_facts(tx: Transaction, *, since: datetime | None = None, until: datetime | None = None) -> FactCheck:
    """Hold every stored fact of a period against its leaf, so that figures computed from facts can be believed.

    The kind and the instant by which facts are found must be those that the leaf commits to.
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
        altered += [
            row[0] for row in rows if not _is_as_logged(*row[1:4], kind=row[4], recorded_at=row[5], placed_at=row[6])
        ]
        checked += len(rows)
        if len(rows) < _CHECKED_AT_ONCE:
            return FactCheck(checked, tuple(altered))
        after = rows[-1][0]


def _is_as_logged(
    body: Mapping[str, Any], salt: bytes, leaf: bytes, *, kind: str, recorded_at: datetime, placed_at: datetime
) -> bool:
    told = (body.get("kind"), body.get("at"), body.get("at"))
    return commitment(salt, body) == leaf and told == (kind, instant_text(recorded_at), instant_text(placed_at))


def erase_salts(tx: Transaction, records: Sequence[str]) -> int:
    """Erase facts about these records with their salts: their leaves say nothing from then on. How many there were."""
    if not records:
        return 0
    rows = tx.execute(
        """
        WITH gone AS (
            DELETE FROM audit.fact
            WHERE kind = 'consent.recorded' AND body ->> 'record' = ANY(%(records)s::text[])
            RETURNING 1
        )
        SELECT count(*) FROM gone
        """,
        {"records": list(records)},
    )
    return int(rows[0][0])


def expire_facts(tx: Transaction, kinds: Iterable[str], before: datetime, *, limit: int = 10_000) -> int:
    """Erase facts of these kinds, with their salts, that were recorded before an instant; how many this call took."""
    rows = tx.execute(
        """
        WITH aged AS (
            SELECT entry_id FROM audit.fact
            WHERE kind = ANY(%(kinds)s::text[]) AND recorded_at < %(before)s
            ORDER BY entry_id LIMIT %(limit)s
        ), gone AS (
            DELETE FROM audit.fact USING aged WHERE fact.entry_id = aged.entry_id RETURNING 1
        )
        SELECT count(*) FROM gone
        """,
        {"kinds": list(kinds), "before": before, "limit": limit},
    )
    return int(rows[0][0])
