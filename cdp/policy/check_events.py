"""Cross checks of the tracking plan and of the computed traits that read it."""

from collections.abc import Iterable, Iterator, Mapping

from cdp.kit.wording import counted
from cdp.policy.events import DIGEST
from cdp.policy.findings import Finding, must_be_category, must_exist
from cdp.policy.model import (
    ComputedTrait,
    EventPlan,
    Keep,
    Policy,
    PropertyPlan,
    PropertyType,
    Purpose,
    Scalar,
    TakesBack,
    TraitKind,
    Vocabulary,
)
from cdp.policy.problems import Path

EVENTS, TRAITS = "events.yaml", "traits.yaml"
_TYPES = frozenset({"identify", "page", "screen", "group", "alias"})


def check_events(policy: Policy) -> Iterator[Finding]:
    """Undeclared names in the tracking plan, and fields without a data category."""
    plan = policy.events
    yield from must_exist(
        EVENTS, ("unknown_class",), plan.unknown_class, known=policy.retention.classes, kind="retention class"
    )
    yield from must_be_category(EVENTS, ("unknown_category",), plan.unknown_category, policy=policy)
    for name, properties in plan.property_sets.items():
        yield from _check_properties(("property_sets", name), properties, policy)
    for name, event in plan.events.items():
        yield from _check_event(name, event, policy)
    for section, properties in (("traits", plan.traits), ("context", plan.context)):
        yield from _check_properties((section,), properties, policy)
        for name, property_plan in properties.items():
            if property_plan.type is PropertyType.LIST:
                what = f"`{name}` is a list, which only a property of an event can be"
                yield Finding(EVENTS, (section, name, "type"), what, "use `type: any` and `keep: sealed`")
            if not property_plan.category:
                yield Finding(EVENTS, (section, name), f"`{name}` has no data category", "add `category`")


def _check_event(name: str, event: EventPlan, policy: Policy) -> Iterator[Finding]:
    at = ("events", name)
    classes, sets = policy.retention.classes, policy.events.property_sets
    yield from must_exist(
        EVENTS, (*at, "retention_class"), event.retention_class, known=classes, kind="retention class"
    )
    yield from must_be_category(EVENTS, (*at, "category"), event.category, policy=policy)
    for index, set_name in enumerate(event.includes):
        yield from must_exist(EVENTS, (*at, "includes", index), set_name, known=sets, kind="property set")
    yield from _check_refusals((*at, "refuses"), event, policy)
    if event.takes_back is not None:
        yield from _check_takes_back((*at, "takes_back"), event, event.takes_back, policy=policy)
    yield from _check_properties((*at, "properties"), _own(event.properties, event.includes, policy), policy)
    for list_name, plan in event.properties.items():
        for field in plan.fields:
            dotted = f"{list_name}.{field}"
            if dotted in event.properties:
                what = f"`{dotted}` is a property and a field of the entries of `{list_name}`"
                yield Finding(EVENTS, (*at, "properties", dotted), what, "rename one of them")


def _check_refusals(path: Path, event: EventPlan, policy: Policy) -> Iterator[Finding]:
    """Whether a track call can carry the event, and whether an act can refuse the purposes."""
    if event.refuses and event.key in _TYPES:
        what = f"`{event.key}` is a type of call, which states no refusal"
        yield Finding(EVENTS, path, what, "declare it for an event of a track call")
    for index, key in enumerate(event.refuses):
        yield from must_exist(EVENTS, (*path, index), key, known=policy.purposes, kind="purpose")
        purpose = policy.purposes.get(key)
        if purpose is not None and purpose.needs_unique_identifier:
            what = f"purpose `{key}` is based on {purpose.legal_basis.value}, which no act can refuse"
            yield Finding(EVENTS, (*path, index), what, "name a purpose based on consent or legitimate interests")


def _own(properties: Mapping[str, PropertyPlan], includes: Iterable[str], policy: Policy) -> Mapping[str, PropertyPlan]:
    """The properties that do not come from the included sets, whose faults are found there."""
    sets = policy.events.property_sets
    included = {key: plan for name in includes for key, plan in sets.get(name, {}).items()}
    return {key: plan for key, plan in properties.items() if not _is_same(plan, included.get(key))}


