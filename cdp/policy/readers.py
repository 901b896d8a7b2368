"""Readers: for which purposes the members of a role read people."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, Self

from pydantic import Field, model_validator

from cdp.policy.frozen import Frozen, Key, KeyedEntry
from cdp.policy.purposes import LegalBasis, Purpose

MARKETER: Final = "marketer"
"""The reader role that every policy has."""
STAFF: Final = frozenset({"privacy", "auditor", "admin", "operator", "worker", "system", "source", "subject"})
"""Roles and actors that look up one person by an identifier, or read no people at all; no reader role has such a name."""

RoleKey = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]{0,15}$")]


class ReaderRole(KeyedEntry):
    """What one role reads: in previews, lists, look-ups, explanations and SQL."""

    key: RoleKey
    """The name of the entry: `marketer`, or another role such as `agency`, of letters and digits."""
    legal_bases: tuple[LegalBasis, ...] = (LegalBasis.CONSENT, LegalBasis.LEGITIMATE_INTERESTS)
    """Every purpose with one of these legal bases is read; as shipped, the bases under which people can refuse."""
    purposes: Annotated[tuple[Key, ...], Field(max_length=30)] = ()
    """Purposes that are read in addition, by name."""
    lookups_per_hour: Annotated[int, Field(ge=1, le=1_000_000)] = 120
    """How many single people each token of the role may look up, or have explained, in an hour."""

    def reads(self, purpose: Purpose) -> bool:
        """Whether the role reads people for a purpose."""
        return purpose.legal_basis in self.legal_bases or purpose.key in self.purposes


class Readers(Frozen):
    """The file `readers.yaml`."""

    entries: ClassVar[tuple[tuple[str, ...], ...]] = (("roles",),)

    roles: Mapping[RoleKey, ReaderRole] = Field(default_factory=dict)
    """The roles. `marketer` has the defaults if it is not named; each other role has ids, tables and tokens of its own."""

    @model_validator(mode="after")
    def _are_roles(self) -> Self:
        for role in self.roles:
            if role in STAFF:
                raise ValueError(f"`{role}` is not a role that reads people: choose another name")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Every reader role, marketers first."""
        return (MARKETER, *sorted(self.roles.keys() - {MARKETER}))

    def role(self, key: str) -> ReaderRole:
        """What a role reads; a role that the policy does not name, or no longer, reads nothing."""
        named = self.roles.get(key)
        if named is not None:
            return named
        return ReaderRole(key=key) if key == MARKETER else ReaderRole(key=key, legal_bases=())

    def role_of(self, actor: str) -> str:
        """The role as which an actor reads people by purpose: its own, or for staff and commands that of marketers."""
        return MARKETER if actor in STAFF else actor
