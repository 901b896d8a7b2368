"""From meaning to one SQL statement of named common table expressions over the projection of the purpose.

The author cannot leave out the purpose: every event is joined to the profiles permitted for it, carries its bit, did
not occur before the permission began, and is still retained. Static checks come first; this file trusts them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final, assert_never

from sqlalchemy import CTE, ColumnElement, Select, and_, exists, func, literal, or_, select, true
from sqlalchemy.dialects import postgresql

from cdp.query.language import ast
from cdp.query.language.catalogue import Catalogue
from cdp.query.language.explain import parts_of
from cdp.query.postgres import measures as compile_events
from cdp.query.postgres.scope import Ground, StatementScope, names_in
from cdp.query.postgres.values import Boolean, Column, holds_for, plain, test
from cdp.query.reference.interpret import sample_threshold

__all__ = ["Compiled", "Ground", "compile_segment", "names_in", "sql_text"]


@dataclass(frozen=True)
class Compiled:
    """Statements that answer for one condition, purpose and instant; each is made when it is asked for."""

    condition: ast.Condition
    purpose: str
    catalogue: Catalogue
    ground: Ground
    now: datetime
    only: tuple[int, ...] | None

    @property
    def parts(self) -> tuple[ast.Condition, ...]:
        """The conditions joined by the topmost `and`, one at least."""
        return parts_of(self.condition)

    @cached_property
    def members(self) -> Select[tuple[int]]:
        """The profile_id of everyone in."""
        return self._scope().members(self.condition)

    @cached_property
    def funnel(self) -> Select[Any]:
        """One row: the permitted, then for each part those who satisfy it alone and those who satisfy it and all before it.

        Each is a count and the XOR of the profile ids, which stands for the set.
        """
        return _funnel(self._scope(), self.condition, self.parts)

    @cached_property
    def verdicts(self) -> Select[Any]:
        """The profile_id and the truth of each part, NULL for unknown."""
        return _verdicts(self._scope(), self.condition, self.parts)

    def pseudonyms(self, limit: int) -> Select[tuple[str]]:
        """The reader_pseudonym of the first few who are in."""
        scope = self._scope()
        is_in = scope.condition(self.condition, may_be_null=True)
        pseudonym = scope.people.c.reader_pseudonym
        return scope.statement(pseudonym).where(is_in).order_by(pseudonym).limit(limit)

    def _scope(self) -> "_Scope":
        return _Scope(StatementScope(self.catalogue, self.ground, self.now, self.only), self.purpose)


def compile_segment(
    condition: ast.Condition,
    catalogue: Catalogue,
    ground: Ground,
    *,
    purpose: str,
    now: datetime,
    only: Sequence[int] | None = None,
) -> Compiled:
    """Compile a checked condition; `only` limits the answer to some profiles."""
    return Compiled(condition, purpose, catalogue, ground, now, None if only is None else tuple(only))


def sql_text(statement: Select[Any]) -> str:
    """The statement with its values written out, for people to read."""
    dialect = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]
    return str(statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))


_RECENT_SECONDS_MAX: Final = 86_400
"""Few enough happened since to begin with them; of a year's, asking each profile whether it is among them is cheaper."""


