"""SQL of profiles and of the identifiers that they own."""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from cdp.kit.db import Transaction


class StoredProfile(NamedTuple):
    """A profile as stored.

    `origin` is the sequence number of the step that created it; `merges` counts the profiles merged into it, and `anchors`
    the anchors that belong to it.
    """

    profile_id: int
    origin: int
    merges: int
    is_quarantined: bool
    anchors: int


class StoredLink(NamedTuple):
    """An identifier that a profile owns."""

    profile_id: int
    identifier_id: int
    type: str
    linked_at: datetime


def profiles(tx: Transaction, profile_ids: Collection[int]) -> list[StoredProfile]:
    """These profiles, including retired ones; unknown ids are absent."""
    rows = tx.execute(
        """
        SELECT p.profile_id, p.origin_sequence,
               (SELECT count(*)::int FROM identity.profile AS absorbed WHERE absorbed.merged_into = p.profile_id) AS merges,
               p.is_quarantined,
               (SELECT count(*)::int FROM identity.canonical AS c WHERE c.profile_id = p.profile_id) AS anchors
        FROM unnest(%(ids)s::bigint[]) AS requested (profile_id)
        JOIN identity.profile AS p USING (profile_id)
        """,
        {"ids": list(profile_ids)},
    )
    return [StoredProfile(*row) for row in rows]


def links_of(tx: Transaction, profile_ids: Collection[int]) -> list[StoredLink]:
    """Every identifier that these profiles own."""
    rows = tx.execute(
        """
        SELECT l.profile_id, l.identifier_id, i.type, l.linked_at
        FROM unnest(%(ids)s::bigint[]) AS requested (profile_id)
        JOIN identity.link AS l USING (profile_id)
        JOIN identity.identifier AS i USING (identifier_id)
        """,
        {"ids": list(profile_ids)},
    )
    return [StoredLink(*row) for row in rows]


def owners_among(tx: Transaction, profile_ids: Collection[int]) -> dict[int, int]:
    """The profile of each identifier that one of these profiles owns."""
    rows = tx.execute(
        "SELECT identifier_id, profile_id FROM identity.link WHERE profile_id = ANY(%(ids)s::bigint[])",
        {"ids": list(profile_ids)},
    )
    return dict(rows)


def resolve_retired(tx: Transaction, profile_id: int) -> int | None:
    """The current profile of an id: itself, or the profile it was merged into; None if unknown."""
    rows = tx.execute(
        "SELECT coalesce(merged_into, profile_id) FROM identity.profile WHERE profile_id = %(id)s", {"id": profile_id}
    )
    return next((current for (current,) in rows), None)


def owners_of(tx: Transaction, identifier_ids: Collection[int]) -> dict[int, int]:
    """The profile that owns each of these identifiers; identifiers without one are absent."""
    rows = tx.execute(
        "SELECT identifier_id, profile_id FROM identity.link WHERE identifier_id = ANY(%(ids)s::bigint[])",
        {"ids": list(identifier_ids)},
    )
    return dict(rows)
