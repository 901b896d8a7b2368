"""Checks of types: a test must suit the type of its value, and a string must be in the vocabulary of its field."""

from collections.abc import Iterable, Iterator
from typing import assert_never

from cdp.query.language import ast
from cdp.query.language.catalogue import Catalogue, Kind, kind_of_literal
from cdp.query.language.rejection import Rejection
from cdp.query.language.suggestion import suggestion

_EXAMPLES = {
    Kind.NUMBER: "a number such as 250",
    Kind.BOOLEAN: "true or false",
    Kind.INSTANT: "a date such as 2026-01-31",
    Kind.TEXT: 'a string in double quotes, such as "DE"',
}


def type_rejections(node: ast.Test, catalogue: Catalogue, event: str | None) -> Iterator[Rejection]:
    """What is wrong with a test of a value that exists and may be read; `event` is the one that a filter is about."""
    kind = catalogue.kind_of(node.value, event)
    if kind is None:
        return
    match node:
        case ast.Compare(value, operator, literal):
            yield from _same_kind(literal, kind)
            if kind in (Kind.TEXT, Kind.BOOLEAN) and operator not in (ast.Operator.EQ, ast.Operator.NE):
                yield Rejection(node.at, f"{kind} has no order", "compare it with = or !=")
            yield from _vocabulary(catalogue, value, event, literals=[literal])
        case ast.OneOf(value, literals):
            for literal in literals:
                yield from _same_kind(literal, kind)
            yield from _vocabulary(catalogue, value, event, literals=literals)
        case ast.Between(_, low):
            yield from _same_kind(low, kind)
        case ast.Contains() | ast.StartsWith():
            yield from _of_kind(node, kind, Kind.TEXT, hint="contains and starts with require a string")
        case ast.Recent():
            yield from _of_kind(node, kind, Kind.INSTANT, hint="within a duration requires an instant")
        case ast.Exists() | ast.Known() | ast.Percentile() | ast.ZScore() | ast.Quantile():
            return
        case _:
            assert_never(node)


def _of_kind(node: ast.Test, kind: Kind, required: Kind, *, hint: str) -> Iterator[Rejection]:
    if kind is not required:
        yield Rejection(node.at, f"this is {kind}, not {required}", hint)


def _same_kind(literal: ast.Literal, kind: Kind) -> Iterator[Rejection]:
    compared_with = kind_of_literal(literal)
    if compared_with is not kind:
        yield Rejection(literal.at, f"this compares {kind} with {compared_with}", f"write {_EXAMPLES[kind]}")


def _vocabulary(
    catalogue: Catalogue, value: ast.Value, event: str | None, *, literals: Iterable[ast.Literal]
) -> Iterator[Rejection]:
    """A string that the vocabulary does not accept is never stored, so no value could equal it."""
    plan = catalogue.plan_of(value, event)
    vocabulary = catalogue.policy.events.vocabularies.get(plan.vocabulary or "") if plan is not None else None
    if vocabulary is None:
        return
    for literal in literals:
        if isinstance(literal, ast.Text) and not vocabulary.accepts(literal.value):
            hint = (
                suggestion(literal.value, vocabulary.values)
                if vocabulary.values
                else f"it must match {vocabulary.pattern}"
            )
            yield Rejection(literal.at, f'the vocabulary {vocabulary.key} does not contain "{literal.value}"', hint)
