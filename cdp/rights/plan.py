"""The erasure plan and the export plan, computed from the data dictionary. Pure: it reads declarations, not rows.

A table is tied to a person through the id spaces that its columns declare (`via`). A row is erased when one of the ties
of its erasable columns leads to the person. A table with something to erase but no tie raises an error, so that a new
personal table cannot be missed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import reduce

from sqlalchemy import Table

from cdp.rights.model import ErasureMode, Verb
from cdp.schema.all import tables as declared_tables
from cdp.schema.dictionary import (
    PERSONAL_FILES,
    RECORD_KEEPING,
    SUPPRESSION_KEEPING,
    Declaration,
    Erase,
    declaration_of,
)


class Space(StrEnum):
    """The ids that a tie is compared with: identifiers, anchors, profiles, subjects of keys, the request, the events
    of the person's anchors, or the keys of messages that wait for an answer of the person's devices.
    """

    IDENTIFIER = "identifier"
    ANCHOR = "anchor"
    PROFILE = "profile"
    SUBJECT = "subject"
    REQUEST = "request"
    EVENT = "event"
    DEFERRED = "deferred"


@dataclass(frozen=True, slots=True, order=True)
class Tie:
    """A column that leads to a person through a space of ids."""

    column: str
    space: Space


@dataclass(frozen=True, slots=True)
class PlanStep:
    """One step of an erasure: what is done to the rows of one table that the ties lead to.

    `columns` are those that a sever sets to NULL. `is_final` marks the tables from which the reach and the recipients are
    read: they are erased last and together, so that a run that was killed finds the same person again.
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
    """A column of an access export; `field` is its name in the export."""

    column: str
    field: str
    is_sealed: bool


@dataclass(frozen=True, slots=True)
class Section:
    """What an access export contains of one table; `hidden` are the other personal columns, with the reason."""

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
    "deferred": (Tie("subject_id", Space.DEFERRED),),
}

_FINAL_SCHEMAS = ("destinations", "identity", "rights", "vault")

_WHY = {
    Space.PROFILE: "belongs to a profile of the person",
    Space.EVENT: "a digest of a message of the person",
    Space.ANCHOR: "belongs to an anchor of the person",
    Space.IDENTIFIER: "belongs to an identifier of the person",
    Space.REQUEST: "was needed while the request was in progress",
    Space.SUBJECT: "decrypts what was sealed for the person",
    Space.DEFERRED: "waits for an answer of a device of the person",
}

_LIFTED_SUPPRESSION = "lifted at once; without it, a late message from before the erasure would be stored again"

Column = tuple[str, Declaration]


def erasure_plan(tables: Sequence[Table] | None = None) -> tuple[PlanStep, ...]:
    """The steps of an erasure in order: projections of readers first, keys last, then what is kept, files included.

    Raises ValueError for a table with something to erase but no tie.
    """
    drafts = [draft for table in tables or declared_tables() for draft in _drafts(table)]
    if tables is None:
        drafts += [DraftStep(file.name, Verb.KEEP, (), (), file.declaration.why_kept or "") for file in PERSONAL_FILES]
    return tuple(
        PlanStep(position, step.table, step.verb, step.ties, step.columns, step.reason, _is_final(step))
        for position, step in enumerate(sorted(drafts, key=_rank))
    )


def cite(plan: Sequence[PlanStep], law: str, *, mode: ErasureMode | None) -> tuple[PlanStep, ...]:
    """The plan with the reasons of one request: the law under which it is kept, and why a suppression is that its mode ends."""
    reasons = {RECORD_KEEPING: law}
    if mode is ErasureMode.ERASE:
        reasons[SUPPRESSION_KEEPING] = _LIFTED_SUPPRESSION
    return tuple(
        replace(step, reason=reduce(lambda text, one: text.replace(*one), reasons.items(), step.reason))
        for step in plan
    )


def export_plan(tables: Sequence[Table] | None = None) -> tuple[Section, ...]:
    """The sections of an access export, in the order of the declared tables: every column declared exportable.

    Raises ValueError for a table with something to export but no tie.
    """
    sections = []
    for table in tables or declared_tables():
        name, personal = table.fullname, _personal(table)
        exported = [(column, declared) for column, declared in personal if declared.export is not None]
        if not exported:
            continue
        hidden = [(column, declared.why_not_exported or "") for column, declared in personal if declared.export is None]
        ties = _ties(table, exported)
        if not ties:
            raise ValueError(f"{name} has columns to export, but none leads to a person: declare its `via` path")
        sections.append(
            Section(
                table=name,
                category=exported[0][1].category or "",
                retention=exported[0][1].retention or "",
                ties=ties,
                columns=tuple(
                    ExportColumn(column, declared.export or "", _is_sealed(column)) for column, declared in exported
                ),
                hidden=tuple(hidden),
            )
        )
    return tuple(sections)


