"""The page of docs/reference about the database roles of the parts, generated from the declared matrix."""

from typing import Final

from cdp.schema.all import tables
from cdp.schema.database_roles import (
    AUDIT_LOG,
    FUNCTIONS,
    LEDGER,
    MATRIX,
    PURPOSES,
    READ_BY_PARTITION,
    VERBS,
    WITHOUT_PART,
    DatabaseRole,
)

_NOTE: Final = "<!-- Written by `cdp docs`. Change the code, then run it again. -->\n"
_INTRODUCTION: Final = """# Database roles

Parts of the service log in to PostgreSQL with a role of their own. It owns nothing, is a member of no role that may more, and has the rights of this page and no others. A
session of a part can become nobody else: `RESET ROLE` and `SET ROLE` lead nowhere. Its name is that of the database and the part, `cdp_ingest` for the database `cdp`.

A request of the API and a page of the console use the part of the role of their token. What has no part uses the role of the owner, which `CDP_DATABASE_URL` names: {others}. The roles of readers' logins are described under [SQL access for BI tools](consent.md#sql-access-for-bi-tools).

No part may change or delete a row of the consent ledger ({ledger}) or of the audit log ({log}). Tests compare what PostgreSQL says that a role may do with this page, and try what it may not.

A service makes the roles and their rights what they should be at each start, if its owner has `CREATEROLE`. Otherwise the part uses the login of the owner, the log of the service says
`login_not_separate`, and `cdp doctor` prints the statements for an administrator. The password of a part is derived from the password of the owner in `CDP_DATABASE_URL` and stored nowhere: without one
in the URL there is no part. Roles are marked by their comment; one of the same name without it is not touched. See [decision 39](../adr/0039-parts-of-the-service-log-in-with-roles-of-their-own.md).
"""


def pages() -> dict[str, str]:
    """The text of the page by its name."""
    return {"database-roles.md": parts_page()}


def parts_page() -> str:
    """Every part with what it may do, table by table."""
    introduction = _INTRODUCTION.format(ledger=_listed(LEDGER), log=_listed(AUDIT_LOG), others=", ".join(WITHOUT_PART))
    return "\n".join([_NOTE, introduction, *(line for part in DatabaseRole for line in _part(part))]).rstrip() + "\n"


def _part(part: DatabaseRole) -> list[str]:
    granted = MATRIX[part]
    absent = sorted(table.fullname for table in tables() if table.fullname not in granted)
    lines = [
        f"## `{part.value}`",
        "",
        f"It {PURPOSES[part]}.",
        "",
        "| table | may |",
        "|---|---|",
        *(f"| `{table}` | {', '.join(_rights(rights))} |" for table, rights in sorted(granted.items())),
        "",
        f"It may call {_listed(FUNCTIONS[part])}.",
        "",
    ]
    read = [table for table in READ_BY_PARTITION if "SELECT" in granted.get(table, ())]
    if read:
        lines += [f"It may read the partitions of {_listed(read)} by name.", ""]
    return [*lines, f"It may do nothing with {_listed(absent)}.", ""]


def _rights(rights: frozenset[str]) -> list[str]:
    """Rights to the table, then those to columns: `SELECT (name, role)`."""
    whole = [verb for verb in VERBS if verb in rights]
    columns = {
        verb: sorted(right[len(verb) + 1 : -1] for right in rights if right.startswith(f"{verb}(")) for verb in VERBS
    }
    return whole + [f"{verb} (`{'`, `'.join(names)}`)" for verb, names in columns.items() if names]


def _listed(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
