"""Static checks: what a text must not contain under this policy, for this purpose. Pure.

Every rejection points into the text, names the rule, and describes the remedy. Which fields may be read is checked in
`check_fields`, events and their windows in `check_events`, types in `check_types`; this module checks whole conditions
and references to other segments.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final, assert_never

from cdp.policy.model import Purpose
from cdp.query.language import ast
from cdp.query.language.catalogue import Catalogue, reachable
from cdp.query.language.check_events import EventChecks
from cdp.query.language.check_types import type_rejections
from cdp.query.language.parse import parse
from cdp.query.language.rejection import Rejection
from cdp.query.language.suggestion import suggestion
from cdp.query.language.words import ANY_HINT

MAX_NODES: Final = 1_000
MAX_SEGMENTS: Final = 30


def parse_and_check(
    where: str, catalogue: Catalogue, purpose: str, *, key: str | None = None, now: datetime | None = None
) -> ast.Condition | tuple[Rejection, ...]:
    """Parse a text and check it: its condition, or everything that is wrong with it."""
    condition = parse(where)
    if isinstance(condition, Rejection):
        return (condition,)
    return check(condition, catalogue, purpose, key=key, now=now) or condition


def check(
    condition: ast.Condition, catalogue: Catalogue, purpose: str, *, key: str | None = None, now: datetime | None = None
) -> tuple[Rejection, ...]:
    """Everything that is wrong with a condition, in the order of the text; empty when it may be evaluated.

    `key` is the segment being defined, so that circular definitions are found. With `now`, date ranges that begin
    before what is retained are rejected as well; without it they pass, because a stored definition ages without being
    changed.
    """
    found = catalogue.purpose(purpose)
    if found is None:
        return (Rejection(0, f"the purpose {purpose} does not exist", suggestion(purpose, catalogue.policy.purposes)),)
    if sum(1 for _ in ast.walk(condition)) > MAX_NODES:
        return (Rejection(0, "the condition is too long", f"at most {MAX_NODES} parts"),)
    checks = _ConditionChecks(catalogue, found, key, now=now)
    return tuple(sorted(checks.condition(condition), key=lambda rejection: rejection.position))


class _ConditionChecks:
    """The checks of a condition for one purpose. With `is_referenced`, references to further segments pass."""

    def __init__(
        self,
        catalogue: Catalogue,
        purpose: Purpose,
        key: str | None,
        *,
        now: datetime | None,
        is_referenced: bool = False,
    ) -> None:
        self.catalogue = catalogue
        self.key = key
        self.purpose = purpose
        self.is_referenced = is_referenced
        self.events = EventChecks(catalogue, purpose, now)

    def condition(self, node: ast.Condition) -> Iterator[Rejection]:
        match node:
            case ast.And(terms) | ast.Or(terms):
                for term in terms:
                    yield from self.condition(term)
            case ast.Not(term):
                yield from self.condition(term)
            case ast.Did(events):
                yield from self.events.events(events)
            case ast.Sequence():
                yield from self.events.sequence(node)
            case ast.InSegment(key):
                yield from () if self.is_referenced else self.reference(node, key)
            case ast.Sample():
                return
            case ast.AnyEntry(of):
                yield Rejection(node.at, f"`any {of}` can only be used in an event filter", ANY_HINT)
            case ast.Percentile() | ast.ZScore() | ast.Quantile():
                yield Rejection(
                    node.at,
                    "percentile, zscore and quantile are not available yet",
                    "compare with a number for now, or use a computed trait",
                )
            case ast.Exists(value) | ast.Known(value):
                yield from self.events.value(value)
            case ast.Compare() | ast.OneOf() | ast.Contains() | ast.StartsWith() | ast.Between() | ast.Recent():
                rejections = tuple(self.events.value(node.value))
                yield from rejections or type_rejections(node, self.catalogue, None)
            case _:
                assert_never(node)

    def reference(self, node: ast.InSegment, key: str) -> Iterator[Rejection]:
        """`in segment`: the other segment must exist, must not lead back to this one, and must still be valid."""
        if key == self.key:
            yield Rejection(node.at, "a segment cannot contain itself", "delete the reference to itself")
            return
        if key not in self.catalogue.segments:
            yield Rejection(node.at, f'there is no segment "{key}"', suggestion(key, self.catalogue.segments))
            return
        others = reachable(key, self.catalogue)
        if key in others or (self.key is not None and self.key in others):
            message = f'"{key}" itself refers to "{self.key or key}", so the definition is circular'
            yield Rejection(node.at, message, "define one of them without the other")
        elif len(others) > MAX_SEGMENTS:
            yield Rejection(node.at, f'"{key}" refers to too many segments', f"at most {MAX_SEGMENTS} in total")
        elif (apart := next(self.apart(self.purpose, (key, *sorted(others))), None)) is not None:
            other, purpose = apart
            yield Rejection(
                node.at,
                f'"{other}" is of the purpose {purpose}, with which {self.purpose.key} does not combine',
                f"refer to a segment of {self.purpose.key}, or name {purpose} in `combines_with` of {self.purpose.key} in purposes.yaml",
            )
        else:
            yield from self.validity(node, {key, *others})

    def apart(self, purpose: Purpose, keys: Iterable[str]) -> Iterator[tuple[str, str]]:
        """The segments, with their purposes, to which a segment of this purpose may not refer, directly or through others."""
        for key in keys:
            definition = self.catalogue.segments.get(key)
            if definition is None or self.catalogue.purpose(definition.purpose) is None:
                continue  # not valid for another reason, which `validity` states
            if not purpose.combines(definition.purpose):
                yield key, definition.purpose

    def validity(self, node: ast.InSegment, keys: Iterable[str]) -> Iterator[Rejection]:
        """The policy may have changed since the other segments were defined; the first fault of each is reported."""
        for key in sorted(keys):
            definition = self.catalogue.segments.get(key)
            purpose = self.catalogue.purpose(definition.purpose) if definition is not None else None
            if definition is None or purpose is None:
                yield Rejection(node.at, f'the segment "{key}" can no longer be evaluated', "define it again")
                continue
            checks = _ConditionChecks(self.catalogue, purpose, key, now=None, is_referenced=True)
            reasons = [first.message for first in checks.condition(definition.condition)]
            reasons += [
                f'it refers to "{other}" of {apart}, with which {purpose.key} does not combine'
                for other, apart in self.apart(purpose, sorted(reachable(key, self.catalogue)))
            ]
            if reasons:
                yield Rejection(node.at, f'the segment "{key}" no longer complies with the policy', reasons[0])