def personal_columns(tables: Sequence[Table] | None = None) -> frozenset[str]:
    """Every column with personal data, as `schema.table.column`."""
    every = tables or declared_tables()
    return frozenset(f"{table.fullname}.{column}" for table in every for column, _ in _personal(table))


def erased_columns(steps: Sequence[PlanStep], tables: Sequence[Table] | None = None) -> frozenset[str]:
    """The columns that these steps cover: deleted with their row, severed, made unreadable, or kept for a reason."""
    named = {table.fullname: table for table in tables or declared_tables()}
    covered = set()
    for step in steps:
        for column, declared in _personal(named[step.table]) if step.table in named else ():
            is_kept = declared.erase is Erase.KEEP
            if is_kept == (step.verb is Verb.KEEP) and (step.verb is not Verb.SEVER or column in step.columns):
                covered.add(f"{step.table}.{column}")
    return frozenset(covered)


@dataclass(frozen=True, slots=True)
class DraftStep:
    """A step of the plan before the steps are put in order."""

    table: str
    verb: Verb
    ties: tuple[Tie, ...]
    columns: tuple[str, ...]
    reason: str


def _drafts(table: Table) -> list[DraftStep]:
    name, personal = table.fullname, _personal(table)
    kept = [declared for _, declared in personal if declared.erase is Erase.KEEP]
    erased = [(column, declared) for column, declared in personal if declared.erase is not Erase.KEEP]
    drafts: list[DraftStep] = []
    if kept:
        reasons = sorted({declared.why_kept or "" for declared in kept})
        drafts.append(DraftStep(name, Verb.KEEP, (), (), "; ".join(reasons)))
    if erased:
        verbs = {declared.erase for _, declared in erased}
        verb = Verb.DELETE if Erase.DELETE in verbs else Verb.SEVER if Erase.SEVER in verbs else Verb.SHRED
        ties = _ties(table, erased)
        if not ties:
            raise ValueError(f"{name} has something to erase, but no column leads to a person: declare its `via` path")
        severed = tuple(column for column, _ in erased) if verb is Verb.SEVER else ()
        drafts.append(DraftStep(name, verb, ties, severed, "; ".join(sorted({_WHY[tie.space] for tie in ties}))))
    return drafts


def _personal(table: Table) -> list[Column]:
    found = []
    for column in table.columns:
        declared = declaration_of(column)
        if declared is not None and declared.is_personal:
            found.append((column.name, declared))
    return found


def _ties(table: Table, columns: Iterable[Column]) -> tuple[Tie, ...]:
    """The tie columns of the table in the spaces that these columns declare.

    A row with both an anchor and an event id is tied by its anchor; the event id is used only where there is no anchor.
    """
    present = {column.name for column in table.columns}
    ties: set[Tie] = set()
    for space in {declared.via for _, declared in columns if declared.via is not None}:
        if space not in _TIES:
            raise ValueError(
                f"{table.fullname} declares the unknown `via` path {space}; known paths are {sorted(_TIES)}"
            )
        found = [tie for tie in _TIES[space] if tie.column in present]
        ties.update(found[:1] if space == "anchor" else found)
    return tuple(sorted(ties))


def _is_sealed(column: str) -> bool:
    return column == "sealed" or column.endswith("_sealed")


def _is_final(draft: DraftStep) -> bool:
    return draft.verb is Verb.KEEP or draft.table.partition(".")[0] in _FINAL_SCHEMAS


def _rank(draft: DraftStep) -> tuple[int, int, str, Verb]:
    """Order: projections and memberships, digests of events, the rest, final tables, keys, kept tables; then by name."""
    spaces = {tie.space for tie in draft.ties}
    if draft.verb is Verb.KEEP:
        order = 9
    elif Space.SUBJECT in spaces:
        order = 8
    elif _is_final(draft):
        order = 7
    elif Space.PROFILE in spaces:
        order = 0
    elif Space.EVENT in spaces:
        order = 1
    else:
        order = 2
    return order, len(spaces), draft.table, draft.verb
