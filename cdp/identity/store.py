"""SQL of the identity room that every message needs: look up, lock, write.

Whoever changes identifiers, links, verdicts or suppressions holds `lock_exclusive` to the commit, so
the order of commits is the order of the recorded sequence, and no two writers can deadlock.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import date, datetime
from typing import NamedTuple

from cdp.identity.model import EvidenceRow
from cdp.kit.db import Transaction


class Generation(NamedTuple):
    """The version of the mapping and the next number of the recorded sequence."""

    version: int
    next_sequence: int


class Advanced(NamedTuple):
    """The version that a transaction leaves behind, and whether the store moved it on for what the transaction changed."""

    version: int
    is_moved: bool


class KnownIdentifier(NamedTuple):
    """An identifier as stored, with the profile that owns it, if any."""

    identifier_id: int
    type: str
    is_shared: bool
    profile_id: int | None


class KnownAnchor(NamedTuple):
    """An anchor as stored, with the sources that asserted it."""

    anchor_id: int
    profile_id: int
    is_settled: bool
    sources: frozenset[int]


class KnownProfile(NamedTuple):
    """A profile as stored."""

    profile_id: int
    born: int
    merges: int
    is_quarantined: bool


class KnownLink(NamedTuple):
    """One owned identifier of a profile."""

    profile_id: int
    identifier_id: int
    type: str
    linked_at: datetime


class NewIdentifier(NamedTuple):
    """A row of identity.identifier; `sealed` holds the value under the identifier's own key."""

    identifier_id: int
    type: str
    pseudonym: bytes
    pseudonym_version: int
    sealed: bytes
    first_seen_at: datetime
    last_seen_on: date


class NewAnchor(NamedTuple):
    """An anchor with its members, strongest first."""

    anchor_id: int
    members_digest: bytes
    created_at: datetime
    is_settled: bool
    members: tuple[int, ...]
    profile_id: int


class NewResolution(NamedTuple):
    """A row of the recorded sequence."""

    sequence: int
    anchor_id: int
    source_id: int
    received_at: datetime
    message_sealed: bytes


def lock_exclusive(tx: Transaction) -> Generation:
    """Become the only writer of identity and consent until the transaction ends; tells the generation.

    A row is locked, not a number: any login of the database may take an advisory lock, and would stop all ingest.
    """
    return Generation(*tx.bulk("SELECT version, next_sequence FROM identity.generation FOR UPDATE")[0])


def generation(tx: Transaction) -> Generation:
    """The generation as this transaction sees it."""
    return Generation(*tx.bulk("SELECT version, next_sequence FROM identity.generation")[0])


def advance(tx: Transaction, *, next_sequence: int | None = None, changed: bool = False) -> Advanced:
    """Move the recorded sequence on; and the version where something `changed` that the store does not watch itself.

    The store watches mappings, verdicts and suppressions (`cdp.schema.version`).
    """
    rows = tx.bulk(
        """
        UPDATE identity.generation
        SET version = version + %(changed)s::int,
            next_sequence = greatest(next_sequence, %(next)s::bigint)
        RETURNING version,
                  coalesce(current_setting('cdp.advanced_by', true), '') = pg_current_xact_id()::text
        """,
        {"changed": int(changed), "next": next_sequence or 0},
    )
    return Advanced(*rows[0])


def identifiers_by_pseudonym(tx: Transaction, pseudonyms: Collection[bytes]) -> dict[bytes, KnownIdentifier]:
    """What is known of these pseudonyms; unknown ones are absent."""
    if not pseudonyms:
        return {}
    rows = tx.bulk(
        """
        SELECT i.pseudonym, i.identifier_id, i.type, i.is_shared, l.profile_id
        FROM unnest(%(pseudonyms)s::bytea[]) AS asked (pseudonym)
        JOIN identity.identifier AS i USING (pseudonym)
        LEFT JOIN identity.link AS l USING (identifier_id)
        """,
        {"pseudonyms": list(pseudonyms)},
    )
    return {row[0]: KnownIdentifier(*row[1:]) for row in rows}


