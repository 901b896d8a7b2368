"""Static checks: what a text may not say under this policy, for this purpose. Pure.

Every rejection points into the text, names the rule, and says what would be right.
"""

import difflib
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import assert_never

from cdp.policy.model import EventPlan, Keep, PropertyPlan, Purpose
from cdp.query.language import ast
from cdp.query.language.catalogue import Catalogue, Kind, kind_of_literal
from cdp.query.language.parse import parse
from cdp.query.language.rejection import Rejection

MAX_NODES = 1_000
MAX_SEGMENTS = 30


def understand(
    where: str, catalogue: Catalogue, purpose: str, *, key: str | None = None, now: datetime | None = None
) -> ast.Condition | tuple[Rejection, ...]:
    """Read a text and check it: its meaning, or everything that is wrong with it."""
    condition = parse(where)
    if isinstance(condition, Rejection):
        return (condition,)
    return check(condition, catalogue, purpose, key=key, now=now) or condition


def check(
    condition: ast.Condition, catalogue: Catalogue, purpose: str, *, key: str | None = None, now: datetime | None = None
) -> tuple[Rejection, ...]:
    """Everything that is wrong with a condition; empty when it may be evaluated.

    `key` is the segment being defined, so that circles are found. With `now`, ranges of dates that lie before what
    is retained are refused too; without it they are let through, since a definition ages by itself.
    """
    found = catalogue.purpose(purpose)
    if found is None:
        return (Rejection(0, f"the purpose {purpose} does not exist", suggestion(purpose, catalogue.policy.purposes)),)
    if sum(1 for _ in ast.walk(condition)) > MAX_NODES:
        return (Rejection(0, "the condition is too long", f"at most {MAX_NODES} parts"),)
    checks = _Checks(catalogue, found, key, now=now)
    return tuple(sorted(checks.condition(condition, None), key=lambda rejection: rejection.position))


