"""Checks of fields: what a condition reads must exist, be kept in plain, and have a category that the purpose allows."""

from collections.abc import Iterator

from cdp.policy.model import EventPlan, Keep, PropertyPlan, Purpose
from cdp.query.language import ast
from cdp.query.language.catalogue import Catalogue, Kind
from cdp.query.language.rejection import Rejection
from cdp.query.language.suggestion import suggestion


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

    def property(
        self, node: ast.Node, event: EventPlan, name: str, *, required: Kind | None = None
    ) -> Iterator[Rejection]:
        """A property of an event; with `required`, it must be of that type."""
        plain = [key for key, plan in event.properties.items() if plan.keep is Keep.PLAIN]
        plan = self.catalogue.property(event.key, name)
        what = f'the property {name} of "{event.key}"'
        rejections = tuple(self._stated(node, plan, what, hint=suggestion(name, plain)))
        yield from rejections
        kind = self.catalogue.kind_of(ast.Property(name), event.key)
        if not rejections and required is not None and kind is not required:
            hint = "only numbers can be added, averaged or ranked"
            yield Rejection(node.at, f"{name} is {kind}, not {required}", hint)

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