def _check_takes_back(path: Path, event: EventPlan, stated: TakesBack, *, policy: Policy) -> Iterator[Finding]:
    """Whether both events have the property by which they belong together, and the refund is kept as long as the order."""
    yield from must_exist(EVENTS, (*path, "event"), stated.event, known=policy.events.events, kind="event")
    other = policy.events.events.get(stated.event)
    if other is None:
        return
    if other.key == event.key or other.takes_back is not None:
        what = (
            f"`{other.key}` itself takes back amounts" if other.key != event.key else "an event cannot take back itself"
        )
        yield Finding(EVENTS, (*path, "event"), what, "name the event with the amounts, such as Order Completed")
    for plan in (event, other):
        yield from must_exist(
            EVENTS, (*path, "by"), stated.by, known=plan.properties, kind=f"property of `{plan.key}` named"
        )
        named = plan.properties.get(stated.by)
        if named is not None and (named.type is not PropertyType.STRING or named.keep is not Keep.SEALED):
            what = f"`{stated.by}` of `{plan.key}` is a {named.type.value} that is kept {named.keep.value}"
            yield Finding(EVENTS, (*path, "by"), what, "use a string with `keep: sealed`")
    classes = policy.retention.classes
    kept, needed = classes.get(event.retention_class), classes.get(other.retention_class)
    if kept is not None and needed is not None and kept.keep_for_days < needed.keep_for_days:
        what = f"events of class `{kept.key}` expire before those of `{needed.key}`, and what they took back would count again"
        yield Finding(
            EVENTS,
            path,
            what,
            f"put `{event.key}` into a class that is kept for {counted(needed.keep_for_days, 'day')}",
        )


def _is_same(plan: PropertyPlan, included: PropertyPlan | None) -> bool:
    """Whether a property comes from an included set, with or without what is filled in when a policy is loaded."""
    if included is None:
        return False
    return plan.model_copy(update={"category": included.category, "fields": included.fields}) == included


def _check_properties(at: Path, properties: Mapping[str, PropertyPlan], policy: Policy) -> Iterator[Finding]:
    for name, plan in properties.items():
        if name.startswith(DIGEST):
            what = f"the name `{name}` begins with `{DIGEST}`, as digests of properties do"
            yield Finding(EVENTS, (*at, name), what, "choose another name", of_key=True)
        if plan.category:
            yield from must_be_category(EVENTS, (*at, name, "category"), plan.category, policy=policy)
        if plan.vocabulary is not None:
            path = (*at, name, "vocabulary")
            yield from must_exist(EVENTS, path, plan.vocabulary, known=policy.events.vocabularies, kind="vocabulary")
        if plan.type is PropertyType.LIST:
            yield from _check_list((*at, name), plan, policy)


def _check_list(at: Path, plan: PropertyPlan, policy: Policy) -> Iterator[Finding]:
    """Whether the sets that a list includes exist, and what its entries have."""
    sets = policy.events.property_sets
    for index, name in enumerate(plan.includes):
        path = (*at, "includes", index)
        yield from must_exist(EVENTS, path, name, known=sets, kind="property set")
        for inner in (key for key, included in sets.get(name, {}).items() if included.type is PropertyType.LIST):
            what = f"the set `{name}` has the list `{inner}`, and entries of a list cannot have lists"
            yield Finding(EVENTS, path, what, "include a set without lists, or name the fields under `fields`")
    yield from _check_properties((*at, "fields"), _own(plan.fields, plan.includes, policy), policy)


def check_traits(policy: Policy) -> Iterator[Finding]:
    """Computed traits that can never have a value, or that would use data their purpose does not allow."""
    for key, trait in policy.traits.items():
        at = ("traits", key)
        yield from must_exist(TRAITS, (*at, "purpose"), trait.purpose, known=policy.purposes, kind="purpose")
        yield from must_exist(TRAITS, (*at, "event"), trait.event, known=policy.events.events, kind="event")
        yield from must_be_category(TRAITS, (*at, "category"), trait.category, policy=policy)
        purpose, event = policy.purposes.get(trait.purpose), policy.events.events.get(trait.event)
        if event is not None:
            yield from _check_source(at, trait, event, policy=policy)
            if purpose is not None:
                yield from _check_purpose(at, trait, event, purpose=purpose)


