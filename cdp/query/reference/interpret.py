"""The slow, obvious evaluator: one profile at a time, in plain Python, sharing nothing with the SQL.

What it says is what the language means; the compiler is held to it by random programs over random histories.

- Only events and traits permitted for the purpose are seen: the purpose's bit is set, the event did not occur before
  the present permission began, not after now, and its retention has not ended.
- A test of an absent value is unknown; `and`, `or`, `not` follow Kleene; only true is in.
- Numbers are exact decimals; decayed values are doubles, 2^(-age / half_life), and nothing beyond 1,000 half-lives.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from math import fsum
from typing import assert_never

from cdp.policy.model import ComputedTrait, TraitKind
from cdp.query.language import ast
from cdp.query.language.catalogue import Catalogue
from cdp.query.language.kleene import Kleene, all_of, any_of, negate

Scalar = Fraction | float | bool | str | datetime
"""Exact numbers are fractions; floats are decayed values only."""

Given = int | float | bool | str | datetime
"""A value as it was sent."""

_MANY_HALF_LIVES = 1000


class NotInterpretable(Exception):
    """The condition holds a node that `check` refuses."""


@dataclass(frozen=True, slots=True)
class Happened:
    """An event of a profile with the purposes whose bits it carries."""

    name: str
    occurred_at: datetime
    purposes: frozenset[str]
    properties: Mapping[str, Given] = field(default_factory=dict)
    event_id: str = ""


@dataclass(frozen=True, slots=True)
class PermittedSpan:
    """Since when and until when a purpose is permitted; None is without bound."""

    since: datetime | None = None
    until: datetime | None = None

    def holds(self, now: datetime) -> bool:
        return (self.since is None or self.since <= now) and (self.until is None or now < self.until)


@dataclass(frozen=True, slots=True)
class Profile:
    """All that a segment may know of a profile; `traits` are those visible to each purpose."""

    profile_id: int
    permitted: Mapping[str, PermittedSpan] = field(default_factory=dict)
    traits: Mapping[str, Mapping[str, Given]] = field(default_factory=dict)
    events: tuple[Happened, ...] = ()


def members(
    condition: ast.Condition, profiles: Iterable[Profile], *, purpose: str, catalogue: Catalogue, now: datetime
) -> frozenset[int]:
    """The permitted profiles for which the condition is true."""
    return frozenset(
        profile.profile_id
        for profile in profiles
        if is_in(condition, profile, purpose=purpose, catalogue=catalogue, now=now)
    )


def is_in(condition: ast.Condition, profile: Profile, *, purpose: str, catalogue: Catalogue, now: datetime) -> bool:
    """Whether a profile is permitted and the condition true for it."""
    standing = profile.permitted.get(purpose)
    if standing is None or not standing.holds(now):
        return False
    return truth(condition, profile, purpose=purpose, catalogue=catalogue, now=now) is True


def truth(condition: ast.Condition, profile: Profile, *, purpose: str, catalogue: Catalogue, now: datetime) -> Kleene:
    """What a condition says of a permitted profile."""
    return _Reading(profile, purpose, catalogue, now=now).truth(condition)


def sample_threshold(percent: Decimal) -> int:
    """The number below which the first eight bytes of a profile's hash must lie to be in a sample."""
    return int(percent * 2**64 / 100)