def anchors_by_digest(tx: Transaction, digests: Collection[bytes]) -> dict[bytes, KnownAnchor]:
    """The anchors of these member digests with the profile each belongs to now."""
    if not digests:
        return {}
    rows = tx.bulk(
        """
        SELECT a.members_digest, a.anchor_id, c.profile_id, a.is_settled,
               ARRAY(SELECT s.source_id FROM identity.anchor_source AS s WHERE s.anchor_id = a.anchor_id)
        FROM unnest(%(digests)s::bytea[]) AS asked (members_digest)
        JOIN identity.anchor AS a USING (members_digest)
        JOIN identity.canonical AS c USING (anchor_id)
        """,
        {"digests": list(digests)},
    )
    return {row[0]: KnownAnchor(row[1], row[2], row[3], frozenset(row[4])) for row in rows}


def profiles(tx: Transaction, profile_ids: Collection[int]) -> list[KnownProfile]:
    """These profiles, retired ones included, with the number of profiles merged into each."""
    rows = tx.bulk(
        """
        SELECT p.profile_id, p.born_sequence, p.is_quarantined,
               (SELECT count(*)::int FROM identity.profile AS absorbed WHERE absorbed.merged_into = p.profile_id)
        FROM unnest(%(ids)s::bigint[]) AS asked (profile_id)
        JOIN identity.profile AS p USING (profile_id)
        """,
        {"ids": list(profile_ids)},
    )
    return [KnownProfile(row[0], row[1], row[3], row[2]) for row in rows]


def links_of(tx: Transaction, profile_ids: Collection[int]) -> list[KnownLink]:
    """Every identifier that these profiles own."""
    rows = tx.bulk(
        """
        SELECT l.profile_id, l.identifier_id, i.type, l.linked_at
        FROM unnest(%(ids)s::bigint[]) AS asked (profile_id)
        JOIN identity.link AS l USING (profile_id)
        JOIN identity.identifier AS i USING (identifier_id)
        """,
        {"ids": list(profile_ids)},
    )
    return [KnownLink(*row) for row in rows]


def seen_with(tx: Transaction, profile_ids: Collection[int]) -> dict[int, set[int]]:
    """Per profile, the identifiers of its anchors that nobody owns alone: shared ones, and ones without a profile."""
    seen: dict[int, set[int]] = {}
    for profile_id, identifier_id in tx.bulk(
        """
        SELECT DISTINCT c.profile_id, m.identifier_id
        FROM unnest(%(ids)s::bigint[]) AS asked (profile_id)
        JOIN identity.canonical AS c USING (profile_id)
        JOIN identity.anchor_member AS m USING (anchor_id)
        JOIN identity.identifier AS i USING (identifier_id)
        WHERE i.is_shared OR NOT EXISTS (SELECT FROM identity.link AS l WHERE l.identifier_id = m.identifier_id)
        """,
        {"ids": list(profile_ids)},
    ):
        seen.setdefault(profile_id, set()).add(identifier_id)
    return seen


def sources_of(tx: Transaction, profile_ids: Collection[int]) -> dict[int, set[int]]:
    """Per profile, the sources that asserted any of its anchors, or a link of a table to any of its identifiers."""
    found: dict[int, set[int]] = {}
    for profile_id, source_id in tx.bulk(
        """
        WITH asked AS (SELECT DISTINCT profile_id FROM unnest(%(ids)s::bigint[]) AS a (profile_id))
        SELECT DISTINCT c.profile_id, s.source_id
        FROM asked
        JOIN identity.canonical AS c USING (profile_id)
        JOIN identity.anchor_source AS s USING (anchor_id)
        UNION
        SELECT l.profile_id, e.source_id
        FROM asked
        JOIN identity.link AS l USING (profile_id)
        JOIN identity.edge AS e USING (identifier_id)
        UNION
        SELECT l.profile_id, e.source_id
        FROM asked
        JOIN identity.link AS l USING (profile_id)
        JOIN identity.edge AS e ON e.other_identifier_id = l.identifier_id
        """,
        {"ids": list(profile_ids)},
    ):
        found.setdefault(profile_id, set()).add(source_id)
    return found


