"""Use cases of tokens: who may access the store, and in which role. Each change is logged."""

from dataclasses import dataclass
from typing import Final

from cdp.access.credentials import hash_secret, new_token
from cdp.access.model import Role, Token, TokenId
from cdp.access.store import tokens as token_store
from cdp.audit.store import facts as fact_store
from cdp.flows.context import Context
from cdp.flows.operations.names import check_name
from cdp.kit.errors import Fault

FIRST_ADMIN: Final = "first start"


@dataclass(frozen=True, slots=True)
class NewToken:
    """A new token with its secret, which is shown only once."""

    token: Token
    secret: str


def create_token(context: Context, name: str, role: str, *, actor: str = "operator") -> NewToken:
    """Create a bearer token for one person, with a role of staff or a reader role of the policy.

    Faults: `invalid_name`, `unknown_role`.
    """
    check_name(name)
    known = sorted({*Role, *context.policy.readers.names})
    if role not in known:
        raise Fault(
            "unknown_role",
            "Unknown role",
            f"Give one of {', '.join(known)}. policies/readers.yaml defines the roles that read people by purpose.",
            status=422,
        )
    reader = None if role in set(Role) else role
    now = context.clock.now()
    secret = new_token()
    with context.database.transaction() as tx:
        token = token_store.add_token(
            tx, name, Role.MARKETER if reader else Role(role), reader=reader, token_hash=hash_secret(secret), now=now
        )
        fact_store.append(
            tx, {"kind": "token.created", "actor": actor, "token": int(token.token_id), "role": role}, now
        )
    return NewToken(token, secret)


def list_tokens(context: Context) -> list[Token]:
    """Every token, revoked ones included, oldest first; never a secret."""
    with context.database.transaction(read_only=True) as tx:
        return token_store.tokens(tx)


def revoke_token(context: Context, token_id: int, *, actor: str = "operator") -> None:
    """Revoke a token. Raises the fault `unknown_token` (404)."""
    now = context.clock.now()
    with context.database.transaction() as tx:
        if not token_store.revoke_token(tx, TokenId(token_id), now):
            raise Fault("unknown_token", "Unknown token", "No valid token has this number.", status=404)
        fact_store.append(tx, {"kind": "token.revoked", "actor": actor, "token": token_id}, now)


def find_token(context: Context, secret: str) -> Token | None:
    """The valid token with this secret; None if there is none."""
    with context.database.transaction(read_only=True) as tx:
        return token_store.token_of(tx, hash_secret(secret))


def has_admin(context: Context) -> bool:
    """Whether there is a valid administrator token."""
    return any(token.role is Role.ADMIN and token.revoked_at is None for token in list_tokens(context))
