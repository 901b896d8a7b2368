"""The category of each value that an export may show, by the tracking plan; what is withheld is only named. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from cdp.policy.events import PropertyPlan, TrackingPlan
from cdp.policy.traits import ComputedTrait
from cdp.rights.withhold import is_withheld, withhold

_CONTEXT: Final = "context."


def trait_category(plan: TrackingPlan, name: str) -> str:
    """The category of a stated trait; that of unknown data if the plan does not name it."""
    rule = plan.traits.get(name)
    return plan.unknown_category if rule is None else rule.category


def property_category(plan: TrackingPlan, event: str, name: str) -> str:
    """The category of a property of an event; a name that begins with `context.` is a field of the context."""
    path = name.removeprefix(_CONTEXT)
    if path != name and (rule := _context_rule(plan, path)) is not None:
        return rule.category or plan.category_of(event)
    known = plan.events.get(event)
    if known is not None and name in known.properties:
        return known.properties[name].category
    return plan.category_of(event)


def disclosed_properties(plan: TrackingPlan, event: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The properties of an event as an export may show them, in lists field by field."""
    disclosed = withhold(values, lambda name: property_category(plan, event, name))
    for name, value in values.items():
        if disclosed[name] is value and isinstance(value, list) and (fields := _fields(plan, event, name)):
            disclosed[name] = [_disclosed_entry(plan, event, entry, fields=fields) for entry in value]
    return disclosed


def _fields(plan: TrackingPlan, event: str, name: str) -> Mapping[str, PropertyPlan]:
    """The fields of the entries of a list; none for anything else."""
    known = plan.events.get(event)
    stated = known.properties.get(name) if known is not None else None
    return {} if stated is None else stated.fields


def _disclosed_entry(plan: TrackingPlan, event: str, entry: Any, *, fields: Mapping[str, PropertyPlan]) -> Any:
    if not isinstance(entry, dict):
        return entry
    unknown = plan.category_of(event)
    return withhold(entry, lambda name: fields[name].category if name in fields else unknown)


def disclosed_message(plan: TrackingPlan, event: str, message: Mapping[str, Any]) -> dict[str, Any]:
    """A message, or the sealed part of one, with its properties, traits and context as an export may show them."""
    disclosed = dict(message)
    if isinstance(properties := message.get("properties"), dict):
        disclosed["properties"] = disclosed_properties(plan, event, properties)
    if isinstance(traits := message.get("traits"), dict):
        disclosed["traits"] = withhold(traits, lambda name: trait_category(plan, name))
    if isinstance(context := message.get("context"), dict):
        disclosed["context"] = _disclosed_context(plan, event, context, path="")
        if isinstance(traits := context.get("traits"), dict):
            disclosed["context"]["traits"] = withhold(traits, lambda name: trait_category(plan, name))
    return disclosed


def disclosed_day(trait: ComputedTrait | None, read: PropertyPlan | None, day: Mapping[str, Any]) -> dict[str, Any]:
    """A day of a computed trait; `read` is the property whose sum, or last value, it holds."""
    categories = [rule.category for rule in (trait, read) if rule is not None]
    withheld = next((category for category in categories if is_withheld(category)), None)
    if withheld is None:
        return dict(day)
    values = {name: day[name] for name in ("total", "last") if name in day}
    return dict(day) | withhold(values, lambda _: withheld)


def _disclosed_context(plan: TrackingPlan, event: str, values: Mapping[str, Any], *, path: str) -> dict[str, Any]:
    disclosed: dict[str, Any] = {}
    for name, value in values.items():
        place = f"{path}{name}"
        rule = _context_rule(plan, place)
        category = (rule.category if rule is not None else "") or plan.category_of(event)
        if isinstance(value, dict) and value:
            disclosed[name] = _disclosed_context(plan, event, value, path=f"{place}.")
        else:
            disclosed |= withhold({name: value}, {name: category}.__getitem__)
    return disclosed


def _context_rule(plan: TrackingPlan, path: str) -> PropertyPlan | None:
    """The rule of a field of the context, or the nearest one of the fields that contain it."""
    while path:
        if path in plan.context:
            return plan.context[path]
        path = path.rpartition(".")[0]
    return None
