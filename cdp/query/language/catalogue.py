"""What a text can refer to: fields of the policy with type, category and retention, and the segments in force."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import cached_property
from typing import assert_never
from zoneinfo import ZoneInfo

from cdp.policy.model import (
    ComputedTrait,
    EventPlan,
    Keep,
    ListField,
    Policy,
    PropertyPlan,
    PropertyType,
    Purpose,
    TraitKind,
)
from cdp.query.language import ast


class Kind(StrEnum):
    """The type of a value; the value is how messages name it."""

    NUMBER = "a number"
    BOOLEAN = "a boolean"
    INSTANT = "an instant"
    TEXT = "a string"


@dataclass(frozen=True, slots=True)
class Definition:
    """The definition of another segment: its purpose and its condition."""

    purpose: str
    condition: ast.Condition


@dataclass(frozen=True)
class Catalogue:
    """The policy as the language sees it, and the definitions of the segments in force."""

    policy: Policy
    segments: Mapping[str, Definition] = field(default_factory=dict)

    @cached_property
    def zone(self) -> ZoneInfo:
        """The time zone in which dates are whole days."""
        return ZoneInfo(self.policy.jurisdictions.time_zone)

    def purpose(self, key: str) -> Purpose | None:
        return self.policy.purposes.get(key)

    def event(self, name: str) -> EventPlan | None:
        return self.policy.events.events.get(name)

    def property(self, event: str, name: str) -> PropertyPlan | None:
        """A property of an event; `context.…` is a field of the context of its message, `products.sku` one of the entries of a list."""
        if name.startswith(_CONTEXT):
            plan = self.policy.events.context.get(name.removeprefix(_CONTEXT))
            category = self.policy.events.category_of(event)
            return plan.model_copy(update={"category": plan.category or category}) if plan is not None else None
        return self.policy.property_of(event, name)

    def entry_field(self, event: str, of: str, name: str) -> PropertyPlan | None:
        """A field of the entries of a list of an event."""
        plan = self.event(event)
        stated = None if plan is None else plan.properties.get(of)
        return None if stated is None else stated.fields.get(name)

    def list_field(self, event: str, name: str) -> ListField | None:
        """The field of the entries of a list that a name such as `products.quantity` means; None if it means none."""
        plan = self.event(event)
        return None if plan is None else plan.list_field(name)

    def trait(self, name: str) -> PropertyPlan | None:
        return self.policy.events.traits.get(name)

    def computed(self, key: str) -> ComputedTrait | None:
        return self.policy.traits.get(key)

    def keep_for(self, event: str) -> timedelta:
        """How long events of this name are retained; older ones are not read."""
        return timedelta(days=self.policy.retention.classes[self.policy.events.class_of(event)].keep_for_days)

    def window_days(self, trait: ComputedTrait) -> int:
        """The number of whole UTC days, today included, that a computed trait covers."""
        kept = self.keep_for(trait.event).days
        return min(trait.within_days or kept, kept)

    def computed_plan(self, trait: ComputedTrait) -> PropertyPlan | None:
        """The plan of the property that a `last` trait copies; None for numbers and instants."""
        is_copy = trait.kind is TraitKind.LAST and trait.property is not None
        return self.property(trait.event, trait.property) if is_copy and trait.property is not None else None

    def kind_of(self, value: ast.Value, event: str | None = None) -> Kind | None:
        """The type of a value; None when the policy does not define it. `event` is the event whose filter is read."""
        match value:
            case ast.Trait(name):
                return kind_of_plan(self.trait(name))
            case ast.Property(name):
                return kind_of_plan(self.property(event, name)) if event is not None else None
            case ast.EntryField(of, name):
                return kind_of_plan(self.entry_field(event, of, name)) if event is not None else None
            case ast.Computed(name):
                trait = self.computed(name)
                return None if trait is None else _KINDS.get(self.policy.value_type(trait))
            case ast.First() | ast.Last():
                return Kind.INSTANT
            case (
                ast.Count() | ast.Sum() | ast.Average() | ast.Least() | ast.Greatest() | ast.DaysSinceLast() | ast.Net()
            ):
                return Kind.NUMBER
            case _:
                assert_never(value)

    def plan_of(self, value: ast.Value, event: str | None = None) -> PropertyPlan | None:
        """The plan that names the vocabulary of a string value; None for values that are not strings of the plan."""
        match value:
            case ast.Trait(name):
                return self.trait(name)
            case ast.Property(name) if event is not None:
                return self.property(event, name)
            case ast.EntryField(of, name) if event is not None:
                return self.entry_field(event, of, name)
            case ast.Computed(name) if (trait := self.computed(name)) is not None:
                return self.computed_plan(trait)
            case _:
                return None

    def start_of(self, day: date) -> datetime:
        """The first instant of a day in the policy's time zone, in UTC."""
        return datetime.combine(day, time(), self.zone).astimezone(UTC)

    def end_of(self, day: date) -> datetime:
        """The first instant after a day in the policy's time zone, in UTC."""
        return self.start_of(day + timedelta(days=1))


_CONTEXT = "context."

_KINDS = {
    PropertyType.NUMBER: Kind.NUMBER,
    PropertyType.BOOLEAN: Kind.BOOLEAN,
    PropertyType.INSTANT: Kind.INSTANT,
    PropertyType.STRING: Kind.TEXT,
}


def currency_vocabulary(catalogue: Catalogue, event: str, name: str) -> str | None:
    """The vocabulary with the currencies of an amount, a property or a field such as `products.price`; None for other numbers."""
    plan, field = catalogue.property(event, name), catalogue.list_field(event, name)
    if plan is None or plan.currency is None:
        return None
    named = None if field is None else catalogue.entry_field(event, field.list, plan.currency)
    named = named or catalogue.property(event, plan.currency)
    return None if named is None else named.vocabulary


def reachable(key: str, catalogue: Catalogue) -> frozenset[str]:
    """The keys of the segments that a segment refers to, directly or through others; its own if it is circular."""
    seen: set[str] = set()
    pending = [key]
    while pending:
        definition = catalogue.segments.get(pending.pop())
        if definition is None:
            continue
        for node in ast.walk(definition.condition):
            if isinstance(node, ast.InSegment) and node.key not in seen:
                seen.add(node.key)
                pending.append(node.key)
    return frozenset(seen)


def kind_of_plan(plan: PropertyPlan | None) -> Kind | None:
    """The type of a field that is kept in plain; None for any other."""
    return _KINDS.get(plan.type) if plan is not None and plan.keep is Keep.PLAIN else None


def kind_of_literal(literal: ast.Literal) -> Kind:
    """The type of value that a literal can be compared with."""
    match literal:
        case ast.Number():
            return Kind.NUMBER
        case ast.Flag():
            return Kind.BOOLEAN
        case ast.Day():
            return Kind.INSTANT
        case ast.Text():
            return Kind.TEXT
        case _:
            assert_never(literal)
