"""Readers: for which purposes the members of a role read people."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, Self

from pydantic import Field, model_validator

from cdp.policy.frozen import Frozen, Key, KeyedEntry
from cdp.policy.purposes import LegalBasis, Purpose

MARKETER: Final = "marketer"
READER_ROLES: Final = (MARKETER,)
"""The roles that read people by purpose; the others look up one person by an identifier, or read no people at all."""


class ReaderRole(KeyedEntry):
    """What one role reads: in previews, lists, look-ups, explanations and SQL."""

    key: Key
    """The name of the entry: `marketer`."""
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

    roles: Mapping[Key, ReaderRole] = Field(default_factory=dict)
    """The roles; one that is not named has the defaults."""

    @model_validator(mode="after")
    def _are_roles(self) -> Self:
        for role in self.roles:
            if role not in READER_ROLES:
                raise ValueError(f"`{role}` is not a role that reads people: the only one is `{MARKETER}`")
        return self

    def role(self, key: str) -> ReaderRole:
        """What a role reads."""
        return self.roles.get(key) or ReaderRole(key=key)
