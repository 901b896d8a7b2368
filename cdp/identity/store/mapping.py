"""SQL of the mapping: which profile owns which identifiers and anchors. Written under the lock of the generation."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from cdp.identity.store.anchors import NewAnchor
from cdp.identity.store.identifiers import NewIdentifier
from cdp.kit.db import Transaction


class NewLink(NamedTuple):
    """The profile that an identifier is to belong to, and the instant of the link."""

    identifier_id: int
    profile_id: int
    linked_at: datetime


class NewProfile(NamedTuple):
    """A profile to be written; `origin` is the sequence number of the step that created it."""

    profile_id: int
    origin: int
    created_at: datetime


def insert_profiles(tx: Transaction, rows: Sequence[NewProfile]) -> None:
    """Write new profiles by COPY."""
    if rows:
        tx.copy(
            "identity.profile",
            ("profile_id", "origin_sequence", "created_at"),
            ("int8", "int8", "timestamptz"),
            rows=rows,
        )


def insert_new(
    tx: Transaction,
    identifiers: Sequence[NewIdentifier],
    profiles: Sequence[NewProfile],
    *,
    links: Sequence[NewLink],
    anchors: Sequence[NewAnchor],
) -> None:
    """Write new identifiers, profiles, links and anchors with their members and profiles, in one statement."""
    if not (identifiers or profiles or links or anchors):
        return
    members = [(row.anchor_id, member, position) for row in anchors for position, member in enumerate(row.members)]
    tx.execute(
        """
        WITH new_identifiers AS (
            INSERT INTO identity.identifier
                (identifier_id, type, pseudonym, pseudonym_version, sealed, first_seen_at, last_seen_on, authority)
            SELECT * FROM unnest(%(i_ids)s::bigint[], %(i_types)s::text[], %(i_pseudonyms)s::bytea[],
                                 %(i_versions)s::smallint[], %(i_sealed)s::bytea[], %(i_first)s::timestamptz[],
                                 %(i_last)s::date[], %(i_authorities)s::smallint[])
        ), new_profiles AS (
            INSERT INTO identity.profile (profile_id, origin_sequence, created_at)
            SELECT * FROM unnest(%(p_ids)s::bigint[], %(p_origins)s::bigint[], %(p_at)s::timestamptz[])
        ), new_links AS (
            INSERT INTO identity.link (identifier_id, profile_id, linked_at)
            SELECT * FROM unnest(%(l_ids)s::bigint[], %(l_profiles)s::bigint[], %(l_at)s::timestamptz[])
        ), new_anchors AS (
            INSERT INTO identity.anchor (anchor_id, members_digest, created_at, is_settled)
            SELECT * FROM unnest(%(a_ids)s::bigint[], %(a_digests)s::bytea[], %(a_at)s::timestamptz[],
                                 %(a_settled)s::bool[])
        ), new_members AS (
            INSERT INTO identity.anchor_member (anchor_id, identifier_id, position)
            SELECT * FROM unnest(%(m_anchors)s::bigint[], %(m_ids)s::bigint[], %(m_positions)s::smallint[])
        )
        INSERT INTO identity.canonical (anchor_id, profile_id)
        SELECT * FROM unnest(%(a_ids)s::bigint[], %(a_profiles)s::bigint[])
        """,
        {
            "i_ids": [row.identifier_id for row in identifiers],
            "i_types": [row.type for row in identifiers],
            "i_pseudonyms": [row.pseudonym for row in identifiers],
            "i_versions": [row.pseudonym_version for row in identifiers],
            "i_sealed": [row.sealed for row in identifiers],
            "i_first": [row.first_seen_at for row in identifiers],
            "i_last": [row.last_seen_on for row in identifiers],
            "i_authorities": [row.authority for row in identifiers],
            "p_ids": [row.profile_id for row in profiles],
            "p_origins": [row.origin for row in profiles],
            "p_at": [row.created_at for row in profiles],
            "l_ids": [row.identifier_id for row in links],
            "l_profiles": [row.profile_id for row in links],
            "l_at": [row.linked_at for row in links],
            "a_ids": [row.anchor_id for row in anchors],
            "a_digests": [row.members_digest for row in anchors],
            "a_at": [row.created_at for row in anchors],
            "a_settled": [row.is_settled for row in anchors],
            "a_profiles": [row.profile_id for row in anchors],
            "m_anchors": [anchor_id for anchor_id, _, _ in members],
            "m_ids": [member for _, member, _ in members],
            "m_positions": [position for _, _, position in members],
        },
    )


def merge_profiles(tx: Transaction, survivor_of: Mapping[int, int]) -> None:
    """Move everything that absorbed profiles own to their survivors, given by absorbed id.

    The ids of absorbed profiles keep resolving, to the survivor.
    """
    if not survivor_of:
        return
    tx.execute(
        """
        WITH pair AS (SELECT * FROM unnest(%(old)s::bigint[], %(new)s::bigint[]) AS p (old, new)),
        moved AS (
            UPDATE identity.link AS l SET profile_id = pair.new FROM pair WHERE l.profile_id = pair.old
        ),
        mapped AS (
            UPDATE identity.canonical AS c SET profile_id = pair.new FROM pair WHERE c.profile_id = pair.old
        )
        UPDATE identity.profile AS p SET merged_into = pair.new
        FROM pair
        WHERE p.profile_id = pair.old OR p.merged_into = pair.old
        """,
        {"old": list(survivor_of), "new": list(survivor_of.values())},
    )


def write_mapping(
    tx: Transaction,
    *,
    members: Collection[int],
    links: Sequence[NewLink],
    canonical: Mapping[int, int],
    current: Collection[int],
    retired: Mapping[int, int],
) -> None:
    """Rewrite the mapping of a closure: `links` become the only links of `members`, and anchors get their `canonical`
    profiles.

    `current` profiles are not merged into another; `retired` ones resolve to the profile they are mapped to. Rows that
    do not change are not rewritten.
    """
    tx.execute(
        """
        WITH deleted AS (
            DELETE FROM identity.link AS l
            WHERE l.identifier_id = ANY(%(members)s::bigint[]) AND l.identifier_id <> ALL(%(linked)s::bigint[])
            RETURNING l.identifier_id, l.since, l.profile_id
        ), present AS (
            SELECT coalesce(nullif(current_setting('cdp.instant', true), '')::timestamptz, statement_timestamp()) AS at
        )
        INSERT INTO identity.former_link (identifier_id, until, since, profile_id)
        SELECT d.identifier_id, present.at, d.since, d.profile_id
        FROM deleted AS d CROSS JOIN present
        WHERE d.since < present.at
        ON CONFLICT DO NOTHING
        """,
        {"members": list(members), "linked": [row.identifier_id for row in links]},
    )
    tx.execute(
        """
        INSERT INTO identity.link (identifier_id, profile_id, linked_at)
        SELECT * FROM unnest(%(ids)s::bigint[], %(profiles)s::bigint[], %(at)s::timestamptz[])
        ON CONFLICT (identifier_id) DO UPDATE
        SET profile_id = excluded.profile_id, linked_at = excluded.linked_at
        WHERE (link.profile_id, link.linked_at) IS DISTINCT FROM (excluded.profile_id, excluded.linked_at)
        """,
        {
            "ids": [row.identifier_id for row in links],
            "profiles": [row.profile_id for row in links],
            "at": [row.linked_at for row in links],
        },
    )
    tx.execute(
        """
        UPDATE identity.canonical AS c
        SET profile_id = target.profile_id
        FROM unnest(%(anchors)s::bigint[], %(profiles)s::bigint[]) AS target (anchor_id, profile_id)
        WHERE c.anchor_id = target.anchor_id AND c.profile_id <> target.profile_id
        """,
        {"anchors": list(canonical), "profiles": list(canonical.values())},
    )
    tx.execute(
        """
        UPDATE identity.profile AS p
        SET merged_into = target.into_id
        FROM unnest(%(ids)s::bigint[], %(into)s::bigint[]) AS target (profile_id, into_id)
        WHERE p.profile_id = target.profile_id AND p.merged_into IS DISTINCT FROM target.into_id
        """,
        {
            "ids": [*current, *retired],
            "into": [*(None for _ in current), *retired.values()],
        },
    )


def quarantine(tx: Transaction, profile_ids: Collection[int]) -> int:
    """Put profiles that exceed a bound into quarantine: they are listed, and refused for every purpose.

    Returns how many were not in quarantine before.
    """
    if not profile_ids:
        return 0
    rows = tx.execute(
        """
        UPDATE identity.profile SET is_quarantined = TRUE
        WHERE profile_id = ANY(%(ids)s::bigint[]) AND NOT is_quarantined
        RETURNING profile_id
        """,
        {"ids": list(profile_ids)},
    )
    return len(rows)


def reopen_anchors(tx: Transaction, anchor_ids: Collection[int]) -> None:
    """Let these anchors be resolved again by every message that carries them."""
    if anchor_ids:
        tx.execute(
            "UPDATE identity.anchor SET is_settled = FALSE WHERE anchor_id = ANY(%(ids)s::bigint[]) AND is_settled",
            {"ids": list(anchor_ids)},
        )


def owners(tx: Transaction, identifier_ids: Collection[int] | None = None) -> dict[int, int]:
    """The owning profile of each identifier, of all or of these; identifiers without one are absent."""
    rows = tx.execute(
        """
        SELECT identifier_id, profile_id FROM identity.link
        WHERE %(all)s OR identifier_id = ANY(%(ids)s::bigint[])
        """,
        {"all": identifier_ids is None, "ids": list(identifier_ids or ())},
    )
    return dict(rows)


def end_quarantine(tx: Transaction, profile_ids: Collection[int]) -> None:
    """End the quarantine of profiles that no longer exceed any bound."""
    if profile_ids:
        tx.execute(
            """
            UPDATE identity.profile SET is_quarantined = FALSE
            WHERE profile_id = ANY(%(ids)s::bigint[]) AND is_quarantined
            """,
            {"ids": list(profile_ids)},
        )


def owned_by(tx: Transaction, profile_id: int) -> list[int]:
    """The identifiers that a profile owns."""
    rows = tx.execute("SELECT identifier_id FROM identity.link WHERE profile_id = %(id)s", {"id": profile_id})
    return [identifier_id for (identifier_id,) in rows]


def owning(tx: Transaction, profile_ids: Collection[int]) -> set[int]:
    """Those of these profiles that own an identifier."""
    rows = tx.execute(
        "SELECT DISTINCT profile_id FROM identity.link WHERE profile_id = ANY(%(ids)s::bigint[])",
        {"ids": list(profile_ids)},
    )
    return {profile_id for (profile_id,) in rows}
