"""The compiled tracking plan: one rule per property, looked up by name."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cdp.behavior.model import Mistyped, Plain, Term
from cdp.behavior.money import NO_MONEY, MoneyFields, money_fields
from cdp.behavior.nearest import NearestEvents
from cdp.kit.clock import parse_instant
from cdp.policy.model import (
    ComputedTrait,
    EventPlan,
    Keep,
    PropertyPlan,
    PropertyType,
    TrackingPlan,
    Unknown,
    Vocabulary,
)
from cdp.policy.patterns import compiled
from cdp.policy.traits import NEEDS_PROPERTY

_CACHED_TERMS_MAX: Final = 10_000
_NUMBER_MAX: Final = 2**53
_NUMBER_MIN: Final = 2.0**-53
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


Convert = Callable[[Any], Plain | None]
"""Returns the form in which a value is stored in plain, None if it is not of the planned type and must be sealed."""


@dataclass(frozen=True, slots=True)
class PropertyRule:
    """How one property is stored: converted to plain, sealed when there is no `convert`, or dropped.

    `fields` are the rules of the entries of a list. `mistyped` is what is counted where `convert` refuses a value, and
    for a list where the value is not a list of objects.
    """

    convert: Convert | None = None
    is_dropped: bool = False
    without_query: bool = False
    vocabulary: str = ""
    mistyped: tuple[Mistyped, ...] = ()
    fields: Mapping[str, "PropertyRule"] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EventRules:
    """The rules of one kind of event; `name` is None for events that the plan does not contain.

    `required` are its properties that a computed trait adds up; `fields` gives the list and the field of those names
    that mean a field of the entries of a list. `money` are the amounts, with their currencies,
    `references` the properties of which a keyed digest is kept, and `takes_back` the amounts that an event may state which
    takes some back.
    """

    name: str | None
    retention_class: str
    category: str
    properties: Mapping[str, PropertyRule]
    required: tuple[Mistyped, ...] = ()
    fields: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    money: MoneyFields = NO_MONEY
    references: tuple[str, ...] = ()
    takes_back: tuple[str, ...] = ()


ContextRules = dict[str, "PropertyRule | ContextRules"]
"""Rules by the parts of the dotted path; under '' the rule of a whole part. Traits in the context are excluded."""


@dataclass(frozen=True, slots=True)
class PlanRules:
    """The whole plan, ready for `classify`."""

    events: Mapping[str, EventRules]
    unknown_event: EventRules
    traits: Mapping[str, PropertyRule]
    context: ContextRules
    drops_events: bool
    seals_properties: bool
    seals_traits: bool
    seals_context: bool
    vocabularies: Mapping[str, Vocabulary]
    nearest: NearestEvents


def compile_plan(plan: TrackingPlan, traits: Iterable[ComputedTrait] = ()) -> PlanRules:
    """Compile a resolved tracking plan; done once per policy. `traits` are those that are computed from its events."""
    vocabularies = plan.vocabularies
    added_up: dict[str, set[str]] = {}
    for trait in traits:
        if trait.kind in NEEDS_PROPERTY and trait.property is not None:
            added_up.setdefault(trait.event, set()).add(trait.property)
    events = {name: _event_rules(event, added_up.get(name, ()), plan) for name, event in plan.events.items()}
    return PlanRules(
        events=events,
        unknown_event=EventRules(None, plan.unknown_class, plan.unknown_category, {}),
        traits={
            name: _rule(f"traits.{name}", property_plan, vocabularies) for name, property_plan in plan.traits.items()
        },
        context=_context_rules(plan.context, vocabularies),
        drops_events=plan.unknown_events is Unknown.DROP,
        seals_properties=plan.unknown_properties is Unknown.SEAL,
        seals_traits=plan.unknown_traits is Unknown.SEAL,
        seals_context=plan.unknown_context is Unknown.SEAL,
        vocabularies=vocabularies,
        nearest=NearestEvents(events),
    )


def _event_rules(event: EventPlan, added_up: Collection[str], plan: TrackingPlan) -> EventRules:
    plans = {name: stated for name in sorted(added_up) if (stated := event.plan_of(name)) is not None}
    return EventRules(
        event.key,
        event.retention_class,
        event.category,
        {key: _rule(key, property_plan, plan.vocabularies) for key, property_plan in event.properties.items()},
        tuple(Mistyped(name, stated.type.value) for name, stated in plans.items()),
        fields_of_lists(event, plans),
        money_fields(event),
        tuple(sorted(plan.references_of(event.key))),
        event.amounts if event.takes_back is not None else (),
    )


def fields_of_lists(event: EventPlan, names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """The list and the field of those names that mean a field of the entries of a list."""
    found = {name: event.list_field(name) for name in names}
    return {name: (field.list, field.field) for name, field in found.items() if field is not None}


def number(value: Any) -> int | float | None:
    """The value if it is a number that jsonb and a double hold without loss or overflow; booleans are not numbers."""
    kind = type(value)
    if kind is int:
        return value if -_NUMBER_MAX < value < _NUMBER_MAX else None
    if kind is float:
        size = abs(value)
        return value if _NUMBER_MIN < size < _NUMBER_MAX or size == 0.0 else None
    return None


def instant(value: Any) -> int | None:
    """Microseconds since 1970 if the value is an ISO 8601 text, else None."""
    if type(value) is not str or len(value) > 40:
        return None
    try:
        micros = (parse_instant(value) - _EPOCH) // _MICROSECOND
    except (ValueError, OverflowError):
        return None
    return micros if abs(micros) < _NUMBER_MAX else None


def instant_of(micros: float) -> datetime:
    """The instant of a plain value, in microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=int(micros))