class _Scope:
    """One condition for one purpose: the projection and the frames that hang on it."""

    def __init__(self, shared: StatementScope, purpose: str) -> None:
        self.shared = shared
        self.purpose = purpose
        self.people = shared.permitted(purpose)
        self._frames: dict[str, tuple[tuple[compile_events.Measured, ...], CTE]] = {}
        self._computed: dict[str, tuple[CTE, Column]] = {}
        self._sets: list[CTE] = []

        self._source: CTE = self.people

    def members(self, condition: ast.Condition) -> Select[tuple[int]]:
        """The ids of those for whom the condition is true."""
        is_in = self.condition(condition, may_be_null=True, source=_source_for(condition))
        return self.statement(self._source.c.profile_id).where(is_in)

    def statement(self, *columns: ColumnElement[Any]) -> Select[Any]:
        """Select from the source and every frame that the conditions asked for."""
        joined: Any = self._source
        frames = [frame for _, frame in self._frames.values()] + [frame for frame, _ in self._computed.values()]
        frames += self._sets
        for frame in frames:
            if frame is not self._source:
                joined = joined.outerjoin(frame, frame.c.profile_id == self._source.c.profile_id)
        return select(*columns).select_from(joined)

    def condition(self, node: ast.Condition, *, may_be_null: bool, source: str | None = None) -> Boolean:
        """The condition in SQL; the frames of all its values are gathered first."""
        self.gather(node, source)
        return self.read(node, may_be_null=may_be_null)

    def read(self, node: ast.Condition, *, may_be_null: bool) -> Boolean:
        match node:
            case ast.And(terms):
                return and_(*(self.read(term, may_be_null=may_be_null) for term in terms))
            case ast.Or(terms):
                return or_(*(self.read(term, may_be_null=may_be_null) for term in terms))
            case ast.Not(term):
                return ~self.read(term, may_be_null=False).self_group()
            case ast.Did(events):
                if events.name in self._frames:
                    often = self._measured(node)
                    return often.expression > 0 if may_be_null else often.settled > 0
                return self._among(compile_events.occurrences(events, self.purpose, self.shared))
            case ast.Sequence():
                return self._joined(compile_events.followed(node, self.purpose, self.shared))
            case ast.InSegment(key):
                return self._among(self._segment(key))
            case ast.Sample(percent, seed):
                return self._sampled(sample_threshold(percent), seed)
            case _:
                return test(node, self._value(node.value), self.shared, may_be_null=may_be_null)

    def _among(self, found: CTE) -> Boolean:
        return exists().where(found.c.profile_id == self._source.c.profile_id)

    def _joined(self, found: CTE) -> Boolean:
        """Whether the profile is in a set of distinct ids, which is found once for everybody and never profile by profile."""
        self._sets.append(found)
        return found.c.profile_id.is_not(None)

    def _segment(self, key: str) -> CTE:
        """The members of another segment, under its own purpose."""
        known = self.shared.segments
        if key not in known:
            definition = self.shared.catalogue.segments[key]
            other = _Scope(self.shared, definition.purpose)
            known[key] = other.members(definition.condition).cte(self.shared.name("segment"))
        return known[key]

    def _sampled(self, threshold: int, seed: str) -> Boolean:
        """The hash of a random id: the same in every evaluation, and nothing that a person could choose."""
        if threshold >= 2**64:
            return true()
        text = func.concat(self._source.c.profile_id, ":", seed)
        bound = func.decode(literal(threshold.to_bytes(8, "big").hex()), "hex")
        sampled: Boolean = func.sha256(func.convert_to(text, "UTF8")) < bound
        return sampled

    def gather(self, condition: ast.Condition, source: str | None = None) -> None:
        """One frame for each event name of which a value is asked, with all that the condition asks of it.

        A name of which is only asked whether it happened needs no frame, unless it is the source. `source` names the
        event without which nobody is in: its frame, which holds permitted profiles only, takes the place of the projection.
        """
        wanted: dict[str, dict[compile_events.Measured, None]] = {}
        for node in ast.walk(condition):
            if isinstance(node, ast.Aggregate | ast.Did):
                wanted.setdefault(node.events.name, {})[node] = None
            if isinstance(node, ast.Computed) and node.name not in self._computed:
                trait = self.shared.catalogue.computed(node.name)
                assert trait is not None
                self._computed[node.name] = compile_events.computed(node.name, trait, self.purpose, shared=self.shared)
        for name, values in wanted.items():
            is_source = name == source
            if is_source or not all(isinstance(value, ast.Did) for value in values):
                measures = tuple(values)
                frame = compile_events.measured(measures, self.purpose, self.shared, is_source=is_source)
                self._frames[name] = (measures, frame)
                self._source = frame if is_source else self._source

    def _measured(self, node: compile_events.Measured) -> Column:
        measures, frame = self._frames[node.events.name]
        return compile_events.column_of(node, frame.c[f"value_{measures.index(node) + 1}"])

    def _value(self, node: ast.Value) -> Column:
        match node:
            case ast.Trait(name):
                plan = self.shared.catalogue.trait(name)
                assert plan is not None
                return plain(self.people.c.traits, name, plan)
            case ast.Computed(name):
                return self._computed[name][1]
            case ast.Property():
                raise ValueError("a property stands only in a filter")
            case (
                ast.Count()
                | ast.Sum()
                | ast.Average()
                | ast.Least()
                | ast.Greatest()
                | ast.DaysSinceLast()
                | ast.First()
                | ast.Last()
            ):
                return self._measured(node)
            case _:
                assert_never(node)


def _source_for(condition: ast.Condition) -> str | None:
    """An event whose frame alone can answer: nobody without it is in, and nothing of the projection is asked.

    One of which a value is asked needs its frame anyhow, so it comes before one that only has to have happened lately.
    """
    if any(isinstance(node, ast.Trait) for node in ast.walk(condition)):
        return None
    required = _required(condition)
    valued = {node.events.name for node in ast.walk(condition) if isinstance(node, ast.Aggregate)}
    return min(required & valued or required, default=None)


def _required(condition: ast.Condition) -> frozenset[str]:
    """The events without which the condition cannot be true: those of which a value is asked, and few recent ones."""
    match condition:
        case ast.And(terms):
            return frozenset().union(*map(_required, terms))
        case ast.Or(terms):
            first, *others = map(_required, terms)
            return first.intersection(*others)
        case ast.Did(ast.Events(name, window=ast.Within(duration))) if duration.seconds <= _RECENT_SECONDS_MAX:
            return frozenset({name})
        case ast.Not() | ast.Did() | ast.Sequence() | ast.InSegment() | ast.Sample():
            return frozenset()
        case _:
            value = condition.value
            if not isinstance(value, ast.Aggregate):
                return frozenset()
            is_zero = isinstance(value, ast.Count | ast.Sum)
            can_be_zero = is_zero and (isinstance(condition, ast.Exists | ast.Known) or holds_for(condition, 0))
            return frozenset() if can_be_zero else frozenset({value.events.name})


def _verdicts(scope: _Scope, condition: ast.Condition, parts: tuple[ast.Condition, ...]) -> Select[Any]:
    scope.gather(condition)
    truths = [scope.read(part, may_be_null=False).label(f"part_{at}") for at, part in enumerate(parts, 1)]
    return scope.statement(scope.people.c.profile_id, *truths)


def _funnel(scope: _Scope, condition: ast.Condition, parts: tuple[ast.Condition, ...]) -> Select[Any]:
    # Each part is read in several counts: without this PostgreSQL would evaluate it anew for each of them.
    verdicts = _verdicts(scope, condition, parts).cte("verdicts").prefix_with("MATERIALIZED")
    each = [verdicts.c[f"part_{at}"] for at in range(1, len(parts) + 1)]
    columns: list[ColumnElement[Any]] = [func.count(), func.bit_xor(verdicts.c.profile_id)]
    for at, truth in enumerate(each, 1):
        for chosen in (truth, and_(*each[:at])):
            columns += [func.count().filter(chosen), func.bit_xor(verdicts.c.profile_id).filter(chosen)]
    return select(*columns).select_from(verdicts)
