"""Stages of a person's data, and checks that are removed from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from tests.support.every_basis import Basis


class Stage(StrEnum):
    """Where it is asked whether a person's data may serve a purpose."""

    VERDICT = "verdict"
    DOOR = "door"
    DEFERRED = "deferred messages"
    IMPORTS = "imports"
    LINK_TABLES = "link tables"
    IN_FORCE = "verdicts in force"
    TRAITS = "stated traits"
    COMPUTED = "computed traits"
    CORRECTIONS = "corrections"
    CLEARING = "clearing"
    SEGMENTS = "segments"
    LISTS = "lists of members"
    LOOKUPS = "look-ups"
    SQL_READERS = "SQL readers"


@dataclass(frozen=True, slots=True)
class Edit:
    """A text that occurs once in a file, and what stands in its place without the check."""

    text: str
    instead: str


@dataclass(frozen=True, slots=True)
class Mutation:
    """A check of a stage, removed. Each test has to go red for each of the bases, by an assertion.

    A test is named as pytest does, without its parameters; one with parameters is judged by those that name the basis.
    """

    key: str
    stage: Stage
    bases: tuple[Basis, ...]
    file: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]


def removed(text: str, instead: str = "") -> tuple[Edit, ...]:
    """One edit."""
    return (Edit(text, instead),)


def mutated(source: str, edits: Sequence[Edit]) -> str:
    """The source without the check. Raises ValueError unless each text occurs exactly once."""
    for edit in edits:
        if source.count(edit.text) != 1:
            raise ValueError(f"{source.count(edit.text)} times instead of once: {edit.text!r}")
        source = source.replace(edit.text, edit.instead)
    return source