def sources_of_steps(tx: Transaction, steps: Collection[int]) -> dict[int, set[int]]:
    """The sources that asserted these anchors, or edges, which are named by the negative of their sequence."""
    found: dict[int, set[int]] = {}
    for step, source_id in tx.bulk(
        """
        SELECT anchor_id, source_id FROM identity.anchor_source WHERE anchor_id = ANY(%(anchors)s::bigint[])
        UNION
        SELECT -sequence, source_id FROM identity.edge WHERE sequence = ANY(%(edges)s::bigint[])
        """,
        {"anchors": [step for step in steps if step > 0], "edges": [-step for step in steps if step < 0]},
    ):
        found.setdefault(step, set()).add(source_id)
    return found


def never_pairs(tx: Transaction, identifier_ids: Collection[int]) -> dict[int, set[int]]:
    """For these identifiers, those that each must be kept apart from; both directions."""
    apart: dict[int, set[int]] = {}
    for one, other in tx.bulk(
        """
        SELECT identifier_id, other_identifier_id
        FROM identity.never
        WHERE identifier_id = ANY(%(ids)s::bigint[]) OR other_identifier_id = ANY(%(ids)s::bigint[])
        """,
        {"ids": list(identifier_ids)},
    ):
        apart.setdefault(one, set()).add(other)
        apart.setdefault(other, set()).add(one)
    return apart


def resolve_retired(tx: Transaction, profile_id: int) -> int | None:
    """The profile that an id means today: itself, or the one it was merged into; None when unknown."""
    rows = tx.bulk(
        "SELECT coalesce(merged_into, profile_id) FROM identity.profile WHERE profile_id = %(id)s", {"id": profile_id}
    )
    return rows[0][0] if rows else None


def insert_identifiers(tx: Transaction, rows: Sequence[NewIdentifier]) -> None:
    """Write identifiers that are not known yet."""
    if rows:
        tx.copy(
            "identity.identifier",
            ("identifier_id", "type", "pseudonym", "pseudonym_version", "sealed", "first_seen_at", "last_seen_on"),
            ("int8", "text", "bytea", "int2", "bytea", "timestamptz", "date"),
            rows,
        )


def touch_identifiers(tx: Transaction, seen: Iterable[tuple[int, date]]) -> None:
    """Move `last_seen_on` forward; a row is rewritten at most once a day."""
    newest: dict[int, date] = {}
    for identifier_id, day in seen:
        if identifier_id not in newest or newest[identifier_id] < day:
            newest[identifier_id] = day
    if newest:
        tx.bulk(
            """
            UPDATE identity.identifier AS i
            SET last_seen_on = seen.day
            FROM unnest(%(ids)s::bigint[], %(days)s::date[]) AS seen (identifier_id, day)
            WHERE i.identifier_id = seen.identifier_id AND i.last_seen_on < seen.day
            """,
            {"ids": list(newest), "days": list(newest.values())},
        )


def note_sources(tx: Transaction, pairs: Collection[tuple[int, int]]) -> None:
    """Remember which source asserted which anchor, once."""
    if pairs:
        tx.bulk(
            """
            INSERT INTO identity.anchor_source (anchor_id, source_id)
            SELECT * FROM unnest(%(anchors)s::bigint[], %(sources)s::int[])
            ON CONFLICT DO NOTHING
            """,
            {"anchors": [pair[0] for pair in pairs], "sources": [pair[1] for pair in pairs]},
        )


