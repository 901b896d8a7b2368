"""Computed traits, pure: what events add to day buckets, the current value of buckets, and the full recomputation.

The two ways to compute a value share no arithmetic: buckets hold forward-decayed sums against a landmark, the recomputation
weighs each event by its age. They agree within 1e-9 relative (docs/adr/0007).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from math import fsum
from typing import Final

from cdp.behavior.decay import forward_weight, value_at, weight
from cdp.behavior.entries import entries_of, values_at
from cdp.behavior.model import Bucket, Landmark, Occurred, Plain, PlainField, Term
from cdp.behavior.money import Money, converted
from cdp.behavior.retention import first_counted_day
from cdp.behavior.rules import fields_of_lists
from cdp.kit.canonical import sha256
from cdp.policy.model import ComputedTrait, Policy, Scalar, TraitKind

NO_LANDMARK: Final = 0
"""The generation of buckets of traits that do not decay."""

_Comparable = tuple[bool, Scalar]


@dataclass(frozen=True, slots=True)
class CompiledTrait:
    """A computed trait, compiled. `mask` is the bit of its purpose, `field` the property it reads.

    `lists` gives the list and the field of those names that mean a field of the entries of a list. `window_days` counts
    whole UTC days, today included: the trait's own window, or the retention of its events, whichever is shorter.
    `vocabularies` names those of the properties it reads. `definition` changes when stored
    buckets of the trait must be recomputed.
    """

    key: str
    purpose: str
    mask: int
    kind: TraitKind
    event: str
    field: str | None
    where: Mapping[str, frozenset[_Comparable]]
    lists: Mapping[str, tuple[str, str]]
    vocabularies: Mapping[str, str]
    half_life_days: float | None
    window_days: int
    definition: str
    money: Money | None = None

    @property
    def has_total(self) -> bool:
        """True if the value is the bucket's total rather than its number of events."""
        return self.kind is TraitKind.SUM or self.half_life_days is not None


@dataclass(frozen=True, slots=True)
class TraitPlan:
    """All computed traits, by key and by the event that feeds them."""

    by_key: Mapping[str, CompiledTrait]
    by_event: Mapping[str, tuple[CompiledTrait, ...]]


def compile_traits(policy: Policy, masks: Mapping[str, int]) -> TraitPlan:
    """Compile the policy's traits; `masks` gives each purpose its bit as a mask. Done once per policy."""
    by_key: dict[str, CompiledTrait] = {}
    by_event: dict[str, tuple[CompiledTrait, ...]] = {}
    for key, stated in policy.traits.items():
        money = _money(policy, stated)
        keep_for_days = policy.retention.classes[policy.events.class_of(stated.event)].keep_for_days
        trait = CompiledTrait(
            key=key,
            purpose=stated.purpose,
            mask=masks[stated.purpose],
            kind=stated.kind,
            event=stated.event,
            field=stated.property,
            where={name: frozenset(map(_comparable, values)) for name, values in stated.where.items()},
            lists=fields_of_lists(policy.events.events[stated.event], _names(stated)),
            vocabularies=_vocabularies(policy, stated),
            half_life_days=stated.half_life_days,
            window_days=min(stated.within_days or keep_for_days, keep_for_days),
            definition=_definition(policy, stated, money),
            money=money,
        )
        by_key[key] = trait
        by_event[trait.event] = (*by_event.get(trait.event, ()), trait)
    return TraitPlan(by_key, by_event)


def _money(policy: Policy, stated: ComputedTrait) -> Money | None:
    """How the amounts of a sum are added up; None if they are plain numbers."""
    plan = None if stated.property is None else policy.property_of(stated.event, stated.property)
    if plan is None or plan.currency is None or stated.kind is not TraitKind.SUM:
        return None
    event = policy.events.events[stated.event]
    of_list = event.list_field(stated.property or "")
    named = (
        event.properties.get(plan.currency)
        if of_list is None
        else event.properties[of_list.list].fields.get(plan.currency)
    )
    named = named or event.properties.get(plan.currency)
    return Money(plan.currency, (named and named.vocabulary) or "", policy.rates, stated.currency)


def _definition(policy: Policy, stated: ComputedTrait, money: Money | None) -> str:
    """What stored buckets depend on: without `currency` where there is none, so that those of earlier versions stay valid."""
    left_out = {"text", "category", "within_days"} | ({"currency"} if stated.currency is None else set())
    definition = stated.model_dump_json(exclude=left_out)
    if money is None:
        return definition
    converts = "" if money.only is not None else sha256(policy.currencies.model_dump_json().encode()).hex()
    return f"{definition} {money.currency} {money.rates.unstated} {converts} {policy.jurisdictions.time_zone}"


