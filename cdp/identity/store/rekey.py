"""SQL that moves identifiers to another version of the pseudonym key."""

from collections.abc import Mapping
from typing import NamedTuple

from cdp.kit.db import Transaction


class OlderIdentifier(NamedTuple):
    """An identifier whose pseudonym is of an older version."""

    identifier_id: int
    type: str
    sealed: bytes


def count_older(tx: Transaction, version: int) -> int:
    """How many identifiers have a pseudonym older than this version."""
    rows = tx.execute(
        "SELECT count(*) FROM identity.identifier WHERE pseudonym_version < %(version)s", {"version": version}
    )
    return int(rows[0][0])


def older(tx: Transaction, version: int, limit: int) -> list[OlderIdentifier]:
    """Up to `limit` identifiers with a pseudonym older than this version."""
    rows = tx.execute(
        """
        SELECT identifier_id, type, sealed
        FROM identity.identifier
        WHERE pseudonym_version < %(version)s
        LIMIT %(limit)s
        """,
        {"version": version, "limit": limit},
    )
    return [OlderIdentifier(*row) for row in rows]


def update_pseudonyms(tx: Transaction, pseudonyms: Mapping[int, bytes], version: int) -> None:
    """Give these identifiers their pseudonyms of this version."""
    tx.execute(
        """
        UPDATE identity.identifier AS i
        SET pseudonym = given.pseudonym, pseudonym_version = %(version)s
        FROM unnest(%(ids)s::bigint[], %(pseudonyms)s::bytea[]) AS given (identifier_id, pseudonym)
        WHERE i.identifier_id = given.identifier_id
        """,
        {"ids": list(pseudonyms), "pseudonyms": list(pseudonyms.values()), "version": version},
    )
