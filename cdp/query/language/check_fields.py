"""Checks of fields: what a condition reads must exist, be kept in plain, and have a category that the purpose allows."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from cdp.policy.model import EventPlan, Keep, PropertyPlan, PropertyType, Purpose
from cdp.query.language import ast
from cdp.query.language.catalogue import Catalogue, Kind, currency_vocabulary
from cdp.query.language.printer import write
from cdp.query.language.rejection import Rejection
from cdp.query.language.suggestion import suggestion

_DECLARE_LIST: Final = "segments can read the fields of a list that policies/events.yaml declares as `type: list`"


class FieldChecks:
    """The checks of traits, properties and categories for one purpose."""

    def __init__(self, catalogue: Catalogue, purpose: Purpose) -> None:
        self.catalogue = catalogue
        self.purpose = purpose

    def trait(self, node: ast.Trait) -> Iterator[Rejection]:
        plans = self.catalogue.policy.events.traits
        plain = [name for name, plan in plans.items() if plan.keep is Keep.PLAIN]
        hint = suggestion(node.name, plain, "trait.")
        yield from self._stated(node, plans.get(node.name), f"the trait {node.name}", hint=hint)

    def computed(self, node: ast.Computed) -> Iterator[Rejection]:
        name, purpose = node.name, self.purpose.key
        trait = self.catalogue.computed(name)
        usable = [key for key, other in self.catalogue.policy.traits.items() if other.purpose == purpose]
        if trait is None:
            hint = suggestion(name, usable, "computed.")
            yield Rejection(node.at, f"the computed trait {name} is not defined in policies/traits.yaml", hint)
        elif trait.purpose != purpose:
            message = f"the computed trait {name} belongs to the purpose {trait.purpose}, not {purpose}"
            yield Rejection(node.at, message, f"for {purpose}, {suggestion(name, usable, 'computed.')}")
        else:
            yield from self.category(node, trait.category, f"the computed trait {name}")

    def of_filter(self, test: ast.Test, event: EventPlan) -> Iterator[Rejection]:
        """What a test in the filter of an event, or of the entries of one of its lists, reads."""
        value = test.value
        if isinstance(value, ast.EntryField):
            yield from self.entry_field(value, event)
            return
        assert isinstance(value, ast.Property)
        if (found := event.list_field(value.name)) is not None:
            meant = ast.AnyEntry(found.list, replace(test, value=ast.EntryField(found.list, found.field)))
            message = f'{found.list} of "{event.key}" is a list, and each of its entries has a {found.field} of its own'
            yield Rejection(value.at, message, f"write {write(meant)}")
        else:
            yield from self._property(value, event, value.name)

    def amount(self, node: ast.OfProperty, event: EventPlan) -> Iterator[Rejection]:
        """A property of an event, or a field of the entries of a list, that is added up, averaged or ranked."""
        name = node.property
        rejections = tuple(self._property(node, event, name))
        yield from rejections
        kind = self.catalogue.kind_of(ast.Property(name), event.key)
        if not rejections and kind is not Kind.NUMBER:
            hint = "only numbers can be added, averaged or ranked"
            yield Rejection(node.at, f"{name} is {kind}, not {Kind.NUMBER}", hint)
        elif not rejections and node.currency is not None:
            yield from self._currency(node, event, node.currency)

    def _currency(self, node: ast.OfProperty, event: EventPlan, code: str) -> Iterator[Rejection]:
        """The currency to which an aggregate is limited."""
        key = currency_vocabulary(self.catalogue, event.key, node.property)
        vocabulary = self.catalogue.policy.events.vocabularies.get(key or "")
        if vocabulary is None:
            hint = "amounts of money are the properties with `currency` in policies/events.yaml"
            yield Rejection(node.at, f'{node.property} of "{event.key}" is not an amount of money', hint)
        elif not vocabulary.accepts(code):
            hint = suggestion(code, vocabulary.values) if vocabulary.values else f"it must match {vocabulary.pattern}"
            yield Rejection(node.at, f'the vocabulary {vocabulary.key} does not contain "{code}"', hint)

    def list_of(self, node: ast.AnyEntry, event: EventPlan, name: str) -> Iterator[Rejection]:
        """The list whose entries a filter asks for."""
        lists = [key for key, plan in event.properties.items() if plan.type is PropertyType.LIST]
        plan = event.properties.get(name)
        what = f'the property {name} of "{event.key}"'
        if plan is None:
            yield Rejection(node.at, f"{what} is not in the tracking plan", suggestion(name, lists, "any "))
        elif plan.type is PropertyType.ANY:
            yield Rejection(node.at, f"{what} is sealed and cannot be used in a segment", _DECLARE_LIST)
        elif plan.type is not PropertyType.LIST:
            named = f"; its lists are {', '.join(lists)}" if lists else ""
            hint = f"write the test without `any {name} where`{named}"
            yield Rejection(node.at, f"{what} is not a list", hint)

    def entry_field(self, node: ast.EntryField, event: EventPlan) -> Iterator[Rejection]:
        """A field of the entries of a list that exists."""
        fields = event.properties[node.of].fields
        what = f'the field {node.name} of {node.of} of "{event.key}"'
        plain = [key for key, plan in fields.items() if plan.keep is Keep.PLAIN]
        yield from self._stated(node, fields.get(node.name), what, hint=suggestion(node.name, plain))

    def _property(self, node: ast.Node, event: EventPlan, name: str) -> Iterator[Rejection]:
        """A property of an event, or a field of the entries of a list, by its name."""
        plan = self.catalogue.property(event.key, name)
        what = f'the property {name} of "{event.key}"'
        if plan is not None and plan.type is PropertyType.LIST:
            plain = [key for key, field in plan.fields.items() if field.keep is Keep.PLAIN]
            yield Rejection(node.at, f"{what} is a list", _ask_for(name, plain))
            return
        of, _, _ = name.partition(".")
        whole = event.properties.get(of)
        if plan is None and whole is not None and whole.type is PropertyType.ANY:
            yield Rejection(node.at, f'{of} of "{event.key}" is sealed as a whole', _DECLARE_LIST)
            return
        plain = [key for key, field in event.properties.items() if field.keep is Keep.PLAIN]
        if whole is not None and whole.type is PropertyType.LIST:
            plain = [f"{of}.{key}" for key, field in whole.fields.items() if field.keep is Keep.PLAIN]
        yield from self._stated(node, plan, what, hint=suggestion(name, plain))

    def category(self, node: ast.Node, category: str, what: str) -> Iterator[Rejection]:
        """The purpose must allow the data category of a field or event; `what` names it in the message."""
        if not self.purpose.allows(category):
            allowed = ", ".join(self.purpose.categories)
            yield Rejection(
                node.at,
                f"{what} has the category {category}, which the purpose {self.purpose.key} does not allow",
                f"rule: purposes.{self.purpose.key}.categories in policies/purposes.yaml allows {allowed}",
            )

    def _stated(self, node: ast.Node, plan: PropertyPlan | None, what: str, *, hint: str) -> Iterator[Rejection]:
        """A field of the tracking plan; `hint` is for one that does not exist."""
        if plan is None:
            yield Rejection(node.at, f"{what} is not in the tracking plan", hint)
        elif plan.keep is not Keep.PLAIN:
            kept = "sealed" if plan.keep is Keep.SEALED else "not stored"
            yield Rejection(
                node.at,
                f"{what} is {kept} and cannot be used in a segment",
                "segments can only read fields that policies/events.yaml declares as `keep: plain`",
            )
        else:
            yield from self.category(node, plan.category, what)


def _ask_for(name: str, fields: Sequence[str]) -> str:
    example = fields[0] if fields else "…"
    return f"ask for one of its entries: any {name} where {example} …; or add up a field: {name}.{example}"
