"""The data dictionary: what each column reveals about a person, and what happens to it.

Every column carries `personal(...)` or `impersonal(...)` in `Column.info`. The erasure plan and the
export plan are computed from these declarations; a column without one fails the tests.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Column, MetaData, Table

SCHEMAS = (
    "sources",
    "access",
    "accounting",
    "operations",
    "identity",
    "consent",
    "behavior",
    "segments",
    "rights",
    "destinations",
    "vault",
    "audit",
)

RECORD_KEEPING = "the law on keeping requests that policies/jurisdictions.yaml names for the regime of the request"
"""Why a request is kept; the plan of one request cites the law of its regime instead."""

metadata = MetaData(
    naming_convention={
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "pk": "%(table_name)s_pkey",
    }
)


class Erase(StrEnum):
    """What the erasure of a person does to a row or value."""

    DELETE = "delete"
    SEVER = "sever"
    SHRED = "shred"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Declaration:
    """The privacy declaration of one column.

    `export` names the field in an access export, None when it is not exported; `via` names the id
    space that ties the row to a person (`identifier`, `anchor`, `profile`, `request`).
    """

    is_personal: bool
    erase: Erase | None = None
    retention: str | None = None
    export: str | None = None
    category: str | None = None
    why_kept: str | None = None
    why_not_exported: str | None = None
    via: str | None = None


def personal(
    *,
    erase: Erase | str,
    retention: str,
    export: str | None,
    category: str,
    why_kept: str | None = None,
    why_not_exported: str | None = None,
    via: str | None = None,
) -> dict[str, Any]:
    """Declare a column that reveals something about a person.

    Raises ValueError when a kept column, or one that is not exported, has no reason.
    """
    verb = Erase(erase)
    if verb is Erase.KEEP and not why_kept:
        raise ValueError("a kept personal column needs why_kept")
    if export is None and not why_not_exported:
        raise ValueError("a personal column that is not exported needs why_not_exported")
    declaration = Declaration(True, verb, retention, export, category, why_kept, why_not_exported, via)
    return {"dictionary": declaration}


def impersonal() -> dict[str, Any]:
    """Declare a column that reveals nothing about any person."""
    return {"dictionary": Declaration(is_personal=False)}


@dataclass(frozen=True, slots=True)
class DeclaredFile:
    """A file outside the database that holds data about people, and what happens to it."""

    name: str
    content: str
    declaration: Declaration


FILES = (
    DeclaredFile(
        "replay.jsonl",
        "erasures as random ids and suppressed pseudonyms, and opt-outs as (random id, pseudonym, purpose)",
        Declaration(
            is_personal=True,
            erase=Erase.KEEP,
            retention="replay_file",
            category="suppression",
            why_kept="without this line, a restored backup would bring the person back; it ends with the last such backup",
            why_not_exported="random ids, and pseudonyms that cannot be joined with other data",
            via="identifier",
        ),
    ),
)
"""Every file outside the database that holds data about people."""


def declaration_of(column: "Column[Any]") -> Declaration | None:
    """The declaration of a column, None when it is missing (which fails the tests)."""
    found = column.info.get("dictionary")
    return found if isinstance(found, Declaration) else None


def undeclared(tables: "list[Table]") -> list[str]:
    """Names of columns without a declaration, as `schema.table.column`."""
    return [f"{t.fullname}.{c.name}" for t in tables for c in t.columns if declaration_of(c) is None]