def suggestion(name: str, known: Iterable[str], before: str = "") -> str:
    """A hint with the closest known names."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, 1, 0.6)
    lowered = [each for each in names if each.lower() == name.lower()]
    if close or lowered:
        return f"did you mean {before}{(lowered or close)[0]}?"
    shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return f"there are {shown}" if names else "there are none"


class _Checks:
    """The rules, with what they are asked about. `event` is the one whose filter is being read."""

    def __init__(
        self,
        catalogue: Catalogue,
        purpose: Purpose,
        key: str | None,
        *,
        now: datetime | None,
        is_inner: bool = False,
    ) -> None:
        self.catalogue = catalogue
        self.purpose = purpose
        self.key = key
        self.now = now
        self.is_inner = is_inner

    def condition(self, node: ast.Condition, event: EventPlan | None) -> Iterator[Rejection]:
        match node:
            case ast.And(terms) | ast.Or(terms):
                for term in terms:
                    yield from self.condition(term, event)
            case ast.Not(term):
                yield from self.condition(term, event)
            case ast.Did(events):
                yield from self.events(events)
            case ast.Sequence():
                yield from self.sequence(node)
            case ast.InSegment(key):
                yield from () if self.is_inner else self.segment(node, key)
            case ast.Sample():
                return
            case ast.Percentile() | ast.ZScore() | ast.Quantile():
                yield Rejection(
                    node.at,
                    "percentile, zscore and quantile are not available yet",
                    "compare with a number for now, or use a computed trait",
                )
            case ast.Exists(value) | ast.Known(value):
                yield from self.value(value, event)
            case ast.Compare() | ast.OneOf() | ast.Contains() | ast.StartsWith() | ast.Between() | ast.Recent():
                yield from self.test(node, event)
            case _:
                assert_never(node)

    # --- values ---

    def value(self, value: ast.Value, event: EventPlan | None) -> Iterator[Rejection]:
        match value:
            case ast.Trait(name):
                known = self.catalogue.policy.events.traits
                plain = [each for each, plan in known.items() if plan.keep is Keep.PLAIN]
                yield from self.field(
                    value, known.get(name), f"the trait {name}", hint=suggestion(name, plain, "trait.")
                )
            case ast.Property(name):
                assert event is not None
                yield from self.property(value, event, name)
            case ast.Computed(name):
                yield from self.computed(value, name)
            case (
                ast.Sum(events, name) | ast.Average(events, name) | ast.Least(events, name) | ast.Greatest(events, name)
            ):
                yield from self.events(events)
                if (plan := self.catalogue.event(events.name)) is not None:
                    yield from self.property(value, plan, name, wanted=Kind.NUMBER)
            case ast.Count(events) | ast.DaysSinceLast(events) | ast.First(events) | ast.Last(events):
                yield from self.events(events)
            case _:
                assert_never(value)

    def property(
        self, node: ast.Node, event: EventPlan, name: str, *, wanted: Kind | None = None
    ) -> Iterator[Rejection]:
        plain = [each for each, plan in event.properties.items() if plan.keep is Keep.PLAIN]
        found = self.catalogue.property(event.key, name)
        refused = tuple(self.field(node, found, f'the property {name} of "{event.key}"', hint=suggestion(name, plain)))
        yield from refused
        kind = self.catalogue.kind_of(ast.Property(name), event.key)
        if not refused and wanted is not None and kind is not wanted:
            yield Rejection(node.at, f"{name} is {kind}, not {wanted}", "only numbers can be added, averaged or ranked")

    def field(self, node: ast.Node, plan: PropertyPlan | None, what: str, *, hint: str) -> Iterator[Rejection]:
        """A stated field must exist, lie in plain, and be of a category that the purpose allows."""
        if plan is None:
            yield Rejection(node.at, f"{what} is not in the tracking plan", hint)
        elif plan.keep is not Keep.PLAIN:
            kept = "sealed" if plan.keep is Keep.SEALED else "not stored"
            yield Rejection(
                node.at,
                f"{what} is {kept} and cannot be named in a segment",
                "policies/events.yaml says `keep: plain` for fields that segments may read",
            )
        else:
            yield from self.category(node, plan.category, what)

    def category(self, node: ast.Node, category: str, what: str) -> Iterator[Rejection]:
        if not self.purpose.allows(category):
            allowed = ", ".join(self.purpose.categories)
            yield Rejection(
                node.at,
                f"{what} is {category}, which the purpose {self.purpose.key} does not allow",
                f"rule: purposes.{self.purpose.key}.categories in policies/purposes.yaml allows {allowed}",
            )

    def computed(self, node: ast.Computed, name: str) -> Iterator[Rejection]:
        trait = self.catalogue.computed(name)
        known = [key for key, each in self.catalogue.policy.traits.items() if each.purpose == self.purpose.key]
        if trait is None:
            hint = suggestion(name, known, "computed.")
            yield Rejection(node.at, f"the computed trait {name} is not in policies/traits.yaml", hint)
        elif trait.purpose != self.purpose.key:
            message = f"the computed trait {name} serves the purpose {trait.purpose}, not {self.purpose.key}"
            yield Rejection(node.at, message, f"for {self.purpose.key} {suggestion(name, known, 'computed.')}")
        else:
            yield from self.category(node, trait.category, f"the computed trait {name}")

    # --- tests ---

    def test(
        self,
        node: ast.Compare | ast.OneOf | ast.Contains | ast.StartsWith | ast.Between | ast.Recent,
        event: EventPlan | None,
    ) -> Iterator[Rejection]:
        refused = tuple(self.value(node.value, event))
        yield from refused
        name = event.key if event is not None else None
        kind = self.catalogue.kind_of(node.value, name)
        if refused or kind is None:
            return
        match node:
            case ast.Compare(value, operator, literal):
                yield from self.same_kind(literal, kind)
                if kind in (Kind.TEXT, Kind.BOOLEAN) and operator not in (ast.Operator.EQ, ast.Operator.NE):
                    yield Rejection(node.at, f"{kind} has no order", "compare it with = or !=")
                yield from self.terms(value, name, [literal])
            case ast.OneOf(value, literals):
                for literal in literals:
                    yield from self.same_kind(literal, kind)
                yield from self.terms(value, name, literals)
            case ast.Between(_, low):
                yield from self.same_kind(low, kind)
            case ast.Contains() | ast.StartsWith():
                if kind is not Kind.TEXT:
                    yield Rejection(node.at, f"this is {kind}, not a string", "contains and starts with ask strings")
            case ast.Recent():
                if kind is not Kind.INSTANT:
                    yield Rejection(
                        node.at, f"this is {kind}, not an instant", "within a duration can be an instant only"
                    )
            case _:
                assert_never(node)

    def same_kind(self, literal: ast.Literal, kind: Kind) -> Iterator[Rejection]:
        given = kind_of_literal(literal)
        if given is not kind:
            yield Rejection(literal.at, f"this compares {kind} with {given}", f"write {_EXAMPLES[kind]}")

    def terms(self, value: ast.Value, event: str | None, literals: Iterable[ast.Literal]) -> Iterator[Rejection]:
        """A string that its vocabulary does not take could never be found."""
        plan = self.catalogue.plan_of(value, event)
        vocabulary = self.catalogue.policy.events.vocabularies.get(plan.vocabulary or "") if plan is not None else None
        for literal in literals if vocabulary is not None else ():
            if isinstance(literal, ast.Text) and vocabulary is not None and not vocabulary.accepts(literal.value):
                hint = (
                    suggestion(literal.value, vocabulary.values)
                    if vocabulary.values
                    else f"it must match {vocabulary.pattern}"
                )
                yield Rejection(literal.at, f'the vocabulary {vocabulary.key} has no "{literal.value}"', hint)

    # --- events ---

    def events(self, events: ast.Events) -> Iterator[Rejection]:
        plan = self.catalogue.event(events.name)
        if plan is None:
            hint = suggestion(events.name, self.catalogue.policy.events.events)
            yield Rejection(events.at, f'the event "{events.name}" is not in policies/events.yaml', hint)
            return
        if not self.purpose.covers(events.name):
            rule = f"purposes.{self.purpose.key}.events in policies/purposes.yaml"
            yield Rejection(
                events.at, f'the purpose {self.purpose.key} does not cover "{events.name}"', f"rule: {rule}"
            )
        yield from self.category(events, plan.category, f'the event "{events.name}"')
        yield from self.window(events.window, events)
        if events.where is not None:
            yield from self.condition(events.where, plan)

    def sequence(self, node: ast.Sequence) -> Iterator[Rejection]:
        for step in node.steps:
            yield from self.events(step.events)
            if step.within is not None:
                yield from self.length(step.within, step.events)
        yield from self.window(node.window, node.steps[0].events)

    def window(self, window: ast.Window | None, events: ast.Events) -> Iterator[Rejection]:
        if isinstance(window, ast.Within):
            yield from self.length(window.duration, events)
        if isinstance(window, ast.During) and self.catalogue.event(events.name) is not None:
            kept = self.catalogue.keep_for(events.name)
            begins, ends = self.catalogue.start_of(window.first.value), self.catalogue.end_of(window.last.value)
            if ends - begins > kept + timedelta(hours=1):
                yield self._too_long(window, events, kept)
            elif self.now is not None and begins < self.now - kept:
                yield Rejection(
                    window.at,
                    f'"{events.name}" is kept for {kept.days} days, so events of {window.first.value} are gone',
                    f"begin after {(self.now - kept).date()}",
                )

    def length(self, duration: ast.Duration, events: ast.Events) -> Iterator[Rejection]:
        if self.catalogue.event(events.name) is not None:
            kept = self.catalogue.keep_for(events.name)
            if timedelta(seconds=duration.seconds) > kept:
                yield self._too_long(duration, events, kept)

    def _too_long(self, node: ast.Node, events: ast.Events, kept: timedelta) -> Rejection:
        retention_class = self.catalogue.policy.events.class_of(events.name)
        return Rejection(
            node.at,
            f'the window is longer than "{events.name}" is kept',
            f"rule: classes.{retention_class}.keep_for_days in policies/retention.yaml is {kept.days}",
        )

    # --- other segments ---

    def segment(self, node: ast.InSegment, key: str) -> Iterator[Rejection]:
        if key == self.key:
            yield Rejection(node.at, "a segment cannot contain itself", "leave it out")
            return
        if key not in self.catalogue.segments:
            yield Rejection(node.at, f'there is no segment "{key}"', suggestion(key, self.catalogue.segments))
            return
        others = reachable(key, self.catalogue)
        if key in others or (self.key is not None and self.key in others):
            hint = "define one of them without the other"
            yield Rejection(node.at, f'"{key}" itself asks for "{self.key or key}": a circle', hint)
        elif len(others) > MAX_SEGMENTS:
            yield Rejection(node.at, f'"{key}" asks for too many segments', f"at most {MAX_SEGMENTS}, all together")
        else:
            yield from self.fitness(node, {key, *others})

    def fitness(self, node: ast.InSegment, keys: Iterable[str]) -> Iterator[Rejection]:
        """The policy may have changed since the other segments were defined."""
        for key in sorted(keys):
            definition = self.catalogue.segments.get(key)
            purpose = self.catalogue.purpose(definition.purpose) if definition is not None else None
            if definition is None or purpose is None:
                yield Rejection(node.at, f'the segment "{key}" cannot be asked any more', "define it anew")
                continue
            others = _Checks(self.catalogue, purpose, key, now=None, is_inner=True)
            for found in list(others.condition(definition.condition, None))[:1]:
                yield Rejection(node.at, f'the segment "{key}" does not fit the policy any more', found.message)


def reachable(key: str, catalogue: Catalogue) -> frozenset[str]:
    """The segments that one asks for, directly or through others."""
    seen: set[str] = set()
    open_keys = [key]
    while open_keys:
        definition = catalogue.segments.get(open_keys.pop())
        if definition is None:
            continue
        for node in ast.walk(definition.condition):
            if isinstance(node, ast.InSegment) and node.key not in seen:
                seen.add(node.key)
                open_keys.append(node.key)
    return frozenset(seen)


_EXAMPLES = {
    Kind.NUMBER: "a number such as 250",
    Kind.BOOLEAN: "true or false",
    Kind.INSTANT: "a date such as 2026-01-31",
    Kind.TEXT: 'a string in double quotes, such as "DE"',
}
