"""What the compilation of one statement shares: the interned ids of names, and the projections of permitted profiles."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import CTE, Cast, ColumnElement, FromClause, bindparam, cast, column, literal, or_, select, table
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql.base import ReadOnlyColumnCollection
from sqlalchemy.types import BigInteger, DateTime

from cdp.query.language import ast
from cdp.query.language.catalogue import Catalogue, currency_vocabulary
from cdp.schema import behavior, consent

EVENT_NAMES = "event"
"""The vocabulary in which event names are interned."""

UNKNOWN_TERM_ID = -1
"""The id for a string that was never stored: equal to no stored term."""


@dataclass(frozen=True)
class SourceTables:
    """What a statement reads: the stored permissions and computed traits, or those that a policy would leave.

    The tables have the columns of `consent.permitted`, `behavior.bucket` and `behavior.landmark`; without `permitted`, the
    permissions in force are read. `classes` are the retention
    classes in which events are stored, by name, where they may differ from those of the policy. `prefix` begins the names of the
    table expressions, so that two statements can be parts of a third.
    """

    permitted: FromClause | None = None
    bucket: FromClause = field(default_factory=lambda: behavior.bucket.alias("bucket"))
    landmark: FromClause = field(default_factory=lambda: behavior.landmark.alias("landmark"))
    classes: Mapping[str, str] = field(default_factory=dict)
    prefix: str = ""


STORED: Final = SourceTables()

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class InternedIds:
    """Ids that the database assigned: masks (one bit each) by purpose, and term ids by (vocabulary, string)."""

    masks: Mapping[str, int]
    terms: Mapping[tuple[str, str], int]


@dataclass
class StatementScope:
    """State shared by everything that is compiled into one statement; `only` limits it to some profiles."""

    catalogue: Catalogue
    ids: InternedIds
    now: datetime
    only: tuple[int, ...] | None = None
    tables: SourceTables = STORED
    name_counts: dict[str, int] = field(default_factory=dict)
    projections: dict[str, CTE] = field(default_factory=dict)
    segments: dict[str, CTE] = field(default_factory=dict)

    @property
    def present(self) -> Cast[datetime]:
        """The instant of evaluation, for arithmetic."""
        return cast(literal(self.now), DateTime(timezone=True))

    def name(self, stem: str) -> str:
        """A unique name for a common table expression: the stem and a number."""
        self.name_counts[stem] = self.name_counts.get(stem, 0) + 1
        return f"{self.tables.prefix}{stem}_{self.name_counts[stem]}"

    def term(self, vocabulary: str, text: str) -> int:
        """The id of a string, or UNKNOWN_TERM_ID."""
        return self.ids.terms.get((vocabulary, text), UNKNOWN_TERM_ID)

    def stored_class(self, event: str) -> str:
        """The retention class in which the events of a name are stored."""
        return self.tables.classes.get(event) or self.catalogue.policy.events.class_of(event)

    def permitted(self, purpose: str) -> CTE:
        """The projection of a purpose: profiles permitted now, with the start of the permission, traits and pseudonym."""
        if purpose not in self.projections:
            columns, of_purpose = self._in_force(purpose)
            statement = select(columns.profile_id, columns.since, columns.traits, columns.reader_pseudonym).where(
                *of_purpose, columns.since <= self.now, or_(columns.until.is_(None), columns.until > self.now)
            )
            if self.only is not None:
                statement = statement.where(self.among_only(columns.profile_id))
            self.projections[purpose] = statement.cte(self.name("people")).prefix_with("NOT MATERIALIZED")
        return self.projections[purpose]

    def _in_force(self, purpose: str) -> tuple[ReadOnlyColumnCollection[str, Any], tuple[ColumnElement[bool], ...]]:
        """The columns of the permissions of a purpose, and the condition under which a row is of the purpose, if any is needed.

        The partition of a purpose that the store knows is read by its name: PostgreSQL compares the purpose of every row even
        where it reads one partition alone, which took a third of the time of counting a million people.
        """
        if self.tables.permitted is None and purpose in self.ids.masks:
            columns = [column(one.name, one.type) for one in consent.permitted.columns]
            return table(consent.projection_of(purpose), *columns, schema="consent").alias("permitted").c, ()
        permitted = consent.permitted.alias("permitted") if self.tables.permitted is None else self.tables.permitted
        return permitted.c, (permitted.c.purpose == purpose,)

    def among_only(self, profile_id: ColumnElement[int]) -> ColumnElement[bool]:
        """Whether the profile is one of those to which the statement is limited."""
        assert self.only is not None
        return profile_id == bindparam("only", list(self.only), type_=ARRAY(BigInteger), unique=True).any_()

    def permitted_spans(self, purpose: str) -> CTE:
        """The permissions of a purpose that have not ended, with `since` and `until`; they may begin later."""
        columns, of_purpose = self._in_force(purpose)
        statement = select(columns.profile_id, columns.since, columns.until).where(
            *of_purpose, or_(columns.until.is_(None), columns.until > self.now)
        )
        if self.only is not None:
            statement = statement.where(self.among_only(columns.profile_id))
        return statement.cte(self.name("spans")).prefix_with("NOT MATERIALIZED")

    def bounds(self, window: ast.Window | None, event: str) -> tuple[datetime, datetime]:
        """Events count after the first instant and up to the second; both lie within what is retained."""
        begins, ends = self.now - self.catalogue.keep_for(event), self.now
        instant = timedelta(microseconds=1)
        match window:
            case ast.Within(duration):
                return max(begins, self.now - timedelta(seconds=duration.seconds)), ends
            case ast.During(first, last):
                begins = max(begins, self.catalogue.start_of(first.value) - instant)
                return begins, min(ends, self.catalogue.end_of(last.value) - instant)
            case None:
                return begins, ends


def epoch_microseconds(instant: datetime) -> int:
    """An instant as plain fields store it: microseconds since 1970."""
    delta = instant - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def names_in(condition: ast.Condition, catalogue: Catalogue) -> frozenset[tuple[str, str]]:
    """Every (vocabulary, string) whose id the compilation needs, those of other segments included."""
    return frozenset(_names(condition, catalogue, set()))


def events_in(condition: ast.Condition, catalogue: Catalogue) -> frozenset[str]:
    """The names of the events that can change the result when they arrive, those of other segments included."""
    return frozenset(name for vocabulary, name in names_in(condition, catalogue) if vocabulary == EVENT_NAMES)


def _names(condition: ast.Condition, catalogue: Catalogue, seen: set[str]) -> Iterator[tuple[str, str]]:
    for node in ast.walk(condition):
        match node:
            case ast.Events(name, where):
                yield EVENT_NAMES, name
                yield from _literals(where, name, catalogue) if where is not None else ()
                yield from _currencies(node, catalogue)
            case ast.Sum() | ast.Average() | ast.Least() | ast.Greatest() | ast.Net():
                yield from _codes(node.events.name, node.property, node.currency, catalogue=catalogue)
                if isinstance(node, ast.Net):
                    for other in catalogue.policy.events.taking_back(node.events.name):
                        yield EVENT_NAMES, other.key
                        yield from _codes(other.key, node.property, node.currency, catalogue=catalogue)
            case ast.Computed(name) if (trait := catalogue.computed(name)) is not None:
                yield EVENT_NAMES, trait.event
            case ast.InSegment(key) if key not in seen:
                seen.add(key)
                yield from _names(catalogue.segments[key].condition, catalogue, seen)
            case _:
                continue
    yield from _literals(condition, None, catalogue)


def _currencies(events: ast.Events, catalogue: Catalogue) -> Iterator[tuple[str, str]]:
    """The currencies of amounts of money that a filter compares."""
    for node in ast.walk(events.where) if events.where is not None else ():
        match node:
            case ast.Property(name):
                yield from _codes(events.name, name, None, catalogue=catalogue)
            case ast.EntryField(of, name):
                yield from _codes(events.name, f"{of}.{name}", None, catalogue=catalogue)
            case _:
                continue


def _codes(event: str, name: str, only: str | None, *, catalogue: Catalogue) -> Iterator[tuple[str, str]]:
    """The currencies that an amount can be in, as terms of the vocabulary that has them; nothing for other numbers."""
    vocabulary = currency_vocabulary(catalogue, event, name)
    if vocabulary is not None:
        for code in {*catalogue.policy.rates.steps, only}:
            if code is not None:
                yield vocabulary, code


def _literals(condition: ast.Condition, event: str | None, catalogue: Catalogue) -> Iterator[tuple[str, str]]:
    for node in ast.walk(condition):
        match node:
            case ast.Compare(value, _, ast.Text(text)):
                texts: tuple[str, ...] = (text,)
            case ast.OneOf(value, literals):
                texts = tuple(item.value for item in literals if isinstance(item, ast.Text))
            case _:
                continue
        plan = catalogue.plan_of(value, event)
        if plan is not None and plan.vocabulary is not None:
            yield from ((plan.vocabulary, text) for text in texts)
