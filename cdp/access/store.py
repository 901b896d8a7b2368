"""All SQL of sources and tokens."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from cdp.access.model import Role, Source, SourceId, SourceKind
from cdp.access.records import SourceEntry, Token, TokenId
from cdp.kit.db import Transaction


def add_source(tx: Transaction, source: Source, write_key_hash: bytes, now: datetime) -> Source | None:
    """Store a new source under a fresh id; None when the name or the write key is taken.

    The id of the given value is ignored; the answer carries the real one.
    """
    rows = tx.bulk(
        """
        INSERT INTO access.source
            (name, kind, write_key_hash, scopes, jurisdiction, request_bytes_max, created_at)
        VALUES (%(name)s, %(kind)s, %(hash)s, %(scopes)s, %(jurisdiction)s, %(bytes)s, %(now)s)
        ON CONFLICT DO NOTHING
        RETURNING source_id, name, kind, scopes, jurisdiction, request_bytes_max
        """,
        {
            "name": source.name,
            "kind": source.kind.value,
            "hash": write_key_hash,
            "scopes": sorted(source.scopes),
            "jurisdiction": source.jurisdiction,
            "bytes": source.request_bytes_max,
            "now": now,
        },
    )
    return _source(rows[0]) if rows else None


def sources(tx: Transaction) -> list[SourceEntry]:
    """Every source, disabled ones included, by name."""
    rows = tx.bulk(
        """
        SELECT source_id, name, kind, scopes, jurisdiction, request_bytes_max, created_at, disabled_at
        FROM access.source
        ORDER BY name
        """
    )
    return [SourceEntry(_source(row), row[6], row[7]) for row in rows]


def source_named(tx: Transaction, name: str) -> Source | None:
    """The working source of that name, None when there is none."""
    rows = tx.bulk(
        """
        SELECT source_id, name, kind, scopes, jurisdiction, request_bytes_max
        FROM access.source
        WHERE name = %(name)s AND disabled_at IS NULL
        """,
        {"name": name},
    )
    return _source(rows[0]) if rows else None


def working_sources(tx: Transaction) -> Mapping[bytes, Source]:
    """Every source whose write key works, by the hash of that key."""
    rows = tx.bulk(
        """
        SELECT source_id, name, kind, scopes, jurisdiction, request_bytes_max, write_key_hash
        FROM access.source
        WHERE disabled_at IS NULL
        """
    )
    return {bytes(row[6]): _source(row) for row in rows}


def disable_source(tx: Transaction, source_id: SourceId, now: datetime) -> bool:
    """Stop the write key of a source; False when there is no such working source."""
    rows = tx.bulk(
        """
        UPDATE access.source SET disabled_at = %(now)s
        WHERE source_id = %(source)s AND disabled_at IS NULL
        RETURNING source_id
        """,
        {"source": source_id, "now": now},
    )
    return bool(rows)


def replace_write_key(tx: Transaction, source_id: SourceId, write_key_hash: bytes) -> bool:
    """Give a source another write key, the old one stops at once; False when there is no such working source."""
    rows = tx.bulk(
        """
        UPDATE access.source SET write_key_hash = %(hash)s
        WHERE source_id = %(source)s AND disabled_at IS NULL
        RETURNING source_id
        """,
        {"source": source_id, "hash": write_key_hash},
    )
    return bool(rows)


def add_token(tx: Transaction, name: str, role: Role, token_hash: bytes, now: datetime) -> Token:
    """Store a new token by the hash of its secret."""
    rows = tx.bulk(
        """
        INSERT INTO access.token (name, role, token_hash, created_at)
        VALUES (%(name)s, %(role)s, %(hash)s, %(now)s)
        RETURNING token_id, name, role, created_at, revoked_at
        """,
        {"name": name, "role": role.value, "hash": token_hash, "now": now},
    )
    return _token(rows[0])


def token_of(tx: Transaction, token_hash: bytes) -> Token | None:
    """The working token with that hash; None for an unknown or revoked one."""
    rows = tx.bulk(
        """
        SELECT token_id, name, role, created_at, revoked_at
        FROM access.token
        WHERE token_hash = %(hash)s AND revoked_at IS NULL
        """,
        {"hash": token_hash},
    )
    return _token(rows[0]) if rows else None


def tokens(tx: Transaction) -> list[Token]:
    """Every token, revoked ones included, oldest first."""
    rows = tx.bulk("SELECT token_id, name, role, created_at, revoked_at FROM access.token ORDER BY token_id")
    return [_token(row) for row in rows]


def revoke_token(tx: Transaction, token_id: TokenId, now: datetime) -> bool:
    """Stop a token; False when there is no such working token."""
    rows = tx.bulk(
        """
        UPDATE access.token SET revoked_at = %(now)s
        WHERE token_id = %(token)s AND revoked_at IS NULL
        RETURNING token_id
        """,
        {"token": token_id, "now": now},
    )
    return bool(rows)


def _source(row: tuple[Any, ...]) -> Source:
    return Source(SourceId(row[0]), row[1], SourceKind(row[2]), frozenset(row[3]), row[4], row[5])


def _token(row: tuple[Any, ...]) -> Token:
    return Token(TokenId(row[0]), row[1], Role(row[2]), row[3], row[4])