def _names(stated: ComputedTrait) -> tuple[str, ...]:
    """What a trait reads of its events."""
    return (*stated.where, *([stated.property] if stated.property is not None else []))


def _vocabularies(policy: Policy, stated: ComputedTrait) -> Mapping[str, str]:
    plans = {name: policy.property_of(stated.event, name) for name in _names(stated)}
    money = _money(policy, stated)
    of_list = policy.events.events[stated.event].list_field(stated.property or "")
    for name in [] if money is None else [money.currency, *([f"{of_list.list}.{money.currency}"] if of_list else [])]:
        plans[name] = policy.property_of(stated.event, name)
    return {name: plan.vocabulary for name, plan in plans.items() if plan is not None and plan.vocabulary is not None}


def decaying(plan: TraitPlan) -> tuple[CompiledTrait, ...]:
    """The traits that need a landmark."""
    return tuple(trait for trait in plan.by_key.values() if trait.half_life_days is not None)


def fold(events: Iterable[Occurred], plan: TraitPlan, landmarks: Mapping[str, Landmark]) -> list[Bucket]:
    """What these events add, one bucket per (anchor, trait, day).

    `landmarks` must contain every decaying trait. The result is to be added to what is stored, never subtracted.
    """
    sums: dict[tuple[int, str, date], _Sum] = {}
    for event in events:
        day = event.occurred_at.date()
        for trait in plan.by_event.get(event.name, ()):
            if not event.bits & trait.mask or not _matches(event, trait):
                continue
            place = (event.anchor_id, trait.key, day)
            running = sums.get(place)
            if running is None:
                running = sums[place] = _Sum(event)
            running.add(event, trait, landmarks)
    return [running.bucket(place, plan.by_key[place[1]], landmarks) for place, running in sums.items()]


def value(
    trait: CompiledTrait, buckets: Iterable[Bucket], landmarks: Mapping[int, Landmark], *, now: datetime
) -> Plain | None:
    """The current value of one profile's buckets: a number for count and sum (0 without events), else None without events.

    `landmarks` holds the trait's landmarks by generation; buckets of several generations may be present.
    """
    first_day, today = first_counted_day(now, trait.window_days), now.astimezone(UTC).date()
    counted = [bucket for bucket in buckets if bucket.trait == trait.key and first_day <= bucket.day <= today]
    if trait.kind is TraitKind.LAST:
        return last_value(trait, counted)
    if trait.half_life_days is None:
        return fsum(bucket.total for bucket in counted) if trait.has_total else sum(bucket.events for bucket in counted)
    half_life = trait.half_life_days
    return fsum(
        value_at(bucket.total, landmarks[bucket.generation].at, now, half_life_days=half_life) for bucket in counted
    )


def last_value(trait: CompiledTrait, buckets: Iterable[Bucket]) -> Plain | None:
    """The property of the latest event, or its instant in microseconds if the trait reads no property."""
    latest = max(buckets, key=lambda bucket: (bucket.last_at, bucket.last_event_id), default=None)
    if latest is None:
        return None
    return _micros(latest.last_at) if trait.field is None else latest.last_plain


def recompute(trait: CompiledTrait, events: Iterable[Occurred], now: datetime) -> Plain | None:
    """The current value, computed directly from the retained, permitted events of one profile, without buckets.

    The caller passes only events at or after the purpose's permitted_since; the bit is checked here.
    """
    counted = _counted(trait, events, now)
    if trait.kind is TraitKind.LAST:
        latest = max(counted, key=lambda event: (event.occurred_at, event.event_id), default=None)
        if latest is None:
            return None
        return _micros(latest.occurred_at) if trait.field is None else _only(latest.plain, trait.field)
    if trait.half_life_days is not None:
        half_life = trait.half_life_days
        return fsum(_amount(trait, event) * weight(event.occurred_at, now, half_life) for event in counted)
    return fsum(_amount(trait, event) for event in counted) if trait.has_total else len(counted)


def gross(trait: CompiledTrait, events: Iterable[Occurred], now: datetime) -> float:
    """The sum of magnitudes behind a value, to which its rounding errors are relative."""
    half_life = trait.half_life_days
    return fsum(
        _magnitude(trait, event) * (1.0 if half_life is None else weight(event.occurred_at, now, half_life))
        for event in _counted(trait, events, now)
    )


