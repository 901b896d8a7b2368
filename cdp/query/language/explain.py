"""Explanations: what a segment reads, with data categories, and why one profile is in it or not. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cdp.query.language import ast
from cdp.query.language.catalogue import Catalogue, reachable
from cdp.query.language.kleene import Kleene, all_of
from cdp.query.language.printer import write, write_value


@dataclass(frozen=True, slots=True)
class FieldUse:
    """A field that a condition reads, with the data category that the purpose had to allow."""

    name: str
    category: str


@dataclass(frozen=True, slots=True)
class SegmentExplanation:
    """What a segment requires and how it is evaluated; `sql` and `plan` contain no personal data."""

    where: str
    purpose: str
    purposes: tuple[str, ...]
    fields: tuple[FieldUse, ...]
    conditions: tuple[str, ...]
    sql: str
    plan: str


@dataclass(frozen=True, slots=True)
class Answer:
    """One condition for one profile: true, false, or None when a value is absent."""

    condition: str
    truth: Kleene


@dataclass(frozen=True, slots=True)
class MembershipExplanation:
    """Why one profile is in a segment or not; `answers` is empty when the purpose is not permitted."""

    is_in: bool
    is_permitted: bool
    answers: tuple[Answer, ...]


def parts_of(condition: ast.Condition) -> tuple[ast.Condition, ...]:
    """The conditions that the topmost `and` joins."""
    return condition.terms if isinstance(condition, ast.And) else (condition,)


def explain_membership(condition: ast.Condition, truths: Sequence[Kleene] | None) -> MembershipExplanation:
    """Explain a membership by the truths of the parts, in their order; None for a profile that is not permitted."""
    if truths is None:
        return MembershipExplanation(is_in=False, is_permitted=False, answers=())
    answers = tuple(Answer(write(part), truth) for part, truth in zip(parts_of(condition), truths, strict=True))
    return MembershipExplanation(all_of(truths) is True, is_permitted=True, answers=answers)


def purposes_of(condition: ast.Condition, purpose: str, catalogue: Catalogue) -> tuple[str, ...]:
    """The purposes that must be permitted: that of the segment, and those of the segments it refers to."""
    keys = {node.key for node in ast.walk(condition) if isinstance(node, ast.InSegment)}
    keys |= {other for key in keys for other in reachable(key, catalogue)}
    return tuple(sorted({purpose} | {catalogue.segments[key].purpose for key in keys if key in catalogue.segments}))


def fields_of(condition: ast.Condition, catalogue: Catalogue) -> tuple[FieldUse, ...]:
    """Every field and event that a condition reads, in order of its name."""
    found = set(_uses(condition, None, catalogue))
    return tuple(sorted(found, key=lambda use: (use.name, use.category)))


def _uses(node: ast.Node, event: str | None, catalogue: Catalogue) -> Iterator[FieldUse]:
    match node:
        case ast.Events(name):
            event = name
            if (plan := catalogue.event(name)) is not None:
                yield FieldUse(f'"{name}"', plan.category)
        case ast.Trait(name) if (stated := catalogue.trait(name)) is not None:
            yield FieldUse(write_value(node), stated.category)
        case ast.Computed(name) if (computed := catalogue.computed(name)) is not None:
            yield FieldUse(write_value(node), computed.category)
        case ast.Property(name) if event is not None:
            yield from _property(event, name, catalogue)
        case ast.EntryField(of, name) if event is not None:
            if (field := catalogue.entry_field(event, of, name)) is not None:
                yield FieldUse(f'"{event}".{of}.{name}', field.category)
        case ast.Sum() | ast.Average() | ast.Least() | ast.Greatest():
            yield from _property(node.events.name, node.property, catalogue)
        case ast.Net():
            yield from _property(node.events.name, node.property, catalogue)
            for other in catalogue.policy.events.taking_back(node.events.name):
                yield FieldUse(f'"{other.key}"', other.category)
                yield from _property(other.key, node.property, catalogue)
        case _:
            pass
    for child in ast.children(node):
        yield from _uses(child, event, catalogue)


def _property(event: str, name: str, catalogue: Catalogue) -> Iterator[FieldUse]:
    plan = catalogue.property(event, name)
    if plan is not None:
        yield FieldUse(f'"{event}".{name}', plan.category)
