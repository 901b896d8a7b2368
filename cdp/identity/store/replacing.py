"""SQL of a reviewer's decisions about an identifier: another one takes its place, or it identifies nobody."""

from collections.abc import Collection
from typing import Final

from cdp.identity.model import SHARED_FOR_GOOD
from cdp.kit.db import Transaction

_MEMBERS: Final = """
WITH both_there AS (  -- an anchor that has the two values keeps one of them
    DELETE FROM identity.anchor_member AS old
    WHERE old.identifier_id = %(old)s
      AND EXISTS (SELECT FROM identity.anchor_member AS m WHERE m.anchor_id = old.anchor_id AND m.identifier_id = %(new)s)
    RETURNING old.anchor_id
)
UPDATE identity.anchor_member SET identifier_id = %(new)s
WHERE identifier_id = %(old)s AND anchor_id NOT IN (SELECT anchor_id FROM both_there)
"""

_EDGES: Final = """
WITH loops AS (  -- a row that linked the two values links nothing
    DELETE FROM identity.edge
    WHERE (identifier_id, other_identifier_id) IN ((%(old)s, %(new)s), (%(new)s, %(old)s))
    RETURNING sequence
)
UPDATE identity.edge
SET identifier_id = CASE identifier_id WHEN %(old)s THEN %(new)s ELSE identifier_id END,
    other_identifier_id = CASE other_identifier_id WHEN %(old)s THEN %(new)s ELSE other_identifier_id END
WHERE (identifier_id = %(old)s OR other_identifier_id = %(old)s) AND sequence NOT IN (SELECT sequence FROM loops)
"""

_EVIDENCE: Final = """
WITH old AS (  -- evidence is never updated: it is recorded again under the other identifier
    DELETE FROM identity.evidence WHERE identifier_id = %(old)s OR other_identifier_id = %(old)s RETURNING *
)
INSERT INTO identity.evidence
    (sequence, kind, rule, identifier_id, other_identifier_id, profile_id, other_profile_id, at, policy_fingerprint)
SELECT sequence, kind, rule,
       CASE identifier_id WHEN %(old)s THEN %(new)s ELSE identifier_id END,
       CASE other_identifier_id WHEN %(old)s THEN %(new)s ELSE other_identifier_id END,
       profile_id, other_profile_id, at, policy_fingerprint
FROM old
ORDER BY evidence_id
"""

_NEVER: Final = """
WITH old AS (
    DELETE FROM identity.never
    WHERE identifier_id = %(old)s OR other_identifier_id = %(old)s
    RETURNING CASE identifier_id WHEN %(old)s THEN other_identifier_id ELSE identifier_id END AS side, created_at
)
INSERT INTO identity.never (identifier_id, other_identifier_id, created_at)
SELECT least(side, %(new)s), greatest(side, %(new)s), created_at FROM old WHERE side <> %(new)s
ON CONFLICT DO NOTHING
"""

_SEEN: Final = """
WITH old AS (
    DELETE FROM identity.identifier WHERE identifier_id = %(old)s RETURNING first_seen_at, last_seen_on, authority, proved_at
)
UPDATE identity.identifier AS i
SET first_seen_at = least(i.first_seen_at, old.first_seen_at), last_seen_on = greatest(i.last_seen_on, old.last_seen_on),
    authority = greatest(i.authority, old.authority), proved_at = least(i.proved_at, old.proved_at)
FROM old
WHERE i.identifier_id = %(new)s
"""


def replace(tx: Transaction, old: int, new: int) -> None:
    """Let one identifier take the place of another wherever the latter is recorded, and delete the latter.

    The caller replays the recorded steps around the new one, moves what other packages record about the old one, and
    shreds its key.
    """
    params = {"old": old, "new": new}
    for statement in (_MEMBERS, _EDGES, _EVIDENCE, _NEVER, _SEEN):
        tx.execute(statement, params)
    tx.execute("DELETE FROM identity.link WHERE identifier_id = %(old)s", params)
    tx.execute("DELETE FROM identity.rejected_case WHERE identifier_id = %(old)s", params)
    # Its former owners and sharing go with it: as of an earlier instant, only the other spelling is known.
    tx.execute("DELETE FROM identity.former_link WHERE identifier_id = %(old)s", params)
    tx.execute("DELETE FROM identity.former_sharing WHERE identifier_id = %(old)s", params)


def rename(tx: Transaction, identifier_id: int, *, pseudonym: bytes, version: int, sealed: bytes) -> None:
    """Store an identifier under another value: its pseudonym, made with this version of the key, and the sealed value."""
    tx.execute(
        """
        UPDATE identity.identifier
        SET pseudonym = %(pseudonym)s, pseudonym_version = %(version)s, sealed = %(sealed)s
        WHERE identifier_id = %(id)s
        """,
        {"id": identifier_id, "pseudonym": pseudonym, "version": version, "sealed": sealed},
    )


def leave_out(tx: Transaction, identifier_id: int) -> frozenset[int]:
    """Take an identifier out of the anchors that have others, as if their messages had not carried it.

    Gives the identifiers that it was seen with, by messages and link tables. The caller replays the recorded steps
    around them.
    """
    params = {"id": identifier_id}
    beside = tx.execute(
        """
        SELECT o.identifier_id
        FROM identity.anchor_member AS m
        JOIN identity.anchor_member AS o USING (anchor_id)
        WHERE m.identifier_id = %(id)s
        UNION
        SELECT e.other_identifier_id FROM identity.edge AS e WHERE e.identifier_id = %(id)s
        UNION
        SELECT e.identifier_id FROM identity.edge AS e WHERE e.other_identifier_id = %(id)s
        """,
        params,
    )
    tx.execute(
        """
        DELETE FROM identity.anchor_member AS m
        WHERE m.identifier_id = %(id)s
          AND EXISTS (SELECT FROM identity.anchor_member AS o
                      WHERE o.anchor_id = m.anchor_id AND o.identifier_id <> m.identifier_id)
        """,
        params,
    )
    tx.execute("DELETE FROM identity.link WHERE identifier_id = %(id)s", params)
    tx.execute("UPDATE identity.identifier SET is_shared = TRUE WHERE identifier_id = %(id)s", params)
    return frozenset(seen_with for (seen_with,) in beside)


def set_apart(tx: Transaction, identifier_ids: Collection[int]) -> frozenset[int]:
    """Those of these identifiers that are shared for good."""
    rows = tx.execute(
        """
        SELECT identifier_id FROM identity.evidence
        WHERE kind = 'shared' AND rule = ANY(%(rules)s::text[]) AND identifier_id = ANY(%(ids)s::bigint[])
        """,
        {"ids": list(identifier_ids), "rules": list(SHARED_FOR_GOOD)},
    )
    return frozenset(identifier_id for (identifier_id,) in rows)


def not_set_apart(tx: Transaction, identifier_ids: Collection[int]) -> frozenset[int]:
    """Those of these identifiers that are shared, and not for good."""
    rows = tx.execute(
        "SELECT identifier_id FROM identity.identifier WHERE is_shared AND identifier_id = ANY(%(ids)s::bigint[])",
        {"ids": list(identifier_ids)},
    )
    shared = frozenset(identifier_id for (identifier_id,) in rows)
    return shared - set_apart(tx, shared)
