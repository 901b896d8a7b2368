"""From a condition to one SQL statement of named common table expressions over the projection of the purpose.

The author cannot leave out the purpose: every event is joined to the profiles permitted for it, carries its bit, did
not occur before the permission began, and is still retained. Conditions must have passed the static checks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import Any, Final, assert_never

from sqlalchemy import CTE, ColumnElement, Select, and_, exists, func, or_, select, true
from sqlalchemy.dialects import postgresql

from cdp.query.language import ast
from cdp.query.language.catalogue import Catalogue
from cdp.query.language.evaluation import sample_threshold
from cdp.query.language.explain import parts_of
from cdp.query.postgres import measures
from cdp.query.postgres.net import net_frame
from cdp.query.postgres.scope import STORED, InternedIds, SourceTables, StatementScope, names_in
from cdp.query.postgres.values import Boolean, Column, holds_for, plain, test

__all__ = ["CompiledSegment", "InternedIds", "compile_segment", "names_in", "sql_text"]


@dataclass(frozen=True)
class CompiledSegment:
    """The statements for one condition, purpose and instant; each is compiled when it is first read."""

    condition: ast.Condition
    purpose: str
    catalogue: Catalogue
    ids: InternedIds
    now: datetime
    only: tuple[int, ...] | None
    tables: SourceTables = STORED

    @property
    def parts(self) -> tuple[ast.Condition, ...]:
        """The conditions joined by the topmost `and`, at least one."""
        return parts_of(self.condition)

    @cached_property
    def members(self) -> Select[tuple[int]]:
        """The profile_id of every member."""
        return self._compiler().members(self.condition)

    @cached_property
    def funnel(self) -> Select[Any]:
        """One row of counts: the permitted profiles, then for each part those that satisfy it, and those that satisfy it
        and all before it.
        """
        return _funnel(self._compiler(), self.condition, self.parts)

    @cached_property
    def verdicts(self) -> Select[Any]:
        """The profile_id of each permitted profile, and the truth of each part; NULL is unknown."""
        return _verdicts(self._compiler(), self.condition, self.parts)

    def pseudonyms(self, limit: int) -> Select[tuple[str]]:
        """The reader_pseudonym of the first members, at most `limit`."""
        compiler = self._compiler()
        is_in = compiler.condition(self.condition, may_be_null=True)
        pseudonym = compiler.people.c.reader_pseudonym
        return compiler.statement(pseudonym).where(is_in).order_by(pseudonym).limit(limit)

    def _compiler(self) -> "_ConditionCompiler":
        scope = StatementScope(self.catalogue, self.ids, self.now, self.only, self.tables)
        return _ConditionCompiler(scope, self.purpose)


def compile_segment(
    condition: ast.Condition,
    catalogue: Catalogue,
    ids: InternedIds,
    *,
    purpose: str,
    now: datetime,
    only: Sequence[int] | None = None,
    tables: SourceTables = STORED,
) -> CompiledSegment:
    """Compile a checked condition; `only` limits the result to some profiles, `tables` are what it reads."""
    return CompiledSegment(condition, purpose, catalogue, ids, now, None if only is None else tuple(only), tables)


def sql_text(statement: Select[Any]) -> str:
    """The statement with its values as literals, for display."""
    dialect = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]
    return str(statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))


_RECENT_SECONDS_MAX: Final = 86_400
"""The longest window for which a `did` may drive the statement: few events lie in it. For longer windows it is cheaper
to look up, for each profile, whether it has such an event."""


class _ConditionCompiler:
    """Compiles one condition for one purpose: the projection and the frames that are joined to it."""

    def __init__(self, scope: StatementScope, purpose: str) -> None:
        self.scope = scope
        self.purpose = purpose
        self.people = scope.permitted(purpose)
        self._frames: dict[str, tuple[tuple[measures.EventMeasure, ...], CTE]] = {}
        self._computed: dict[str, tuple[CTE, Column]] = {}
        self._nets: dict[ast.Net, tuple[CTE, Column]] = {}
        self._sets: list[CTE] = []

        self._source: CTE = self.people

    def members(self, condition: ast.Condition) -> Select[tuple[int]]:
        """The ids of the profiles for which the condition is true."""
        is_in = self.condition(condition, may_be_null=True, source=_source_for(condition))
        return self.statement(self._source.c.profile_id).where(is_in)

    def statement(self, *columns: ColumnElement[Any]) -> Select[Any]:
        """Select from the source and every frame that the conditions use."""
        joined: Any = self._source
        frames = [frame for _, frame in self._frames.values()]
        frames += [frame for frame, _ in (*self._computed.values(), *self._nets.values())]
        frames += self._sets
        for frame in frames:
            if frame is not self._source:
                joined = joined.outerjoin(frame, frame.c.profile_id == self._source.c.profile_id)
        return select(*columns).select_from(joined)

    def condition(self, node: ast.Condition, *, may_be_null: bool, source: str | None = None) -> Boolean:
        """The condition in SQL, after gathering the frames of all its values."""
        self.gather(node, source)
        return self.read(node, may_be_null=may_be_null)

    def read(self, node: ast.Condition, *, may_be_null: bool) -> Boolean:
        """The condition in SQL, over frames that were gathered; `may_be_null` as in `values.test`."""
        match node:
            case ast.And(terms):
                return and_(*(self.read(term, may_be_null=may_be_null) for term in terms))
            case ast.Or(terms):
                return or_(*(self.read(term, may_be_null=may_be_null) for term in terms))
            case ast.Not(term):
                return ~self.read(term, may_be_null=False).self_group()
            case ast.Did(events):
                if events.name in self._frames:
                    count = self._measured(node)
                    return count.expression > 0 if may_be_null else count.with_default > 0
                return self._among(measures.occurrences(events, self.purpose, self.scope))
            case ast.Sequence():
                return self._joined(measures.sequence_profiles(node, self.purpose, self.scope))
            case ast.InSegment(key):
                return self._among(self._segment(key))
            case ast.Sample(percent, seed):
                return self._sampled(percent, seed)
            case ast.AnyEntry():
                raise ValueError("entries of a list can only be used in an event filter")
            case _:
                return test(node, self._value(node.value), self.scope, may_be_null=may_be_null)

    def _among(self, found: CTE) -> Boolean:
        return exists().where(found.c.profile_id == self._source.c.profile_id)

    def _joined(self, found: CTE) -> Boolean:
        """Whether the profile is in a set of distinct ids, which is computed once, not for each profile."""
        self._sets.append(found)
        return found.c.profile_id.is_not(None)

    def _segment(self, key: str) -> CTE:
        """The members of another segment, for its own purpose."""
        compiled = self.scope.segments
        if key not in compiled:
            definition = self.scope.catalogue.segments[key]
            other = _ConditionCompiler(self.scope, definition.purpose)
            compiled[key] = other.members(definition.condition).cte(self.scope.name("segment"))
        return compiled[key]

    def _sampled(self, percent: Decimal, seed: str) -> Boolean:
        """Whether the hash of the profile's salt, the purpose and the seed lies below the bound of the sample."""
        threshold = sample_threshold(percent)
        if threshold >= 2**64:
            return true()
        return self._joined(measures.sampled_profiles(threshold, seed, self.purpose, scope=self.scope))

    def gather(self, condition: ast.Condition, source: str | None = None) -> None:
        """Add one frame for each event name of which the condition uses values, with all these values.

        A name that is only used in `did` does not need a frame, unless it is the source. `source` is an event without
        which no profile can be a member: its frame, which contains permitted profiles only, replaces the projection.
        """
        measures_of: dict[str, dict[measures.EventMeasure, None]] = {}
        for node in ast.walk(condition):
            if isinstance(node, ast.Aggregate | ast.Did):
                measures_of.setdefault(node.events.name, {})[node] = None
            if isinstance(node, ast.Net) and node not in self._nets:
                self._nets[node] = net_frame(node, self.purpose, self.scope)
            if isinstance(node, ast.Computed) and node.name not in self._computed:
                trait = self.scope.catalogue.computed(node.name)
                assert trait is not None
                self._computed[node.name] = measures.computed_frame(node.name, trait, self.purpose, scope=self.scope)
        for name, values in measures_of.items():
            is_source = name == source
            if is_source or not all(isinstance(value, ast.Did) for value in values):
                wanted = tuple(values)
                frame = measures.measures_frame(wanted, self.purpose, self.scope, is_source=is_source)
                self._frames[name] = (wanted, frame)
                self._source = frame if is_source else self._source

    def _measured(self, node: measures.EventMeasure) -> Column:
        wanted, frame = self._frames[node.events.name]
        return measures.column_of(node, frame.c[f"value_{wanted.index(node) + 1}"])

    def _value(self, node: ast.Value) -> Column:
        match node:
            case ast.Trait(name):
                plan = self.scope.catalogue.trait(name)
                assert plan is not None
                return plain(self.people.c.traits, name, plan)
            case ast.Computed(name):
                return self._computed[name][1]
            case ast.Net():
                return self._nets[node][1]
            case ast.Property() | ast.EntryField():
                raise ValueError("a property can only be used in an event filter")
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
    """An event whose frame can replace the projection: no profile without it is a member, and no trait is used.

    An event of which a value is used needs a frame in any case, so it is preferred to one that is only used in `did`.
    """
    if any(isinstance(node, ast.Trait) for node in ast.walk(condition)):
        return None
    required = _required(condition)
    valued = {node.events.name for node in ast.walk(condition) if isinstance(node, ast.Aggregate)}
    return min(required & valued or required, default=None)


