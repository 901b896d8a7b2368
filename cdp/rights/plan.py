"""The erasure plan and the export plan, computed from the data dictionary. Pure: it reads declarations, not rows.

A table is tied to a person through the id spaces that its columns declare (`via`). A row goes when one of the ties of
its deletable columns leads to the person; a table that has something to erase and no tie is refused here, so that a
new personal table cannot be forgotten.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Table

from cdp.rights.model import Verb
from cdp.schema.all import tables as declared_tables
from cdp.schema.dictionary import Declaration, Erase, declaration_of


class Space(StrEnum):
    """What a tie is compared with: identifiers, anchors, profiles, subjects of keys, the request, or the event ids
    of the person's anchors.
    """

    IDENTIFIER = "identifier"
    ANCHOR = "anchor"
    PROFILE = "profile"
    SUBJECT = "subject"
    REQUEST = "request"
    EVENT = "event"


@dataclass(frozen=True, slots=True, order=True)
class Tie:
    """A column that leads to a person through a space of ids."""

    column: str
    space: Space


@dataclass(frozen=True, slots=True)
class PlanStep:
    """One step of an erasure: what is done to the rows of one table that the ties lead to.

    `columns` are those cut off by a sever. `is_final` marks the tables from which the reach and the recipients are read:
    they are erased last and all at once, so that a run that was killed finds the same person again.
    """

    position: int
    table: str
    verb: Verb
    ties: tuple[Tie, ...]
    columns: tuple[str, ...]
    reason: str
    is_final: bool


@dataclass(frozen=True, slots=True)
class ExportColumn:
    """A column of an access export, under the name it has there."""

    column: str
    field: str
    is_sealed: bool


@dataclass(frozen=True, slots=True)
class Section:
    """What an access export shows of one table, and what it does not show, with the reason."""

    table: str
    category: str
    retention: str
    ties: tuple[Tie, ...]
    columns: tuple[ExportColumn, ...]
    hidden: tuple[tuple[str, str], ...]


_TIES: dict[str, tuple[Tie, ...]] = {
    "identifier": (Tie("identifier_id", Space.IDENTIFIER), Tie("other_identifier_id", Space.IDENTIFIER)),
    "anchor": (Tie("anchor_id", Space.ANCHOR), Tie("event_id", Space.EVENT)),
    "profile": (
        Tie("profile_id", Space.PROFILE),
        Tie("other_profile_id", Space.PROFILE),
        Tie("merged_into", Space.PROFILE),
    ),
    "subject": (Tie("subject_id", Space.SUBJECT),),
    "request": (Tie("request_id", Space.REQUEST),),
}

_FINAL_SCHEMAS = ("destinations", "identity", "rights", "vault")

_WHY = {
    Space.PROFILE: "belongs to a profile of the person",
    Space.EVENT: "remembers a message of the person",
    Space.ANCHOR: "hangs on an anchor of the person",
    Space.IDENTIFIER: "hangs on an identifier of the person",
    Space.REQUEST: "was needed while the request ran",
    Space.SUBJECT: "opens what was sealed for the person",
}

Column = tuple[str, Declaration]


def erasure_plan(tables: Sequence[Table] | None = None) -> tuple[PlanStep, ...]:
    """The steps of an erasure in their order: readers' projections first, keys last.

    Raises ValueError for a table with something to erase that no tie leads to.
    """
    drafts = [draft for table in tables or declared_tables() for draft in _drafts(table)]
    return tuple(
        PlanStep(position, table, verb, ties, columns, reason, _is_final(table))
        for position, (table, verb, ties, columns, reason) in enumerate(sorted(drafts, key=_rank))
    )


def export_plan(tables: Sequence[Table] | None = None) -> tuple[Section, ...]:
    """The sections of an access export, in order of table names: every column declared exportable."""
    sections = []
    for table in tables or declared_tables():
        name, personal = table.fullname, _personal(table)
        shown = [(column, declared) for column, declared in personal if declared.export is not None]
        if not shown:
            continue
        hidden = [(column, declared.why_not_exported or "") for column, declared in personal if declared.export is None]
        ties = _ties(table, shown)
        if not ties:
            raise ValueError(f"{name} has columns to export, but none leads to a person: declare its via path")
        sections.append(
            Section(
                table=name,
                category=shown[0][1].category or "",
                retention=shown[0][1].retention or "",
                ties=ties,
                columns=tuple(
                    ExportColumn(column, declared.export or "", _is_sealed(column)) for column, declared in shown
                ),
                hidden=tuple(hidden),
            )
        )
    return tuple(sections)


def personal_columns(tables: Sequence[Table] | None = None) -> frozenset[str]:
    """Every column that says something about a person, as `schema.table.column`."""
    every = tables or declared_tables()
    return frozenset(f"{table.fullname}.{column}" for table in every for column, _ in _personal(table))


def erased_columns(steps: Sequence[PlanStep], tables: Sequence[Table] | None = None) -> frozenset[str]:
    """The columns that these steps account for: gone with their row, cut off, unreadable, or kept for a reason."""
    named = {table.fullname: table for table in tables or declared_tables()}
    out = set()
    for step in steps:
        for column, declared in _personal(named[step.table]):
            is_kept = declared.erase is Erase.KEEP
            if is_kept == (step.verb is Verb.KEEP) and (step.verb is not Verb.SEVER or column in step.columns):
                out.add(f"{step.table}.{column}")
    return frozenset(out)


Draft = tuple[str, Verb, tuple[Tie, ...], tuple[str, ...], str]


def _drafts(table: Table) -> list[Draft]:
    name, personal = table.fullname, _personal(table)
    kept = [declared for _, declared in personal if declared.erase is Erase.KEEP]
    gone = [(column, declared) for column, declared in personal if declared.erase is not Erase.KEEP]
    drafts: list[Draft] = []
    if kept:
        reasons = sorted({declared.why_kept or "" for declared in kept})
        drafts.append((name, Verb.KEEP, (), (), "; ".join(reasons)))
    if gone:
        verbs = {declared.erase for _, declared in gone}
        verb = Verb.DELETE if Erase.DELETE in verbs else Verb.SEVER if Erase.SEVER in verbs else Verb.SHRED
        ties = _ties(table, gone)
        if not ties:
            raise ValueError(f"{name} has something to erase, but nothing leads to a person: declare its via path")
        severed = tuple(column for column, _ in gone) if verb is Verb.SEVER else ()
        drafts.append((name, verb, ties, severed, "; ".join(sorted({_WHY[tie.space] for tie in ties}))))
    return drafts


def _personal(table: Table) -> list[Column]:
    found = []
    for column in table.columns:
        declared = declaration_of(column)
        if declared is not None and declared.is_personal:
            found.append((column.name, declared))
    return found


def _ties(table: Table, columns: Iterable[Column]) -> tuple[Tie, ...]:
    """The tie columns that the table has in the spaces that these columns declare.

    A row with both an anchor and an event id is tied by its anchor: the event id is only the way where there is none.
    """
    present = {column.name for column in table.columns}
    ties: set[Tie] = set()
    for space in {declared.via for _, declared in columns if declared.via is not None}:
        if space not in _TIES:
            raise ValueError(
                f"{table.fullname} declares the via path {space}, which leads nowhere; known are {sorted(_TIES)}"
            )
        found = [tie for tie in _TIES[space] if tie.column in present]
        ties.update(found[:1] if space == "anchor" else found)
    return tuple(sorted(ties))


def _is_sealed(column: str) -> bool:
    return column == "sealed" or column.endswith("_sealed")


def _is_final(table: str) -> bool:
    return table.partition(".")[0] in _FINAL_SCHEMAS


def _rank(draft: Draft) -> tuple[int, int, str, Verb]:
    """Projections and memberships, then what hangs on events, then the rest, the map, the keys; within it by name."""
    table, verb, ties, _, _ = draft
    spaces = {tie.space for tie in ties}
    if verb is Verb.KEEP:
        place = 9
    elif Space.SUBJECT in spaces:
        place = 8
    elif _is_final(table):
        place = 7
    elif Space.PROFILE in spaces:
        place = 0
    elif Space.EVENT in spaces:
        place = 1
    else:
        place = 2
    return place, len(spaces), table, verb
