"""Roles and bearer tokens."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NewType


class Role(StrEnum):
    """The role of a token, which determines what it permits."""

    MARKETER = "marketer"
    PRIVACY = "privacy"
    AUDITOR = "auditor"
    ADMIN = "admin"


TokenId = NewType("TokenId", int)


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token without its secret; `revoked_at` is None while it is valid."""

    token_id: TokenId
    name: str
    role: Role
    created_at: datetime
    revoked_at: datetime | None = None