def boolean(value: Any) -> bool | None:
    """The value if it is a boolean."""
    return value if value is True or value is False else None


def cut_query(value: Any) -> Any:
    """A URL before its `?` and `#`; values other than strings are returned unchanged."""
    if isinstance(value, str) and ("?" in value or "#" in value):
        return value.partition("?")[0].partition("#")[0]
    return value


_CONVERT: Final[Mapping[PropertyType, Convert]] = {
    PropertyType.NUMBER: number,
    PropertyType.BOOLEAN: boolean,
    PropertyType.INSTANT: instant,
}


def _rule(name: str, plan: PropertyPlan, vocabularies: Mapping[str, Vocabulary]) -> PropertyRule:
    """The rule of a property, trait (`traits.…`) or field of the context (`context.…`) of this name."""
    if plan.keep is Keep.DROP:
        return PropertyRule(is_dropped=True)
    if plan.keep is Keep.SEALED:
        return PropertyRule(without_query=plan.without_query)
    if plan.type is PropertyType.LIST:
        fields = {key: _rule(f"{name}.{key}", field, vocabularies) for key, field in plan.fields.items()}
        return PropertyRule(mistyped=(Mistyped(name, LIST_TYPE),), fields=fields)
    if plan.vocabulary is None:
        return PropertyRule(_CONVERT[plan.type], mistyped=(Mistyped(name, plan.type.value),))
    return PropertyRule(
        _term_of(vocabularies[plan.vocabulary]),
        vocabulary=plan.vocabulary,
        mistyped=(Mistyped(name, term_type(plan.vocabulary)),),
    )


LIST_TYPE: Final = "list of objects"
"""What is expected of a value that is a list."""


def term_type(vocabulary: str) -> str:
    """What is expected of a value that is a term."""
    return f"vocabulary {vocabulary}"


def _term_of(vocabulary: Vocabulary) -> Convert:
    """The decision of `Vocabulary.accepts`, prepared so that each value costs little."""
    key = vocabulary.key
    if vocabulary.pattern is None or vocabulary.max_length is None:
        terms = {value: Term(key, value) for value in vocabulary.values}
        return lambda value: terms.get(value) if type(value) is str else None
    match, longest = compiled(vocabulary.pattern).fullmatch, vocabulary.max_length
    cached: dict[str, Term] = {}

    def term_of(value: Any) -> Term | None:
        """Caches accepted terms only: any other value may be personal data."""
        if type(value) is not str or len(value) > longest:
            return None
        term = cached.get(value)
        if term is None and match(value):
            if len(cached) >= _CACHED_TERMS_MAX:
                cached.clear()
            term = cached[value] = Term(key, value)
        return term

    return term_of


def _context_rules(plans: Mapping[str, PropertyPlan], vocabularies: Mapping[str, Vocabulary]) -> ContextRules:
    """A tree of the dotted paths; where a path and one below it are both planned, the longer one takes precedence for its part."""
    tree: dict[str, Any] = {"traits": PropertyRule(is_dropped=True)}
    for path in sorted(plans, key=lambda path: path.count("."), reverse=True):
        *parents, last = path.split(".")
        if (parents or [last])[0] == "traits":
            continue
        node = tree
        for part in parents:
            node = node.setdefault(part, {})
        if last in node:
            node[last][""] = _rule(f"context.{path}", plans[path], vocabularies)
        else:
            node[last] = _rule(f"context.{path}", plans[path], vocabularies)
    return tree


def vocabularies_of(rules: PlanRules) -> dict[str, dict[str, str]]:
    """The vocabulary of each property and context field that holds terms, by event name; '' is for unknown events.

    A field of the entries of a list is named with it, as `products.sku`.
    """
    context = dict(_context_vocabularies(rules.context, "context."))
    found = {name: context | dict(_vocabularies_in(event.properties, "")) for name, event in rules.events.items()}
    return found | {"": context}


def _vocabularies_in(rules: Mapping[str, PropertyRule], prefix: str) -> Iterator[tuple[str, str]]:
    for key, rule in rules.items():
        if rule.vocabulary:
            yield prefix + key, rule.vocabulary
        yield from _vocabularies_in(rule.fields, f"{prefix}{key}.")


def _context_vocabularies(rules: ContextRules, path: str) -> Iterator[tuple[str, str]]:
    for name, rule in rules.items():
        if isinstance(rule, dict):
            yield from _context_vocabularies(rule, f"{path}{name}.")
        elif rule.vocabulary:
            yield (path + name).rstrip("."), rule.vocabulary
