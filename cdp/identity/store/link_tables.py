"""SQL of link tables: edges as recorded steps, and many new people at once.

What is copied in comes in the order of its ids at best, because rows that go into their indexes in order cost half.
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
)

_PSEUDONYM_BYTES = 32


class Edges(NamedTuple):
    """Edges of one table, column by column: their numbers in the sequence, the stronger identifiers, the others, the rows."""

    sequences: Sequence[int]
    ones: Sequence[int]
    others: Sequence[int]
    rows: Sequence[int]


class RecordedEdge(NamedTuple):
    """Where a recorded edge came from; `import_job_id` is None where the table was no file, the fingerprint
    where no evidence is left."""

    source_id: int
    import_job_id: int | None
    row: int
    received_at: datetime
    policy_fingerprint: bytes | None


def insert_edges(tx: Transaction, edges: Edges, source_id: int, *, import_job_id: int | None, now: datetime) -> None:
    """Append edges to the recorded sequence."""
    columns = ["sequence", "identifier_id", "other_identifier_id", "row_number", "source_id", "received_at"]
    fields = [
        bigints(edges.sequences),
        bigints(edges.ones),
        bigints(edges.others),
        integers(edges.rows),
        always_integer(source_id),
        always_instant(now),
    ]
    if import_job_id is not None:
        columns.append("import_job_id")
        fields.append(bigints([import_job_id] * len(edges.rows)))
    copy_packed(tx, "identity.edge", columns, count=len(edges.rows), fields=fields)


def insert_edge_evidence(
    tx: Transaction, edges: Edges, profiles: Sequence[int], *, policy_fingerprint: bytes, now: datetime
) -> None:
    """Append to the evidence that each edge linked the weaker identifier with the stronger one, in `profiles`."""
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
    now: datetime,
) -> None:
    """Write identifiers that are not known yet."""
    named = {type_: type_.encode() for type_ in set(types)}
    copy_packed(
        tx,
        "identity.identifier",
        ("identifier_id", "type", "pseudonym", "pseudonym_version", "sealed", "first_seen_at", "last_seen_on"),
        count=len(ids),
        fields=(
            bigints(ids),
            octets([named[type_] for type_ in types]),
            octets(pseudonyms, _PSEUDONYM_BYTES),
            always_smallint(pseudonym_version),
            octets(sealed),
            always_instant(now),
            always_day(now.date()),
        ),
    )


def insert_profiles(tx: Transaction, ids: Sequence[int], births: Sequence[int], *, now: datetime) -> None:
    """Write profiles that did not exist, each with the number of the step that bore it."""
    copy_packed(
        tx,
        "identity.profile",
        ("profile_id", "origin_sequence", "created_at"),
        count=len(ids),
        fields=(bigints(ids), bigints(births), always_instant(now)),
    )


def insert_links(tx: Transaction, identifiers: Sequence[int], profiles: Sequence[int], *, now: datetime) -> None:
    """Write the owners of identifiers that had none."""
    copy_packed(
        tx,
        "identity.link",
        ("identifier_id", "profile_id", "linked_at"),
        count=len(identifiers),
        fields=(bigints(identifiers), bigints(profiles), always_instant(now)),
    )


def recorded(tx: Transaction, pairs: Sequence[tuple[int, int]]) -> set[tuple[int, int]]:
    """Which of these pairs, stronger identifier first, are recorded already."""
    rows = tx.execute(
        """
        SELECT DISTINCT e.identifier_id, e.other_identifier_id
        FROM unnest(%(ones)s::bigint[], %(others)s::bigint[]) AS asked (identifier_id, other_identifier_id)
        JOIN identity.edge AS e USING (identifier_id, other_identifier_id)
        """,
        {"ones": [pair[0] for pair in pairs], "others": [pair[1] for pair in pairs]},
    )
    return {(row[0], row[1]) for row in rows}


def edges_of(tx: Transaction, sequences: Collection[int]) -> dict[int, RecordedEdge]:
    """Where the edges among these steps came from, and under which policy they were taken."""
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
    return {row[0]: RecordedEdge(*row[1:]) for row in rows}
