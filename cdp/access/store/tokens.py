"""SQL of tokens."""

from datetime import datetime
from typing import Any

from cdp.access.model import Role, Token, TokenId
from cdp.kit.db import Transaction


def add_token(
    tx: Transaction, name: str, role: Role, *, reader: str | None = None, token_hash: bytes, now: datetime
) -> Token:
    """Store a new token by the hash of its secret."""
    rows = tx.execute(
        """
        INSERT INTO access.token (name, role, reader, token_hash, created_at)
        VALUES (%(name)s, %(role)s, %(reader)s, %(hash)s, %(now)s)
        RETURNING token_id, name, role, created_at, revoked_at, reader
        """,
        {"name": name, "role": role.value, "reader": reader, "hash": token_hash, "now": now},
    )
    return _token(rows[0])


def token_of(tx: Transaction, token_hash: bytes) -> Token | None:
    """The valid token with this hash; None for an unknown or revoked one."""
    rows = tx.execute(
        """
        SELECT token_id, name, role, created_at, revoked_at, reader
        FROM access.token
        WHERE token_hash = %(hash)s AND revoked_at IS NULL
        """,
        {"hash": token_hash},
    )
    return _token(rows[0]) if rows else None


def tokens(tx: Transaction) -> list[Token]:
    """Every token, revoked ones included, oldest first."""
    rows = tx.execute("SELECT token_id, name, role, created_at, revoked_at, reader FROM access.token ORDER BY token_id")
    return [_token(row) for row in rows]


def revoke_token(tx: Transaction, token_id: TokenId, now: datetime) -> bool:
    """Revoke a token; False if there is no such valid token."""
    rows = tx.execute(
        """
        UPDATE access.token SET revoked_at = %(now)s
        WHERE token_id = %(token)s AND revoked_at IS NULL
        RETURNING token_id
        """,
        {"token": token_id, "now": now},
    )
    return bool(rows)


def _token(row: tuple[Any, ...]) -> Token:
    token_id, name, role, created_at, revoked_at, reader = row
    return Token(TokenId(token_id), name, Role(role), created_at, revoked_at, reader)