def agree(one: Plain | None, other: Plain | None, gross: float = 0.0) -> bool:
    """True when two values of a trait are the same: exactly, or as doubles within 1e-9 relative.

    `gross` is the sum of magnitudes where amounts of both signs cancel. Decayed values below 2^-100 count as 0.
    """
    if isinstance(one, float | int) and isinstance(other, float | int):
        return abs(one - other) <= max(1e-9 * max(abs(one), abs(other), gross), 2.0**-100)
    return one == other


class _Sum:
    """The running contents of one bucket; created for its first event, which is not yet added."""

    __slots__ = ("events", "last_at", "last_event_id", "last_plain", "total")

    def __init__(self, event: Occurred) -> None:
        self.events = 0
        self.total = 0.0
        self.last_at = event.occurred_at
        self.last_event_id = event.event_id
        self.last_plain: Plain | None = None

    def add(self, event: Occurred, trait: CompiledTrait, landmarks: Mapping[str, Landmark]) -> None:
        self.events += 1
        if trait.half_life_days is not None:
            event_weight = forward_weight(event.occurred_at, landmarks[trait.key].at, trait.half_life_days)
            self.total += _amount(trait, event) * event_weight
        elif trait.kind is TraitKind.SUM:
            self.total += _amount(trait, event)
        if (event.occurred_at, event.event_id) >= (self.last_at, self.last_event_id):
            self.last_at = event.occurred_at
            self.last_event_id = event.event_id
            if trait.kind is TraitKind.LAST and trait.field is not None:
                self.last_plain = _only(event.plain, trait.field)

    def bucket(self, place: tuple[int, str, date], trait: CompiledTrait, landmarks: Mapping[str, Landmark]) -> Bucket:
        anchor_id, key, day = place
        generation = NO_LANDMARK if trait.half_life_days is None else landmarks[key].generation
        return Bucket(
            anchor_id,
            key,
            day,
            generation,
            self.events,
            self.total,
            self.last_at,
            self.last_event_id,
            self.last_plain,
        )


def _counted(trait: CompiledTrait, events: Iterable[Occurred], now: datetime) -> list[Occurred]:
    """The events that the trait counts now."""
    first_day, today = first_counted_day(now, trait.window_days), now.astimezone(UTC).date()
    return [
        event
        for event in events
        if event.name == trait.event
        and event.bits & trait.mask
        and first_day <= event.occurred_at.date() <= today
        and _matches(event, trait)
    ]


def _matches(event: Occurred, trait: CompiledTrait) -> bool:
    """An event counts if it has the trait's property, and for every name of `where` one of its values.

    Of a list, the entries together have the values of all entries. An amount of money counts if its currency has a rate.
    """
    plain = event.plain
    if trait.field is not None:
        has_it = (
            any(True for _ in _amounts(trait, event))
            if trait.kind is TraitKind.SUM
            else values_at(plain, trait.field, trait.lists)
        )
        if not has_it:
            return False
    return not trait.where or all(
        any(_comparable(found) in allowed for found in values_at(plain, name, trait.lists))
        for name, allowed in trait.where.items()
    )


def _comparable(value: Scalar | Term) -> _Comparable:
    """A value as `where` compares it: true differs from 1, and a term equals its text."""
    return (isinstance(value, bool), value.text if isinstance(value, Term) else value)


def _only(plain: Mapping[str, PlainField], name: str) -> Plain:
    """The value of a property of an event that counts."""
    (found,) = values_at(plain, name, _NO_LISTS)
    return found


_NO_LISTS: Final[Mapping[str, tuple[str, str]]] = {}


def _amounts(trait: CompiledTrait, event: Occurred) -> Iterator[float]:
    """What one event adds before decay: 1 for a count, the property for a sum, or that of each entry of a list."""
    if trait.kind is not TraitKind.SUM or trait.field is None:
        yield 1.0
        return
    of_list, field = trait.lists.get(trait.field, (None, trait.field))
    for holder in (event.plain,) if of_list is None else entries_of(event.plain, of_list):
        amount = converted(trait.money, holder, event.plain, name=field, at=event.occurred_at)
        if amount is not None:
            yield amount


def _amount(trait: CompiledTrait, event: Occurred) -> float:
    if trait.kind is not TraitKind.SUM:  # as for most traits: without a generator
        return 1.0
    return fsum(_amounts(trait, event))


def _magnitude(trait: CompiledTrait, event: Occurred) -> float:
    return fsum(map(abs, _amounts(trait, event)))


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _micros(instant: datetime) -> int:
    delta = instant - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
