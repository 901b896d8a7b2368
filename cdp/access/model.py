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
    """A bearer token without its secret; `revoked_at` is None while it is valid.

    `reader` is the reader role of the policy as which it reads people; such a token has the rights of a marketer, and its
    own purposes and ids.
    """

    token_id: TokenId
    name: str
    role: Role
    created_at: datetime
    revoked_at: datetime | None = None
    reader: str | None = None

    @property
    def role_name(self) -> str:
        """The role by which people name it: the reader role of the policy, if it has one."""
        return self.reader or self.role.value
