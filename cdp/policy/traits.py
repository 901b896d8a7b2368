"""Computed traits: what is derived from the events of a purpose."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from cdp.policy.currencies import CurrencyCode
from cdp.policy.frozen import CategoryKey, Days, Frozen, Key, KeyedEntry, Name, Text


class TraitKind(StrEnum):
    """How a trait is computed. This version computes `count`, `sum` and `last`; the others are refused."""

    COUNT = "count"
    SUM = "sum"
    LAST = "last"
    MIN = "min"
    MAX = "max"
    FIRST = "first"
    DISTINCT = "distinct"
    MOST_FREQUENT = "most_frequent"
    AVERAGE = "average"


SUPPORTED = (TraitKind.COUNT, TraitKind.SUM, TraitKind.LAST)
"""Kinds that this version computes; the loader refuses the others."""

NEEDS_PROPERTY = frozenset(
    {TraitKind.SUM, TraitKind.MIN, TraitKind.MAX, TraitKind.DISTINCT, TraitKind.MOST_FREQUENT, TraitKind.AVERAGE}
)
"""Kinds that require a property; `first` and `last` without one yield the instant of the event."""

DECAYS = frozenset({TraitKind.COUNT, TraitKind.SUM})
"""Kinds that may decay with a half-life."""

Scalar = str | bool | int | float


class ComputedTrait(KeyedEntry):
    """One attribute derived from the events that carry the bit of one purpose."""

    key: Key
    """The name of the entry; segments refer to it as `computed.<key>`."""
    text: Text = ""
    """What it means, for people."""
    purpose: Key
    """The purpose it serves; only events permitted for it are counted."""
    kind: TraitKind
    """How it is computed."""
    event: Name
    """The event it is computed from."""
    property: Name | None = None
    """The plain property that is summed, or taken from the last event; `last` without one yields the instant."""
    currency: CurrencyCode | None = None
    """Counts only amounts in this currency, as they are; absent: amounts of money are converted into that of the policy."""
    where: Mapping[Name, Annotated[tuple[Scalar, ...], Field(min_length=1, max_length=100)]] = Field(
        default_factory=dict
    )
    """Plain properties that must have one of these values; an event without the property does not count."""
    half_life_days: Annotated[float, Field(ge=0.01, le=3650)] | None = None
    """Days after which the weight of an event is halved; absent: no decay."""
    within_days: Days | None = None
    """Counts only events of this many whole UTC days, today included; absent: all that are retained."""
    category: CategoryKey
    """Data category of the result."""

    @model_validator(mode="after")
    def _is_coherent(self) -> Self:
        if self.kind not in SUPPORTED:
            supported = ", ".join(kind.value for kind in SUPPORTED)
            raise ValueError(f"kind {self.kind.value} is not supported by this version; expected one of {supported}")
        if self.kind in NEEDS_PROPERTY and self.property is None:
            raise ValueError(f"kind {self.kind.value} requires a `property`")
        if self.kind is TraitKind.COUNT and self.property is not None:
            raise ValueError("kind count counts events and must not have a `property`; select events with `where`")
        if self.currency is not None and self.kind not in NEEDS_PROPERTY:
            raise ValueError(f"`currency` is for amounts that are added up or compared, not for kind {self.kind.value}")
        if self.half_life_days is not None and self.kind not in DECAYS:
            raise ValueError("`half_life_days` is allowed only for count and sum")
        if self.half_life_days is not None and self.within_days is not None:
            raise ValueError("a trait decays (`half_life_days`) or has a window (`within_days`), not both")
        return self


class Traits(Frozen):
    """The file `traits.yaml`."""

    entries: ClassVar[tuple[tuple[str, ...], ...]] = (("traits",),)

    traits: Annotated[Mapping[Key, ComputedTrait], Field(max_length=500)]
    """The computed traits."""
