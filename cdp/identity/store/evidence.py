"""SQL of the recorded sequence and its evidence: both are appended to, and read to explain links."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from cdp.identity.model import EvidenceRow
from cdp.kit.db import Transaction


class NewResolution(NamedTuple):
    """A row of the recorded sequence; the message id is sealed under the key of the anchor.

    `occurred_at` is None for a message that was received when it happened.
    """

    sequence: int
    anchor_id: int
    source_id: int
    received_at: datetime
    message_sealed: bytes
    occurred_at: datetime | None = None


def record(
    tx: Transaction, steps: Sequence[NewResolution], evidence: Sequence[EvidenceRow], *, policy_fingerprint: bytes
) -> None:
    """Append to the recorded sequence and to its evidence in one statement; nothing happens without rows."""
    if not steps and not evidence:
        return
    tx.execute(
        """
        WITH recorded AS (
            INSERT INTO identity.resolution
                (sequence, anchor_id, source_id, received_at, message_sealed, occurred_at, policy_fingerprint)
            SELECT step.*, %(policy)s::bytea
            FROM unnest(%(s_sequences)s::bigint[], %(s_anchors)s::bigint[], %(s_sources)s::int[],
                        %(s_at)s::timestamptz[], %(s_sealed)s::bytea[], %(s_occurred)s::timestamptz[]) AS step
        )
        INSERT INTO identity.evidence
            (sequence, kind, rule, identifier_id, other_identifier_id, profile_id, other_profile_id, at,
             policy_fingerprint)
        SELECT row.*, %(policy)s::bytea
        FROM unnest(%(sequences)s::bigint[], %(kinds)s::text[], %(rules)s::text[], %(ids)s::bigint[],
                    %(others)s::bigint[], %(profiles)s::bigint[], %(other_profiles)s::bigint[],
                    %(at)s::timestamptz[]) AS row
        """,
        {
            "policy": policy_fingerprint,
            "s_sequences": [step.sequence for step in steps],
            "s_anchors": [step.anchor_id for step in steps],
            "s_sources": [step.source_id for step in steps],
            "s_at": [step.received_at for step in steps],
            "s_sealed": [step.message_sealed for step in steps],
            "s_occurred": [step.occurred_at for step in steps],
            "sequences": [row.sequence for row in evidence],
            "kinds": [row.kind for row in evidence],
            "rules": [str(row.rule) for row in evidence],
            "ids": [row.identifier_id for row in evidence],
            "others": [row.other_identifier_id for row in evidence],
            "profiles": [row.profile_id for row in evidence],
            "other_profiles": [row.other_profile_id for row in evidence],
            "at": [row.at for row in evidence],
        },
    )


def insert_evidence(tx: Transaction, rows: Sequence[EvidenceRow], policy_fingerprint: bytes) -> None:
    """Append to the evidence by COPY: for many rows."""
    if rows:
        tx.copy(
            "identity.evidence",
            (
                "sequence",
                "kind",
                "rule",
                "identifier_id",
                "other_identifier_id",
                "profile_id",
                "other_profile_id",
                "at",
                "policy_fingerprint",
            ),
            ("int8", "text", "text", "int8", "int8", "int8", "int8", "timestamptz", "bytea"),
            rows=(
                (
                    row.sequence,
                    row.kind,
                    row.rule,
                    row.identifier_id,
                    row.other_identifier_id,
                    row.profile_id,
                    row.other_profile_id,
                    row.at,
                    policy_fingerprint,
                )
                for row in rows
            ),
        )


class SealedResolution(NamedTuple):
    """A recorded step with the message that caused it, sealed."""

    sequence: int
    anchor_id: int
    source_id: int
    received_at: datetime
    message_sealed: bytes
    policy_fingerprint: bytes


def resolutions(tx: Transaction, sequences: Collection[int]) -> dict[int, SealedResolution]:
    """The messages behind these recorded steps, by sequence; steps of link tables are absent."""
    rows = tx.execute(
        """
        SELECT sequence, anchor_id, source_id, received_at, message_sealed, policy_fingerprint
        FROM identity.resolution
        WHERE sequence = ANY(%(sequences)s::bigint[])
        """,
        {"sequences": list(sequences)},
    )
    return {resolution.sequence: resolution for resolution in (SealedResolution(*row) for row in rows)}


def shared_since(tx: Transaction, identifier_ids: Collection[int]) -> dict[int, int]:
    """Since which step each of these shared identifiers has been so; those of which the evidence does not tell are absent.

    It does not where a replay made it shared, or it linked something or was taken afterwards. The step that proves it names
    the identifier, so that no earlier one is later than the last of those which the evidence has until then.
    """
    rows = tx.execute(
        """
        WITH proof AS (
            SELECT identifier_id,
                   max(evidence_id) FILTER (WHERE kind = 'shared' AND rule = 'unique') AS proved,
                   max(evidence_id) FILTER (WHERE kind IN ('authority', 'link', 'merge')) AS linked
            FROM identity.evidence
            WHERE identifier_id = ANY(%(ids)s::bigint[])
            GROUP BY identifier_id
        )
        SELECT identifier_id, max(e.sequence)
        FROM proof
        JOIN identity.evidence AS e USING (identifier_id)
        WHERE e.evidence_id <= proof.proved AND proof.proved > coalesce(proof.linked, 0)
        GROUP BY identifier_id
        """,
        {"ids": list(identifier_ids)},
    )
    return dict(rows)