class _Reading:
    """One profile, read for one purpose at one instant. `happened` is the event whose filter is being read."""

    def __init__(self, profile: Profile, purpose: str, catalogue: Catalogue, *, now: datetime) -> None:
        self.profile = profile
        self.purpose = purpose
        self.catalogue = catalogue
        self.now = now
        self.happened: Happened | None = None

    def truth(self, node: ast.Condition) -> Kleene:
        match node:
            case ast.And(terms):
                return all_of([self.truth(term) for term in terms])
            case ast.Or(terms):
                return any_of([self.truth(term) for term in terms])
            case ast.Not(term):
                return negate(self.truth(term))
            case ast.Did(events):
                return bool(self.events(events))
            case ast.Sequence(steps, window):
                return self.follows(self.events(steps[0].events, window), steps[1:])
            case ast.InSegment(key):
                definition = self.catalogue.segments[key]
                return is_in(
                    definition.condition,
                    self.profile,
                    purpose=definition.purpose,
                    catalogue=self.catalogue,
                    now=self.now,
                )
            case ast.Sample(percent, seed):
                digest = hashlib.sha256(f"{self.profile.profile_id}:{seed}".encode()).digest()
                return int.from_bytes(digest[:8], "big") < sample_threshold(percent)
            case ast.Percentile() | ast.ZScore() | ast.Quantile():
                raise NotInterpretable(type(node).__name__)
            case _:
                return self.test(node)

    def test(self, node: ast.Test) -> Kleene:
        found = self.value(node.value)
        if isinstance(node, ast.Exists | ast.Known):
            return found is not None
        if found is None:
            return None
        match node:
            case ast.Compare(_, operator, literal):
                return self.compare(found, operator, literal)
            case ast.OneOf(_, literals):
                return any(self.compare(found, ast.Operator.EQ, literal) for literal in literals)
            case ast.Contains(_, text):
                return isinstance(found, str) and text in found
            case ast.StartsWith(_, text):
                return isinstance(found, str) and found.startswith(text)
            case ast.Between(_, low, high):
                return self.compare(found, ast.Operator.GE, low) and self.compare(found, ast.Operator.LE, high)
            case ast.Recent(_, duration):
                assert isinstance(found, datetime)
                return self.now - timedelta(seconds=duration.seconds) < found <= self.now
            case ast.Percentile() | ast.ZScore() | ast.Quantile():
                raise NotInterpretable(type(node).__name__)
            case _:
                assert_never(node)

    def compare(self, found: Scalar, operator: ast.Operator, literal: ast.Literal) -> bool:
        """Days are whole: `=` is within the day, `<` before it begins, `>` after it has ended."""
        if isinstance(literal, ast.Day):
            assert isinstance(found, datetime)
            begins, ends = self.catalogue.start_of(literal.value), self.catalogue.end_of(literal.value)
            position = -1 if found < begins else 1 if found >= ends else 0
            return _RELATIONS[operator](position)
        if isinstance(literal, ast.Number):
            assert isinstance(found, Fraction | float)
            bound = Fraction(literal.value)
            return _RELATIONS[operator](-1 if found < bound else 1 if found > bound else 0)
        return _RELATIONS[operator](0 if found == literal.value else 1)

    # --- values ---

    def value(self, node: ast.Value) -> Scalar | None:
        match node:
            case ast.Trait(name):
                return _scalar(self.profile.traits.get(self.purpose, {}).get(name))
            case ast.Property(name):
                assert self.happened is not None
                return _scalar(self.happened.properties.get(name))
            case ast.Computed(name):
                trait = self.catalogue.computed(name)
                assert trait is not None
                return self.computed(trait)
            case ast.Count(events, half_life):
                found = self.events(events)
                if half_life is None:
                    return Fraction(len(found))
                return self.faded([(each, 1.0) for each in found], half_life.seconds)
            case ast.Sum() | ast.Average() | ast.Least() | ast.Greatest():
                return self.amount(node)
            case ast.DaysSinceLast() | ast.First() | ast.Last():
                return self.moment(node)
            case _:
                assert_never(node)

    def amount(self, node: ast.Sum | ast.Average | ast.Least | ast.Greatest) -> Scalar | None:
        pairs = self.numbers(node.events, node.property)
        amounts = [amount for _, amount in pairs]
        match node:
            case ast.Sum(half_life=half_life):
                if half_life is None:
                    return sum(amounts, Fraction(0))
                return self.faded([(each, float(amount)) for each, amount in pairs], half_life.seconds)
            case ast.Average():
                return sum(amounts, Fraction(0)) / len(amounts) if amounts else None
            case ast.Least():
                return min(amounts, default=None)
            case ast.Greatest():
                return max(amounts, default=None)
            case _:
                assert_never(node)

    def moment(self, node: ast.DaysSinceLast | ast.First | ast.Last) -> Scalar | None:
        instants = [each.occurred_at for each in self.events(node.events)]
        if not instants:
            return None
        match node:
            case ast.DaysSinceLast():
                return Fraction((self.now - max(instants)) // timedelta(days=1))
            case ast.First():
                return min(instants)
            case ast.Last():
                return max(instants)
            case _:
                assert_never(node)

    def numbers(self, events: ast.Events, name: str) -> list[tuple[Happened, Fraction]]:
        """The events that have the property, with its value."""
        pairs = [(each, _scalar(each.properties.get(name))) for each in self.events(events)]
        return [(each, amount) for each, amount in pairs if isinstance(amount, Fraction)]

    def faded(self, amounts: Iterable[tuple[Happened, float]], half_life_seconds: float) -> float:
        ages = [((self.now - each.occurred_at).total_seconds() / half_life_seconds, amount) for each, amount in amounts]
        return fsum(amount * 2.0**-age for age, amount in ages if age <= _MANY_HALF_LIVES)

    def computed(self, trait: ComputedTrait) -> Scalar | None:
        """A computed trait straight from the events, in whole UTC days."""
        first_day = self.now.astimezone(UTC).date() - timedelta(days=self.catalogue.window_days(trait) - 1)
        counted = [
            each
            for each in self.permitted_events(trait.event)
            if each.occurred_at.astimezone(UTC).date() >= first_day and _matches(each, trait)
        ]
        if trait.kind is TraitKind.LAST:
            latest = max(counted, key=lambda each: (each.occurred_at, each.event_id), default=None)
            if latest is None:
                return None
            return latest.occurred_at if trait.property is None else _scalar(latest.properties.get(trait.property))
        amounts = [
            (each, _scalar(each.properties[trait.property]) if trait.property else Fraction(1)) for each in counted
        ]
        numbers = [(each, amount) for each, amount in amounts if isinstance(amount, Fraction)]
        if trait.half_life_days is not None:
            return self.faded([(each, float(amount)) for each, amount in numbers], trait.half_life_days * 86_400)
        return sum((amount for _, amount in numbers), Fraction(0))

    # --- events ---

    def events(self, events: ast.Events, window: ast.Window | None = None) -> list[Happened]:
        """The events that count, in order of time."""
        begins, ends = self.bounds(window or events.window)
        found = [
            each
            for each in self.permitted_events(events.name)
            if begins <= each.occurred_at < ends and self.is_chosen(each, events.where)
        ]
        return sorted(found, key=lambda each: each.occurred_at)

    def permitted_events(self, name: str) -> list[Happened]:
        """Events of a name that carry the purpose, since its permission began, and are still retained."""
        standing = self.profile.permitted.get(self.purpose, PermittedSpan())
        expired = self.now - self.catalogue.keep_for(name)
        return [
            each
            for each in self.profile.events
            if each.name == name
            and self.purpose in each.purposes
            and expired < each.occurred_at <= self.now
            and (standing.since is None or each.occurred_at >= standing.since)
        ]

    def is_chosen(self, happened: Happened, where: ast.Condition | None) -> bool:
        if where is None:
            return True
        self.happened = happened
        chosen = self.truth(where) is True
        self.happened = None
        return chosen

    def bounds(self, window: ast.Window | None) -> tuple[datetime, datetime]:
        """From the first instant of a window up to, and without, the first one after it."""
        instant = timedelta(microseconds=1)
        match window:
            case None:
                return datetime.min.replace(tzinfo=UTC), self.now + instant
            case ast.Within(duration):
                return self.now - timedelta(seconds=duration.seconds) + instant, self.now + instant
            case ast.During(first, last):
                return self.catalogue.start_of(first.value), self.catalogue.end_of(last.value)
            case _:
                assert_never(window)

    def follows(self, reached: Sequence[Happened], steps: Sequence[ast.Step]) -> bool:
        """Whether some event reached so far is followed by the remaining steps, each strictly later.

        A missing event counts as missing once its time has passed; without a time of its own, up to now.
        """
        if not steps or not reached:
            return bool(reached)
        step, rest = steps[0], steps[1:]
        candidates = self.events(step.events)
        patience = timedelta(seconds=step.within.seconds) if step.within is not None else None

        def after(before: Happened) -> list[Happened]:
            later = [each for each in candidates if each.occurred_at > before.occurred_at]
            return (
                later
                if patience is None
                else [each for each in later if each.occurred_at - before.occurred_at <= patience]
            )

        if step.is_absent:
            waited = [each for each in reached if patience is None or each.occurred_at + patience <= self.now]
            return any(not after(each) for each in waited)
        return any(self.follows([each], rest) for before in reached for each in after(before))


_RELATIONS: Mapping[ast.Operator, Callable[[int], bool]] = {
    ast.Operator.EQ: lambda position: position == 0,
    ast.Operator.NE: lambda position: position != 0,
    ast.Operator.LT: lambda position: position < 0,
    ast.Operator.LE: lambda position: position <= 0,
    ast.Operator.GT: lambda position: position > 0,
    ast.Operator.GE: lambda position: position >= 0,
}


def _scalar(given: Given | None) -> Scalar | None:
    """A sent number is its shortest decimal, exactly."""
    if isinstance(given, bool) or given is None or isinstance(given, str | datetime):
        return given
    return Fraction(Decimal(repr(given)))


def _matches(happened: Happened, trait: ComputedTrait) -> bool:
    """Like the computed trait itself: true is not 1, and an absent property never matches."""
    if trait.property is not None and trait.property not in happened.properties:
        return False
    found = [(happened.properties.get(name), values) for name, values in trait.where.items()]
    return all(
        any((type(given) is bool) is (type(value) is bool) and given == value for value in values)
        for given, values in found
    )
