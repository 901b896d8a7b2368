"""SQL of identifiers: found by pseudonym, written once, marked as shared."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import NamedTuple

from cdp.identity.model import Evidence
from cdp.kit.db import Transaction


class StoredIdentifier(NamedTuple):
    """An identifier as stored, with the profile that owns it, if any.

    `authority` is the highest authority that named it or, of a device, below which no word links it; `proved_at` is when
    a person proved to have it.
    """

    identifier_id: int
    type: str
    is_shared: bool
    profile_id: int | None
    authority: int = 0
    proved_at: datetime | None = None


class NewIdentifier(NamedTuple):
    """A row of identity.identifier; `sealed` is the value sealed under the identifier's own key."""

    identifier_id: int
    type: str
    pseudonym: bytes
    pseudonym_version: int
    sealed: bytes
    first_seen_at: datetime
    last_seen_on: date
    authority: int = 0


def identifiers_by_pseudonym(tx: Transaction, pseudonyms: Collection[bytes]) -> dict[bytes, StoredIdentifier]:
    """The stored identifiers with these pseudonyms; unknown pseudonyms are absent."""
    if not pseudonyms:
        return {}
    rows = tx.execute(
        """
        SELECT i.pseudonym, i.identifier_id, i.type, i.is_shared, l.profile_id, i.authority, i.proved_at
        FROM unnest(%(pseudonyms)s::bytea[]) AS requested (pseudonym)
        JOIN identity.identifier AS i USING (pseudonym)
        LEFT JOIN identity.link AS l USING (identifier_id)
        """,
        {"pseudonyms": list(pseudonyms)},
    )
    return {pseudonym: StoredIdentifier(*columns) for pseudonym, *columns in rows}


def insert_identifiers(tx: Transaction, rows: Sequence[NewIdentifier]) -> None:
    """Write identifiers that are not stored yet, by COPY."""
    if rows:
        tx.copy(
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
            ("int8", "text", "bytea", "int2", "bytea", "timestamptz", "date", "int2"),
            rows=rows,
        )


def touch_identifiers(tx: Transaction, seen: Iterable[tuple[int, date]]) -> None:
    """Advance `last_seen_on` to the latest day of each identifier; a row is rewritten at most once a day."""
    newest: dict[int, date] = {}
    for identifier_id, day in seen:
        if identifier_id not in newest or newest[identifier_id] < day:
            newest[identifier_id] = day
    if newest:
        tx.execute(
            """
            UPDATE identity.identifier AS i
            SET last_seen_on = seen.day
            FROM unnest(%(ids)s::bigint[], %(days)s::date[]) AS seen (identifier_id, day)
            WHERE i.identifier_id = seen.identifier_id AND i.last_seen_on < seen.day
            """,
            {"ids": list(newest), "days": list(newest.values())},
        )


def mark_shared(tx: Transaction, identifier_ids: Collection[int], *, is_shared: bool = True) -> None:
    """Mark these identifiers as shared, so that they link no profiles, or with `is_shared=False` as linking again."""
    if identifier_ids:
        tx.execute(
            "UPDATE identity.identifier SET is_shared = %(is_shared)s WHERE identifier_id = ANY(%(ids)s::bigint[])",
            {"ids": list(identifier_ids), "is_shared": is_shared},
        )


def set_authority(tx: Transaction, authority: Mapping[int, int]) -> None:
    """Set the highest authority that named these identifiers, or below which no word links them."""
    if authority:
        tx.execute(
            """
            UPDATE identity.identifier AS i
            SET authority = changed.authority
            FROM unnest(%(ids)s::bigint[], %(authorities)s::smallint[]) AS changed (identifier_id, authority)
            WHERE i.identifier_id = changed.identifier_id AND i.authority <> changed.authority
            """,
            {"ids": list(authority), "authorities": list(authority.values())},
        )


def prove(tx: Transaction, identifier_id: int, now: datetime) -> None:
    """Note that a person proved to have this identifier, unless one did before."""
    tx.execute(
        """
        UPDATE identity.identifier
        SET proved_at = %(now)s, authority = greatest(authority, %(proved)s::smallint)
        WHERE identifier_id = %(id)s AND proved_at IS NULL
        """,
        {"id": identifier_id, "now": now, "proved": int(Evidence.PROVED)},
    )


class SealedIdentifier(NamedTuple):
    """An identifier with its sealed value."""

    identifier_id: int
    type: str
    sealed: bytes
    is_shared: bool


def sealed_of(tx: Transaction, identifier_ids: Collection[int]) -> list[SealedIdentifier]:
    """These identifiers with their sealed values; unknown ids are absent."""
    rows = tx.execute(
        """
        SELECT identifier_id, type, sealed, is_shared
        FROM identity.identifier
        WHERE identifier_id = ANY(%(ids)s::bigint[])
        """,
        {"ids": list(identifier_ids)},
    )
    return [SealedIdentifier(*row) for row in rows]
