"""The base of every policy model: frozen and strict; unknown keys are refused."""

import re
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

_COULD_IDENTIFY_A_PERSON = re.compile(r"[0-9]{6}|[0-9a-f]{16}")


def _identifies_nobody(key: str) -> str:
    if _COULD_IDENTIFY_A_PERSON.search(key):
        raise ValueError(
            "has six digits or sixteen hexadecimal digits in a row, which could identify a person, and the audit log "
            "refuses such names. Write promo_2026_11 instead of promo_20261122"
        )
    return key


Key = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,52}$"), AfterValidator(_identifies_nobody)]
"""A name that becomes part of a table or partition name: 53 characters leave ten for the service within PostgreSQL's 63."""

DashedKey = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,52}$"), AfterValidator(_identifies_nobody)]
"""A key that never names a table: jurisdictions such as `us-ca`."""

TypeKey = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.]{0,52}$"), AfterValidator(_identifies_nobody)]
"""An identifier type; dots are allowed, because the Segment spec uses `ios.idfa`."""

CategoryKey = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*){0,5}$", max_length=100)]
"""A data category in fideslang's dotted form; `user.contact` includes `user.contact.email`."""

Name = Annotated[str, Field(min_length=1, max_length=200)]
"""A title for people; also the name of an event or a property, which SDKs may choose freely."""

Text = Annotated[str, Field(max_length=2000)]
"""A sentence or two for people."""

Days = Annotated[int, Field(ge=1, le=36_525)]
"""Whole days, from one to a hundred years."""


class Frozen(BaseModel):
    """A value of the policy: immutable; an unknown key or a wrong type is refused and never coerced."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        protected_namespaces=(),
    )

    entries: ClassVar[tuple[tuple[str, ...], ...]] = ()
    """Paths of the mappings in a file whose entries are named by their key; `*` is any key."""


def hide_key(schema: dict[str, Any]) -> None:
    """Remove `key` from a published schema: in the file it is the name of the entry, not a field of it."""
    schema.get("properties", {}).pop("key", None)
    schema["required"] = [name for name in schema.get("required", []) if name != "key"]


class KeyedEntry(Frozen):
    """A value that a file lists under its key; the loader copies that key into `key`."""

    model_config = ConfigDict(json_schema_extra=hide_key)
