"""SQL of the rotation of the pseudonym key: identifiers move to its new version."""

from collections.abc import Mapping
from typing import NamedTuple

from cdp.kit.db import Transaction


class OlderIdentifier(NamedTuple):
    """An identifier whose pseudonym was made with an older version of the key."""

    identifier_id: int
    type: str
    sealed: bytes


def count_older(tx: Transaction, version: int) -> int:
    """The number of identifiers with a pseudonym of an older version than this."""
    ((count,),) = tx.execute(
        "SELECT count(*) FROM identity.identifier WHERE pseudonym_version < %(version)s", {"version": version}
    )
    return int(count)


def older(tx: Transaction, version: int, limit: int) -> list[OlderIdentifier]:
    """Up to `limit` identifiers with a pseudonym of an older version than this."""
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
    """Set the pseudonyms of these identifiers, made with this version of the key."""
    tx.execute(
        """
        UPDATE identity.identifier AS i
        SET pseudonym = updated.pseudonym, pseudonym_version = %(version)s
        FROM unnest(%(ids)s::bigint[], %(pseudonyms)s::bytea[]) AS updated (identifier_id, pseudonym)
        WHERE i.identifier_id = updated.identifier_id
        """,
        {"ids": list(pseudonyms), "pseudonyms": list(pseudonyms.values()), "version": version},
    )
