"""Values of the access room."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NewType


class Role(StrEnum):
    """What a person's token allows."""

    MARKETER = "marketer"
    PRIVACY = "privacy"
    AUDITOR = "auditor"
    ADMIN = "admin"


TokenId = NewType("TokenId", int)


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token without its secret; `revoked_at` is None while it works."""

    token_id: TokenId
    name: str
    role: Role
    created_at: datetime
    revoked_at: datetime | None = None
