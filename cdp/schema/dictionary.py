"""The data dictionary: what each column and file reveals about a person, and what happens to it.

Every column carries `personal(...)` or `impersonal(...)` in `Column.info`. The erasure plan and the
export plan are computed from these declarations; a column without one fails the tests.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

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

SUPPRESSION_KEEPING = "without it, the next message would create the person's profile again"
"""Why a suppression is kept; the plan of an erasure that does not suppress gives another reason."""

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
    space that ties the row to a person (`identifier`, `anchor`, `profile`, `request`, `deferred`).
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
    """A file outside the database, in `CDP_HOME` or the state store, and what happens to what it says about people.

    `name` is a path in that folder; a star stands for a part of it, and `folder/` for everything in a folder. The draft of a file
    (`cdp.kit.drafts`) is declared with it. `loss` is the consequence of losing the file.
    """

    name: str
    content: str
    loss: str
    declaration: Declaration

    def covers(self, path: str) -> bool:
        """Whether a path in the folder is this file, one of its drafts, or in this folder."""
        if self.name.endswith("/"):
            return path.startswith(self.name)
        folder, _, last = path.rpartition("/")
        named = re.sub(r"^\.(.+)\.[0-9a-f]{16}$", r"\1", last)
        pattern = "[^/]+".join(map(re.escape, self.name.split("*")))
        return re.fullmatch(pattern, f"{folder}/{named}" if folder else named) is not None


_IMPERSONAL: Final = Declaration(is_personal=False)

FILES: Final = (
    DeclaredFile(
        "keys/master.key",
        "the master key, unless CDP_MASTER_KEY or a KMS has it",
        "all encrypted data is lost",
        _IMPERSONAL,
    ),
    DeclaredFile("keys/*.wrapped", "root keys, wrapped by the master key", "all encrypted data is lost", _IMPERSONAL),
    DeclaredFile(
        "admin.token", "the admin token of the first start", "none: `cdp token create` creates another", _IMPERSONAL
    ),
    DeclaredFile(
        "replay.jsonl",
        "erasures as random ids and suppressed pseudonyms, suppressions that were lifted, and opt-outs and restrictions, each "
        "as a random id, a pseudonym, the purpose, the act with its authority, jurisdiction and consent signal, and instants",
        "no service starts (`replay_file_missing`) until it is restored, or `cdp replay --accept-loss` was run",
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
    DeclaredFile(
        "binding.json",
        "which store this is: a number that each start of a service, move and accepted loss raises, and a random value",
        "no service starts (`state_outdated`) until it is restored, or `cdp replay --accept-loss` was run",
        _IMPERSONAL,
    ),
    DeclaredFile(
        "outdated.json",
        "the `binding.json` of this store, once another store was found to have replaced it",
        "a copy that is out of date is not recognized beside a restored database",
        _IMPERSONAL,
    ),
    DeclaredFile(
        "moving.json",
        "from which store the files come that `cdp state move` is writing here",
        "a store that was moved in part could be used",
        _IMPERSONAL,
    ),
    DeclaredFile(
        "moved.json",
        "to which store `cdp state move` moved these files, and when",
        "a store that was left is not recognized beside a restored database",
        _IMPERSONAL,
    ),
    DeclaredFile(
        "audit/*/entries",
        "the copy of the audit log: 32 bytes per entry",
        "a restored log cannot be continued; a new one is started",
        _IMPERSONAL,
    ),
    DeclaredFile(
        "audit/*/checkpoint",
        "the last signed checkpoint of the log",
        "a restored log cannot be continued; a new one is started",
        _IMPERSONAL,
    ),
    DeclaredFile(
        "postgres/",
        "the embedded database, unless `CDP_DATABASE_URL` is set; its rows are declared as columns",
        "all data is lost",
        _IMPERSONAL,
    ),
    DeclaredFile(
        "postgres.location",
        "where the embedded database is, if its account cannot reach `CDP_HOME`",
        "the database is not found",
        _IMPERSONAL,
    ),
)
"""Every file outside the database that cdp writes by itself; a test compares them with what a service leaves on disk."""

PERSONAL_FILES: Final = tuple(file for file in FILES if file.declaration.is_personal)
"""Those that hold data about people."""


def declaration_of(column: "Column[Any]") -> Declaration | None:
    """The declaration of a column, None when it is missing (which fails the tests)."""
    found = column.info.get("dictionary")
    return found if isinstance(found, Declaration) else None


def undeclared(tables: "list[Table]") -> list[str]:
    """Names of columns without a declaration, as `schema.table.column`."""
    return [f"{t.fullname}.{c.name}" for t in tables for c in t.columns if declaration_of(c) is None]