def record(
    tx: Transaction, steps: Sequence[NewResolution], evidence: Sequence[EvidenceRow], policy_fingerprint: bytes
) -> None:
    """Append to the recorded sequence and to its evidence, in one statement."""
    if not steps and not evidence:
        return
    tx.bulk(
        """
        WITH recorded AS (
            INSERT INTO identity.resolution
                (sequence, anchor_id, source_id, received_at, message_sealed, policy_fingerprint)
            SELECT step.*, %(policy)s::bytea
            FROM unnest(%(s_sequences)s::bigint[], %(s_anchors)s::bigint[], %(s_sources)s::int[],
                        %(s_at)s::timestamptz[], %(s_sealed)s::bytea[]) AS step
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
    """Append to the evidence."""
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
            (
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


def mark_shared(tx: Transaction, identifier_ids: Collection[int], *, is_shared: bool = True) -> None:
    """Set whether these identifiers link people."""
    if identifier_ids:
        tx.bulk(
            "UPDATE identity.identifier SET is_shared = %(is_shared)s WHERE identifier_id = ANY(%(ids)s::bigint[])",
            {"ids": list(identifier_ids), "is_shared": is_shared},
        )


class SealedIdentifier(NamedTuple):
    """An identifier with its value as it lies in the store."""

    identifier_id: int
    type: str
    sealed: bytes
    is_shared: bool


def sealed_of(tx: Transaction, identifier_ids: Collection[int]) -> list[SealedIdentifier]:
    """The sealed values of these identifiers."""
    rows = tx.bulk(
        """
        SELECT identifier_id, type, sealed, is_shared
        FROM identity.identifier
        WHERE identifier_id = ANY(%(ids)s::bigint[])
        """,
        {"ids": list(identifier_ids)},
    )
    return [SealedIdentifier(*row) for row in rows]


class SealedResolution(NamedTuple):
    """Where a recorded step came from."""

    sequence: int
    anchor_id: int
    source_id: int
    received_at: datetime
    message_sealed: bytes
    policy_fingerprint: bytes


def resolutions(tx: Transaction, sequences: Collection[int]) -> dict[int, SealedResolution]:
    """The messages behind these steps of the recorded sequence."""
    rows = tx.bulk(
        """
        SELECT sequence, anchor_id, source_id, received_at, message_sealed, policy_fingerprint
        FROM identity.resolution
        WHERE sequence = ANY(%(sequences)s::bigint[])
        """,
        {"sequences": list(sequences)},
    )
    return {row[0]: SealedResolution(*row) for row in rows}


def put_apart(tx: Transaction, pairs: Collection[tuple[int, int]], now: datetime) -> None:
    """Keep these pairs apart from now on."""
    ordered = [(min(pair), max(pair)) for pair in pairs]
    tx.bulk(
        """
        INSERT INTO identity.never (identifier_id, other_identifier_id, created_at)
        SELECT one, other, %(now)s FROM unnest(%(ones)s::bigint[], %(others)s::bigint[]) AS pair (one, other)
        ON CONFLICT DO NOTHING
        """,
        {"ones": [pair[0] for pair in ordered], "others": [pair[1] for pair in ordered], "now": now},
    )


def let_together(tx: Transaction, one: int, other: int) -> bool:
    """Take a `never` back; False when there was none."""
    rows = tx.bulk(
        """
        DELETE FROM identity.never
        WHERE identifier_id = %(one)s AND other_identifier_id = %(other)s
        RETURNING 1
        """,
        {"one": min(one, other), "other": max(one, other)},
    )
    return bool(rows)


def owners_of(tx: Transaction, identifier_ids: Collection[int]) -> dict[int, int]:
    """The profile that owns each of these identifiers; those without one are absent."""
    rows = tx.bulk(
        "SELECT identifier_id, profile_id FROM identity.link WHERE identifier_id = ANY(%(ids)s::bigint[])",
        {"ids": list(identifier_ids)},
    )
    return {row[0]: row[1] for row in rows}


def anchor_counts(tx: Transaction, profile_ids: Collection[int]) -> dict[int, int]:
    """How many anchors each profile has."""
    rows = tx.bulk(
        """
        SELECT profile_id, count(*)::int FROM identity.canonical
        WHERE profile_id = ANY(%(ids)s::bigint[]) GROUP BY profile_id
        """,
        {"ids": list(profile_ids)},
    )
    return {row[0]: row[1] for row in rows}
