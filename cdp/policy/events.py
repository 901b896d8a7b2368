"""The tracking plan: which events exist, and for each property whether it is kept plain, sealed or dropped."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, ClassVar, NamedTuple, Self

from pydantic import Field, model_validator

from cdp.policy.frozen import CategoryKey, Frozen, Key, KeyedEntry, Name, Text
from cdp.policy.vocabularies import Vocabulary

DIGEST = "#"
"""Begins the name under which the keyed digest of a property is kept in plain; no property is called like that."""

IN_FULL = f"{DIGEST}in_full"
"""The name under which an event has `true` in plain that takes back amounts and states none."""


class PropertyType(StrEnum):
    """The type of a value; `any` (objects, mixed values) is never plain, of a `list` the fields of its entries can be."""

    NUMBER = "number"
    BOOLEAN = "boolean"
    INSTANT = "instant"
    STRING = "string"
    LIST = "list"
    ANY = "any"


class Keep(StrEnum):
    """How a value is stored."""

    PLAIN = "plain"
    SEALED = "sealed"
    DROP = "drop"


class Unknown(StrEnum):
    """How anything that the plan does not name is stored."""

    SEAL = "seal"
    DROP = "drop"


class PropertyPlan(KeyedEntry):
    """How one property, trait or context field is stored."""

    key: Name
    """The name of the entry: the property as spelled in the message."""
    type: PropertyType
    """A plain value of another type is sealed instead, and counted."""
    keep: Keep
    """`plain` can be used by segments and computed traits, `sealed` is only opened for the person, `drop` is not stored."""
    vocabulary: Key | None = None
    """The vocabulary a plain string must belong to."""
    category: CategoryKey = ""
    """Data category; absent: that of the event."""
    currency: Name | None = None
    """Makes a number an amount of money: the property of the same event that names its currency (ISO 4217)."""
    without_query: bool = False
    """Cut a URL before its `?` and `#`, which may contain names and e-mail addresses."""
    includes: tuple[Key, ...] = ()
    """Of a list: sets of properties that are fields of its entries."""
    fields: Mapping[Name, "PropertyPlan"] = Field(default_factory=dict)
    """Of a list: the fields of its entries; in a loaded policy with those of `includes`, and each with its category."""
    text: Text = ""
    """What it means, for people."""

    @model_validator(mode="after")
    def _is_coherent(self) -> Self:
        self._check_list()
        if self.keep is Keep.PLAIN and self.type is PropertyType.ANY:
            raise ValueError(
                "type `any` cannot be kept plain: use `keep: sealed`, or one of number, boolean, instant, string, list"
            )
        plain_string = self.keep is Keep.PLAIN and self.type is PropertyType.STRING
        if plain_string and self.vocabulary is None:
            raise ValueError("a plain string needs a `vocabulary`; without one use `keep: sealed`")
        if self.vocabulary is not None and not plain_string:
            raise ValueError("`vocabulary` is allowed only for a string that is kept plain")
        if self.currency is not None and (self.type is not PropertyType.NUMBER or self.keep is not Keep.PLAIN):
            raise ValueError("`currency` makes an amount of money of a number: set `type: number` and `keep: plain`")
        if self.without_query and (self.type is not PropertyType.STRING or self.keep is not Keep.SEALED):
            raise ValueError("`without_query` cuts a URL: set `type: string` and `keep: sealed`")
        return self

    def _check_list(self) -> None:
        has_fields = bool(self.includes or self.fields)
        if self.type is not PropertyType.LIST:
            if has_fields:
                raise ValueError("`includes` and `fields` describe the entries of a list: set `type: list`")
            return
        if self.keep is not Keep.PLAIN:
            raise ValueError("type `list` states what of its entries is kept: set `keep: plain`, or `type: any`")
        if not has_fields:
            raise ValueError("a list needs `includes` or `fields`: what each of its entries has")
        if nested := next((name for name, plan in self.fields.items() if plan.type is PropertyType.LIST), None):
            raise ValueError(f"`{nested}`: entries of a list cannot have lists; use `type: any` and `keep: sealed`")


class ListField(NamedTuple):
    """A field of the entries of a list, which other files write as `list.field`."""

    list: str
    field: str
    plan: PropertyPlan


class TakesBack(Frozen):
    """How an event takes back amounts of an earlier one, such as a refund or a cancellation those of an order."""

    event: Name
    """The event of which amounts are taken back."""
    by: Name
    """The property in which both have the same value, such as `order_id`: a string, of which a keyed digest is kept."""
    in_full: bool = False
    """Takes back whole amounts, as a cancellation does; otherwise what it states, and whole amounts if it states none."""


class EventPlan(KeyedEntry):
    """One event."""

    key: Name
    """The name of the entry: `event` of a track call, or the type of another call (`page`, `screen`, `identify`, …)."""
    retention_class: Key
    """Its class in `retention.yaml`."""
    category: CategoryKey
    """Data category of the event itself, and of every property without one of its own."""
    text: Text = ""
    """When it is sent, for people."""
    refuses: tuple[Key, ...] = ()
    """Purposes that a person refuses by this event, such as an unsubscription that a mail service reports."""
    takes_back: TakesBack | None = None
    """Of which event it takes back amounts; `net` in segments is what remains."""
    includes: tuple[Key, ...] = ()
    """Sets of properties that it shares with other events."""
    properties: Mapping[Name, PropertyPlan] = Field(default_factory=dict)
    """Its properties; in a loaded policy with those of `includes`, and each with its category."""

    def list_field(self, name: str) -> ListField | None:
        """The field of the entries of a list that a name such as `products.sku` means; None if it means none."""
        if name in self.properties:
            return None
        for key, plan in self.properties.items():
            field = name.removeprefix(f"{key}.")
            if field != name and field in plan.fields:
                return ListField(key, field, plan.fields[field])
        return None

    def plan_of(self, name: str) -> PropertyPlan | None:
        """The plan of a property, or of a field of the entries of a list; None if there is no such name."""
        found = self.list_field(name)
        return self.properties.get(name) if found is None else found.plan

    @property
    def amounts(self) -> tuple[str, ...]:
        """The properties that are amounts of money; if none is declared as one, all plain numbers."""
        numbers = [
            plan for plan in self.properties.values() if plan.type is PropertyType.NUMBER and plan.keep is Keep.PLAIN
        ]
        money = [plan.key for plan in numbers if plan.currency is not None]
        return tuple(money or (plan.key for plan in numbers))


class TrackingPlan(Frozen):
    """The file `events.yaml`."""

    entries: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("vocabularies",),
        ("property_sets", "*"),
        ("property_sets", "*", "*", "fields"),
        ("property_sets", "*", "*", "fields", "*", "fields"),
        ("events",),
        ("events", "*", "properties"),
        ("events", "*", "properties", "*", "fields"),
        ("events", "*", "properties", "*", "fields", "*", "fields"),
        ("traits",),
        ("traits", "*", "fields"),
        ("context",),
        ("context", "*", "fields"),
    )

    unknown_events: Unknown
    """Events that the plan does not name: `seal` all their properties, or `drop` the message and count it."""
    unknown_properties: Unknown
    """Properties that the plan does not name, of known and unknown events."""
    unknown_traits: Unknown
    """Stated traits that the plan does not name."""
    unknown_context: Unknown
    """Fields of `context` that the plan does not name."""
    unknown_class: Key
    """Retention class of unknown events."""
    unknown_category: CategoryKey
    """Data category of unknown events and of everything sealed because the plan does not name it."""
    vocabularies: Mapping[Key, Vocabulary] = Field(default_factory=dict)
    """Sets of strings that may be stored in plain."""
    property_sets: Mapping[Key, Mapping[Name, PropertyPlan]] = Field(default_factory=dict)
    """Properties that several events share."""
    events: Annotated[Mapping[Name, EventPlan], Field(min_length=1, max_length=2000)]
    """The events by name."""
    traits: Mapping[Name, PropertyPlan] = Field(default_factory=dict)
    """Traits stated by identify calls."""
    context: Mapping[Name, PropertyPlan] = Field(default_factory=dict)
    """Fields of `context` by dotted path."""

    def resolved(self) -> "TrackingPlan":
        """The same plan with the included properties written out and every category filled in."""
        events = {name: self._resolve(event) for name, event in self.events.items()}
        return self.model_copy(update={"events": events})

    def _resolve(self, event: EventPlan) -> EventPlan:
        properties: dict[str, PropertyPlan] = {}
        for name in event.includes:
            properties |= self.property_sets.get(name, {})
        properties |= event.properties
        filled = {name: self._filled(plan, event.category) for name, plan in properties.items()}
        return event.model_copy(update={"properties": filled})

    def _filled(self, plan: PropertyPlan, category: str) -> PropertyPlan:
        """The plan with its category, and the fields of a list with the included ones and theirs."""
        known = plan if plan.category else plan.model_copy(update={"category": category})
        if plan.type is not PropertyType.LIST:
            return known
        fields = {key: field for name in plan.includes for key, field in self.property_sets.get(name, {}).items()}
        filled = {key: self._filled(field, known.category) for key, field in {**fields, **plan.fields}.items()}
        return known.model_copy(update={"fields": filled})

    def taking_back(self, event: str) -> tuple["EventPlan", ...]:
        """The events that take back amounts of this one."""
        return tuple(
            plan for plan in self.events.values() if plan.takes_back is not None and plan.takes_back.event == event
        )

    def references_of(self, event: str) -> frozenset[str]:
        """The properties of an event by which others take back its amounts, or by which it takes back theirs."""
        plan = self.events.get(event)
        own = {plan.takes_back.by} if plan is not None and plan.takes_back is not None else set()
        return frozenset(
            own | {other.takes_back.by for other in self.taking_back(event) if other.takes_back is not None}
        )

    def class_of(self, event: str) -> str:
        """The retention class of an event of this name, known or not."""
        plan = self.events.get(event)
        return self.unknown_class if plan is None else plan.retention_class

    def category_of(self, event: str) -> str:
        """The data category of an event of this name, known or not."""
        plan = self.events.get(event)
        return self.unknown_category if plan is None else plan.category
