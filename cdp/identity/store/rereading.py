"""SQL of the review of stored identifiers: all of them page by page, and who owns them."""

from collections.abc import Collection, Iterator
from typing import Final, NamedTuple

from cdp.kit.db import Transaction

PAGE_ROWS: Final = 5_000


class IdentifierOwner(NamedTuple):
    """The profile that owns an identifier, and the number of identifiers that this profile owns."""

    profile_id: int
    identifiers: int


def pages_of_identifiers(tx: Transaction) -> Iterator[list[int]]:
    """The ids of all identifiers, in pages."""
    after = 0
    while True:
        rows = tx.execute(
            """
            SELECT identifier_id FROM identity.identifier
            WHERE identifier_id > %(after)s
            ORDER BY identifier_id
            LIMIT %(limit)s
            """,
            {"after": after, "limit": PAGE_ROWS},
        )
        page = [int(identifier_id) for (identifier_id,) in rows]
        if not page:
            return
        after = page[-1]
        yield page


def owners_with_size(tx: Transaction, identifier_ids: Collection[int]) -> dict[int, IdentifierOwner]:
    """Who owns these identifiers; those that nobody owns are absent."""
    rows = tx.execute(
        """
        WITH owned AS (
            SELECT identifier_id, profile_id FROM identity.link WHERE identifier_id = ANY(%(ids)s::bigint[])
        ), size AS (
            SELECT l.profile_id, count(*)::int AS identifiers
            FROM identity.link AS l
            WHERE l.profile_id IN (SELECT profile_id FROM owned)
            GROUP BY l.profile_id
        )
        SELECT owned.identifier_id, owned.profile_id, size.identifiers FROM owned JOIN size USING (profile_id)
        """,
        {"ids": list(identifier_ids)},
    )
    return {identifier_id: IdentifierOwner(profile_id, identifiers) for identifier_id, profile_id, identifiers in rows}