def _required(condition: ast.Condition) -> frozenset[str]:
    """The events without which the condition cannot be true: those of which a value is used, and recent ones of a `did`."""
    match condition:
        case ast.And(terms):
            return frozenset().union(*map(_required, terms))
        case ast.Or(terms):
            first, *others = map(_required, terms)
            return first.intersection(*others)
        case ast.Did(ast.Events(name, window=ast.Within(duration))) if duration.seconds <= _RECENT_SECONDS_MAX:
            return frozenset({name})
        case ast.Not() | ast.Did() | ast.Sequence() | ast.InSegment() | ast.Sample() | ast.AnyEntry():
            return frozenset()
        case _:
            value = condition.value
            if not isinstance(value, ast.Aggregate):
                return frozenset()
            is_zero = isinstance(value, ast.Count | ast.Sum)
            can_be_zero = is_zero and not isinstance(condition, ast.Known) and holds_for(condition, 0)
            return frozenset() if can_be_zero else frozenset({value.events.name})


def _verdicts(compiler: _ConditionCompiler, condition: ast.Condition, parts: tuple[ast.Condition, ...]) -> Select[Any]:
    compiler.gather(condition)
    truths = [compiler.read(part, may_be_null=False).label(f"part_{at}") for at, part in enumerate(parts, 1)]
    return compiler.statement(compiler.people.c.profile_id, *truths)


def _funnel(compiler: _ConditionCompiler, condition: ast.Condition, parts: tuple[ast.Condition, ...]) -> Select[Any]:
    # Each part is read in several counts; without MATERIALIZED PostgreSQL would evaluate it again for each of them.
    verdicts = _verdicts(compiler, condition, parts).cte("verdicts").prefix_with("MATERIALIZED")
    truths = [verdicts.c[f"part_{at}"] for at in range(1, len(parts) + 1)]
    columns: list[ColumnElement[Any]] = [func.count()]
    for at, truth in enumerate(truths, 1):
        columns += [func.count().filter(chosen) for chosen in (truth, and_(*truths[:at]))]
    return select(*columns).select_from(verdicts)