def _check_purpose(at: Path, trait: ComputedTrait, event: EventPlan, *, purpose: Purpose) -> Iterator[Finding]:
    """Whether the purpose may use everything that the trait reads and yields."""
    if not purpose.covers(event.key):
        what = f"purpose `{purpose.key}` does not cover the event `{event.key}`"
        yield Finding(TRAITS, (*at, "event"), what, "list the event in purposes.yaml, or choose another purpose")
    names = {*trait.where, trait.property or ""}
    read = {name: plan for name in sorted(names) if (plan := event.plan_of(name)) is not None}
    for path, category in (
        ((*at, "category"), trait.category),
        ((*at, "event"), event.category),
        *(((*at, "property" if name == trait.property else "where"), plan.category) for name, plan in read.items()),
    ):
        if not purpose.allows(category):
            what = f"purpose `{purpose.key}` does not allow data of category {category}"
            yield Finding(TRAITS, path, what, "allowed: " + ", ".join(purpose.categories))


def _check_source(at: Path, trait: ComputedTrait, event: EventPlan, *, policy: Policy) -> Iterator[Finding]:
    """Whether the event has the properties that the trait reads, stored in plain and of a suitable type."""
    if trait.property is not None:
        path = (*at, "property")
        yield from _check_plain(path, trait.property, event)
        plan = event.plan_of(trait.property)
        if event.list_field(trait.property) is not None and trait.kind is not TraitKind.SUM:
            what = f"`{trait.property}` is a field of the entries of a list, of which an event can have many"
            yield Finding(TRAITS, path, what, "use kind sum, or a property of the event itself")
        elif (
            plan is not None
            and trait.kind is TraitKind.SUM
            and plan.type not in (PropertyType.LIST, PropertyType.NUMBER)
        ):
            yield Finding(
                TRAITS,
                path,
                f"`{trait.property}` is a {plan.type.value}; a sum needs a number",
                "use a property of type number",
            )
    for name, values in trait.where.items():
        path = (*at, "where", name)
        yield from _check_plain(path, name, event)
        plan = event.plan_of(name)
        if plan is not None and plan.type is not PropertyType.LIST:
            vocabulary = policy.events.vocabularies.get(plan.vocabulary or "")
            for index, value in enumerate(values):
                yield from _check_value((*path, index), value, plan, vocabulary=vocabulary)
    retained = policy.retention.classes.get(event.retention_class)
    if retained is not None and trait.within_days is not None and trait.within_days > retained.keep_for_days:
        what = f"the window is longer than events of class `{retained.key}` are kept ({counted(retained.keep_for_days, 'day')})"
        yield Finding(TRAITS, (*at, "within_days"), what, f"at most {retained.keep_for_days}")


def _check_plain(path: Path, name: str, event: EventPlan) -> Iterator[Finding]:
    plan = event.plan_of(name)
    if plan is None:
        known = {*event.properties, *(f"{key}.{field}" for key, of in event.properties.items() for field in of.fields)}
        yield from must_exist(TRAITS, path, name, known=known, kind=f"property of `{event.key}` named")
    elif plan.type is PropertyType.LIST:
        plain = [f"{name}.{field}" for field, of in plan.fields.items() if of.keep is Keep.PLAIN]
        what = f"`{name}` of `{event.key}` is a list, and nothing can be computed from it as a whole"
        yield Finding(TRAITS, path, what, f"use a field of its entries: {', '.join(plain) or 'none is kept plain'}")
    elif plan.keep is not Keep.PLAIN:
        what = f"`{name}` of `{event.key}` is kept {plan.keep.value}, so nothing can be computed from it"
        yield Finding(TRAITS, path, what, "keep it plain in events.yaml, or use another property")


def _check_value(path: Path, value: Scalar, plan: PropertyPlan, *, vocabulary: Vocabulary | None) -> Iterator[Finding]:
    fits = {
        PropertyType.BOOLEAN: isinstance(value, bool),
        PropertyType.NUMBER: isinstance(value, (int, float)) and not isinstance(value, bool),
        PropertyType.STRING: isinstance(value, str),
    }
    if not fits.get(plan.type, False):
        yield Finding(TRAITS, path, f"`{plan.key}` is a {plan.type.value}", "use values of that type")
    elif isinstance(value, str) and vocabulary is not None and not vocabulary.accepts(value):
        what = f"`{value}` is not a term of the vocabulary `{vocabulary.key}`, so it is never stored in plain"
        yield Finding(TRAITS, path, what, "correct it, or extend the vocabulary")
