"""SQL of link tables: edges as recorded steps, and bulk inserts of new identifiers, profiles and links.

Callers should pass rows in the order of their ids: inserting into the indexes in order costs half.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from cdp.identity.model import Rule
from cdp.kit.copy import copy_packed
from cdp.kit.db import Transaction
from cdp.kit.pg_binary.copying import (
    always_day,
    always_instant,
    always_integer,
    always_octets,
    always_smallint,
    always_text,
    bigints,
    integers,
    octets,
    smallints,
)

_PSEUDONYM_BYTES = 32


class Edges(NamedTuple):
    """Edges of one link table by columns: sequence numbers, stronger identifiers, other identifiers, row numbers."""

    sequences: Sequence[int]
    ones: Sequence[int]
    others: Sequence[int]
    rows: Sequence[int]


class RecordedEdge(NamedTuple):
    """The origin of a recorded edge.

    `import_job_id` is None if the table was not a file; `policy_fingerprint` is None if no evidence is left.
    """

    source_id: int
    import_job_id: int | None
    row: int
    received_at: datetime
    policy_fingerprint: bytes | None


def insert_edges(
    tx: Transaction, edges: Edges, source_id: int, *, authority: int, import_job_id: int | None, now: datetime
) -> None:
    """Append edges to the recorded sequence, all with the authority of their source."""
    columns = [
        "sequence",
        "identifier_id",
        "other_identifier_id",
        "row_number",
        "source_id",
        "received_at",
        "authority",
    ]
    fields = [
        bigints(edges.sequences),
        bigints(edges.ones),
        bigints(edges.others),
        integers(edges.rows),
        always_integer(source_id),
        always_instant(now),
        always_smallint(authority),
    ]
    if import_job_id is not None:
        columns.append("import_job_id")
        fields.append(bigints([import_job_id] * len(edges.rows)))
    copy_packed(tx, "identity.edge", columns, count=len(edges.rows), fields=fields)


def insert_edge_evidence(
    tx: Transaction, edges: Edges, profiles: Sequence[int], *, policy_fingerprint: bytes, now: datetime
) -> None:
    """Append to the evidence, per edge, that it linked the weaker identifier with the stronger one in its profile."""
    copy_packed(
        tx,
        "identity.evidence",
        (
            "sequence",
            "kind",
            "rule",
            "identifier_id",
            "other_identifier_id",
            "profile_id",
            "at",
            "policy_fingerprint",
        ),
        count=len(edges.rows),
        fields=(
            bigints(edges.sequences),
            always_text("link"),
            always_text(Rule.LINK_TABLE),
            bigints(edges.others),
            bigints(edges.ones),
            bigints(profiles),
            always_instant(now),
            always_octets(policy_fingerprint),
        ),
    )


def insert_identifiers(
    tx: Transaction,
    ids: Sequence[int],
    types: Sequence[str],
    *,
    pseudonyms: Sequence[bytes],
    pseudonym_version: int,
    sealed: Sequence[bytes],
    authorities: Sequence[int],
    now: datetime,
) -> None:
    """Write identifiers that are not stored yet, by columns; all were first seen now."""
    named = {type_: type_.encode() for type_ in set(types)}
    copy_packed(
        tx,
        "identity.identifier",
        (
            "identifier_id",
            "type",
            "pseudonym",
            "pseudonym_version",
            "sealed",
            "first_seen_at",
            "last_seen_on",
            "authority",
        ),
        count=len(ids),
        fields=(
            bigints(ids),
            octets([named[type_] for type_ in types]),
            octets(pseudonyms, _PSEUDONYM_BYTES),
            always_smallint(pseudonym_version),
            octets(sealed),
            always_instant(now),
            always_day(now.date()),
            smallints(authorities),
        ),
    )


def insert_profiles(tx: Transaction, ids: Sequence[int], origins: Sequence[int], *, now: datetime) -> None:
    """Write new profiles, each with the sequence number of the step that created it."""
    copy_packed(
        tx,
        "identity.profile",
        ("profile_id", "origin_sequence", "created_at"),
        count=len(ids),
        fields=(bigints(ids), bigints(origins), always_instant(now)),
    )


def insert_links(tx: Transaction, identifiers: Sequence[int], profiles: Sequence[int], *, now: datetime) -> None:
    """Write the owning profiles of identifiers that had none."""
    copy_packed(
        tx,
        "identity.link",
        ("identifier_id", "profile_id", "linked_at"),
        count=len(identifiers),
        fields=(bigints(identifiers), bigints(profiles), always_instant(now)),
    )


def recorded_pairs(tx: Transaction, pairs: Sequence[tuple[int, int]]) -> set[tuple[int, int]]:
    """Those of these pairs, stronger identifier first, that are recorded as edges."""
    rows = tx.execute(
        """
        SELECT DISTINCT e.identifier_id, e.other_identifier_id
        FROM unnest(%(ones)s::bigint[], %(others)s::bigint[]) AS requested (identifier_id, other_identifier_id)
        JOIN identity.edge AS e USING (identifier_id, other_identifier_id)
        """,
        {"ones": [one for one, _ in pairs], "others": [other for _, other in pairs]},
    )
    return {(one, other) for one, other in rows}


def edges_of(tx: Transaction, sequences: Collection[int]) -> dict[int, RecordedEdge]:
    """The origins of these edges, by sequence, with the policy in force when they were applied; others are absent."""
    rows = tx.execute(
        """
        SELECT e.sequence, e.source_id, e.import_job_id, e.row_number, e.received_at,
               (SELECT v.policy_fingerprint FROM identity.evidence AS v
                WHERE v.sequence = e.sequence AND v.identifier_id IN (e.identifier_id, e.other_identifier_id)
                LIMIT 1) AS policy_fingerprint
        FROM identity.edge AS e
        WHERE e.sequence = ANY(%(sequences)s::bigint[])
        """,
        {"sequences": list(sequences)},
    )
    return {sequence: RecordedEdge(*columns) for sequence, *columns in rows}
