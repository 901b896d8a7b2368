"""Random programs of the segment language that the checks accept under the policy of `segment_histories`."""

from datetime import date, timedelta
from decimal import Decimal

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from cdp.query.language import ast
from cdp.query.language.catalogue import Kind
from tests.support.segment_histories import (
    CATEGORIES,
    CHANNELS,
    COUNTRIES,
    CURRENCIES,
    LINES,
    NOW,
    ORDER,
    TRIAL,
    VIEW,
)

KEPT_DAYS = {ORDER: 1095, VIEW: 395, TRIAL: 90}
PROPERTIES = {
    ORDER: {"revenue": Kind.NUMBER, "category": Kind.TEXT, "currency": Kind.TEXT},
    VIEW: {"price": Kind.NUMBER, "category": Kind.TEXT, "currency": Kind.TEXT},
    TRIAL: {"flag": Kind.BOOLEAN, "due": Kind.INSTANT, "score": Kind.NUMBER, "channel": Kind.TEXT},
}
ENTRIES = {"gift": Kind.BOOLEAN, "ready": Kind.INSTANT, "amount": Kind.NUMBER, "channel": Kind.TEXT}
"""The fields of the entries of the list of the event `Trial`."""
TEXTS = {
    "country": (*COUNTRIES, "US"),
    "plan": ("free", "gold", "gold plus", "silver"),
    "category": (*CATEGORIES, "ties"),
    "currency": (*CURRENCIES, "JPY"),
    "channel": (*CHANNELS, "sms"),
    "last_channel": (*CHANNELS, "sms"),
    "last_category_viewed": (*CATEGORIES, "ties"),
}
NUMBERS = tuple(
    map(Decimal, ("0", "1", "2", "3", "5", "10", "17.5", "18", "19.99", "30", "100", "250.5", "-2", "0.1", "9.1"))
)
FADED = tuple(map(Decimal, ("0.2718281", "0.9314159", "1.7320508", "7.3890561", "55.5772157", "-0.3333337")))
"""Bounds that no decayed value of the histories meets within 1e-9."""
COMPUTED = {
    Kind.NUMBER: ("orders_count", "monetary", "trials", "scores", "last_score", "lines", "gifts"),
    Kind.TEXT: ("last_channel",),
    Kind.BOOLEAN: ("last_flag",),
    Kind.INSTANT: ("last_trial_at", "last_order_at", "last_due"),
}
FADING_COMPUTED = ("monetary_decayed", "fading_trials", "fading_scores")
STATED = {Kind.NUMBER: "age", Kind.BOOLEAN: "vip", Kind.INSTANT: "createdAt"}

operators = st.sampled_from(list(ast.Operator))
days = st.integers(-2, 420).map(lambda back: ast.Day((NOW - timedelta(days=back)).date()))


def durations(days_max: int) -> SearchStrategy[ast.Duration]:
    choices = [(90, ast.Unit.MINUTE), (5, ast.Unit.HOUR), (1, ast.Unit.DAY), (2, ast.Unit.WEEK), (30, ast.Unit.DAY)]
    choices += [(days_max, ast.Unit.DAY)]
    return st.sampled_from(choices).map(lambda pair: ast.Duration(*pair))


@st.composite
def windows(draw: st.DrawFn, days_max: int) -> ast.Window | None:
    kind = draw(st.sampled_from(("none", "within", "during")))
    if kind == "none":
        return None
    if kind == "within":
        return ast.Within(draw(durations(days_max)))
    length = draw(st.integers(0, min(days_max - 1, 40)))
    first: date = draw(days).value
    return ast.During(ast.Day(first), ast.Day(first + timedelta(days=length)))


def texts(name: str) -> SearchStrategy[str]:
    return st.sampled_from(TEXTS[name])


@st.composite
def tests_of(draw: st.DrawFn, value: ast.Value, kind: Kind, name: str) -> ast.Condition:
    """A test that fits the type of the value; `name` chooses the strings."""
    shape = draw(st.integers(0, 5))
    if shape == 0:
        return ast.Exists(value) if draw(st.booleans()) else ast.Known(value)
    if kind is Kind.BOOLEAN:
        relation = draw(st.sampled_from((ast.Operator.EQ, ast.Operator.NE)))
        return ast.Compare(value, relation, ast.Flag(draw(st.booleans())))
    if kind is Kind.TEXT:
        return draw(_text_tests(value, name))
    if kind is Kind.INSTANT:
        return draw(_instant_tests(value))
    bounds = st.sampled_from(FADED if is_faded(value) else NUMBERS)
    if shape == 1:
        low, high = sorted((draw(bounds), draw(bounds)))
        return ast.Between(value, ast.Number(low), ast.Number(high))
    if shape == 2:
        return ast.OneOf(value, tuple(map(ast.Number, draw(st.lists(bounds, min_size=1, max_size=3)))))
    return ast.Compare(value, draw(operators), ast.Number(draw(bounds)))


@st.composite
def _text_tests(draw: st.DrawFn, value: ast.Value, name: str) -> ast.Condition:
    shape = draw(st.integers(0, 3))
    if shape == 0:
        return ast.OneOf(value, tuple(map(ast.Text, draw(st.lists(texts(name), min_size=1, max_size=3)))))
    fragment = draw(texts(name))[: draw(st.integers(1, 3))]
    if shape == 1:
        return ast.Contains(value, draw(st.sampled_from((fragment, "o", "zz"))))
    if shape == 2:
        return ast.StartsWith(value, draw(st.sampled_from((fragment, "zz"))))
    return ast.Compare(value, draw(st.sampled_from((ast.Operator.EQ, ast.Operator.NE))), ast.Text(draw(texts(name))))


@st.composite
def _instant_tests(draw: st.DrawFn, value: ast.Value) -> ast.Condition:
    shape = draw(st.integers(0, 3))
    if shape == 0:
        return ast.Recent(value, draw(durations(400)))
    if shape == 1:
        first, last = sorted((draw(days), draw(days)), key=lambda day: day.value)
        return ast.Between(value, first, last)
    if shape == 2:
        return ast.OneOf(value, tuple(draw(st.lists(days, min_size=1, max_size=3))))
    return ast.Compare(value, draw(operators), draw(days))


def is_faded(value: ast.Value) -> bool:
    match value:
        case ast.Count(half_life=half_life) | ast.Sum(half_life=half_life):
            return half_life is not None
        case ast.Computed(name):
            return name in FADING_COMPUTED
        case _:
            return False


@st.composite
def entry_filters(draw: st.DrawFn, depth: int = 2) -> ast.Condition:
    name = draw(st.sampled_from(sorted(ENTRIES)))
    leaf = tests_of(ast.EntryField(LINES, name), ENTRIES[name], name)
    return draw(_joined(leaf, st.deferred(lambda: entry_filters(depth - 1)), depth))


@st.composite
def equal_entries(draw: st.DrawFn) -> ast.Condition:
    """Fields that are equal to something, alone or beside another test: an engine may answer without reading each entry."""
    names = draw(st.lists(st.sampled_from(("gift", "amount", "channel", "channel")), min_size=1, max_size=3))
    tests = tuple(
        ast.Compare(
            ast.EntryField(LINES, name), ast.Operator.EQ, draw(_bounds(ENTRIES[name], ast.Property(name), name))
        )
        for name in names
    )
    others = tuple(draw(st.lists(entry_filters(0), max_size=1)))
    return ast.And((*tests, *others)) if len(tests) + len(others) > 1 else tests[0]


any_entries = st.builds(ast.AnyEntry, st.just(LINES), entry_filters() | equal_entries())


@st.composite
def filters(draw: st.DrawFn, event: str, depth: int = 2) -> ast.Condition:
    name = draw(st.sampled_from(sorted(PROPERTIES[event])))
    leaf = tests_of(ast.Property(name), PROPERTIES[event][name], name)
    if event == TRIAL:
        leaf = leaf | any_entries
    return draw(_joined(leaf, st.deferred(lambda: filters(event, depth - 1)), depth))


@st.composite
def events(draw: st.DrawFn, *, is_windowed: bool = True) -> ast.Events:
    name = draw(st.sampled_from(sorted(PROPERTIES)))
    where = draw(st.none() | filters(name))
    return ast.Events(name, where, draw(windows(KEPT_DAYS[name])) if is_windowed else None)


@st.composite
def aggregates(draw: st.DrawFn) -> ast.Aggregate:
    found = draw(events())
    kind = draw(st.sampled_from((ast.Count, ast.Sum, ast.Average, ast.Least, ast.Greatest, ast.DaysSinceLast)))
    names = [name for name, kind in PROPERTIES[found.name].items() if kind is Kind.NUMBER]
    numeric = draw(st.sampled_from([*names, *([f"{LINES}.amount"] if found.name == TRIAL else [])]))
    half_life = draw(st.none() | durations(60))
    is_money = found.name != TRIAL
    currency = draw(st.sampled_from((None, None, *CURRENCIES, "JPY"))) if is_money else None
    match kind:
        case ast.Count:
            return ast.Count(found, half_life)
        case ast.Sum:
            return ast.Sum(found, numeric, half_life, currency=currency)
        case ast.DaysSinceLast:
            return ast.DaysSinceLast(found)
        case _:
            aggregate: ast.Aggregate = kind(found, numeric, currency=currency)
            return aggregate


@st.composite
def extremes(draw: st.DrawFn) -> ast.First | ast.Last:
    """The first or the last time of an event."""
    if draw(st.booleans()):
        return ast.Last(draw(events()))
    return ast.First(draw(events()))


@st.composite
def value_tests(draw: st.DrawFn) -> ast.Condition:
    kind = draw(st.sampled_from((Kind.NUMBER, Kind.NUMBER, Kind.NUMBER, *Kind)))
    source = draw(st.sampled_from(("stated", "computed", "events")))
    if kind is Kind.NUMBER:
        if source == "events":
            return draw(tests_of(draw(aggregates()), kind, ""))
        name = draw(st.sampled_from((*COMPUTED[kind], *FADING_COMPUTED))) if source == "computed" else STATED[kind]
    elif kind is Kind.TEXT:
        name = (
            draw(st.sampled_from(COMPUTED[kind]))
            if source == "computed"
            else draw(st.sampled_from(("country", "plan")))
        )
    elif kind is Kind.INSTANT and source == "events":
        return draw(tests_of(draw(extremes()), kind, ""))
    else:
        name = draw(st.sampled_from(COMPUTED[kind])) if source == "computed" else STATED[kind]
    value = ast.Computed(name) if source == "computed" else ast.Trait(name)
    return draw(tests_of(value, kind, name))


@st.composite
def sequences(draw: st.DrawFn) -> ast.Sequence:
    count = draw(st.integers(2, 3))
    steps = [ast.Step(draw(events(is_windowed=False)))]
    for at in range(1, count):
        is_absent = at == count - 1 and draw(st.booleans())
        steps.append(ast.Step(draw(events(is_windowed=False)), is_absent, draw(st.none() | durations(60))))
    return ast.Sequence(tuple(steps), draw(windows(KEPT_DAYS[steps[0].events.name])))


samples = st.builds(
    ast.Sample,
    st.sampled_from(tuple(map(Decimal, ("10", "50", "33.3333", "100")))),
    st.sampled_from(("a", "spring-test")),
)
leaves = st.one_of(
    value_tests(),
    value_tests(),
    value_tests(),
    st.builds(ast.Did, events()),
    sequences(),
    samples,
    st.sampled_from(("buyers", "visitors", "both")).map(ast.InSegment),
)


@st.composite
def _joined(
    draw: st.DrawFn, leaf: SearchStrategy[ast.Condition], below: SearchStrategy[ast.Condition], depth: int
) -> ast.Condition:
    shape = draw(st.sampled_from(("leaf", "leaf", "not", "and", "or"))) if depth > 0 else "leaf"
    if shape == "leaf":
        return draw(leaf)
    if shape == "not":
        return ast.Not(draw(below))
    terms = tuple(draw(st.lists(below, min_size=2, max_size=3)))
    return ast.And(terms) if shape == "and" else ast.Or(terms)


@st.composite
def programs(draw: st.DrawFn, depth: int = 3) -> ast.Condition:
    return draw(_joined(leaves, st.deferred(lambda: programs(depth - 1)), depth))


# --- each part of the language in its own family, so that none is left to chance ------------------


@st.composite
def values(draw: st.DrawFn, kind: Kind) -> tuple[ast.Value, str]:
    """A value of a kind, with the name that chooses its strings."""
    source = draw(st.sampled_from(("stated", "computed", "events")))
    if source == "events" and kind is Kind.NUMBER:
        return draw(aggregates()), ""
    if source == "events" and kind is Kind.INSTANT:
        return draw(extremes()), ""
    if source == "computed":
        name = draw(st.sampled_from(COMPUTED[kind] + (FADING_COMPUTED if kind is Kind.NUMBER else ())))
        return ast.Computed(name), name
    name = draw(st.sampled_from(("country", "plan"))) if kind is Kind.TEXT else STATED[kind]
    return ast.Trait(name), name


def _bounds(kind: Kind, value: ast.Value, name: str) -> SearchStrategy[ast.Literal]:
    match kind:
        case Kind.NUMBER:
            return st.sampled_from(FADED if is_faded(value) else NUMBERS).map(ast.Number)
        case Kind.TEXT:
            return texts(name).map(ast.Text)
        case Kind.BOOLEAN:
            return st.booleans().map(ast.Flag)
        case Kind.INSTANT:
            return days


@st.composite
def comparisons(draw: st.DrawFn, kind: Kind, operator: ast.Operator) -> ast.Condition:
    value, name = draw(values(kind))
    return ast.Compare(value, operator, draw(_bounds(kind, value, name)))


@st.composite
def lists(draw: st.DrawFn, kind: Kind) -> ast.Condition:
    value, name = draw(values(kind))
    return ast.OneOf(value, tuple(draw(st.lists(_bounds(kind, value, name), min_size=1, max_size=3))))


@st.composite
def ranges(draw: st.DrawFn, kind: Kind) -> ast.Condition:
    value, name = draw(values(kind))
    low, high = sorted(
        (draw(_bounds(kind, value, name)), draw(_bounds(kind, value, name))), key=lambda literal: literal.value
    )
    assert isinstance(low, ast.Number | ast.Day)
    assert isinstance(high, ast.Number | ast.Day)
    return ast.Between(value, low, high)


@st.composite
def texts_in(draw: st.DrawFn, node: type[ast.Contains] | type[ast.StartsWith]) -> ast.Condition:
    value, name = draw(values(Kind.TEXT))
    return node(value, draw(st.sampled_from((draw(texts(name))[:3], "o", "zz"))))


@st.composite
def presences(draw: st.DrawFn, node: type[ast.Exists] | type[ast.Known]) -> ast.Condition:
    return node(draw(values(draw(st.sampled_from(list(Kind)))))[0])


def aggregates_of(node: type[ast.Aggregate]) -> SearchStrategy[ast.Aggregate]:
    """Aggregates of one kind."""
    return aggregates().filter(lambda value: isinstance(value, node))


@st.composite
def nets(draw: st.DrawFn) -> ast.Net:
    """What remains of orders."""
    where, window = draw(st.none() | filters(ORDER)), draw(windows(KEPT_DAYS[ORDER]))
    return ast.Net(ast.Events(ORDER, where, window), "revenue", currency=draw(st.sampled_from((None, *CURRENCIES))))


ORDERED = (Kind.NUMBER, Kind.INSTANT)


def families() -> dict[str, SearchStrategy[ast.Condition]]:
    """Programs by what they are about; every one may also stand under `not`."""
    found: dict[str, SearchStrategy[ast.Condition]] = {
        f"{kind} {operator}": comparisons(kind, operator)
        for kind in Kind
        for operator in ast.Operator
        if kind in ORDERED or operator in (ast.Operator.EQ, ast.Operator.NE)
    }
    found |= {f"{kind} in": lists(kind) for kind in Kind}
    found |= {f"{kind} between": ranges(kind) for kind in ORDERED}
    found |= {
        "contains": texts_in(ast.Contains),
        "starts with": texts_in(ast.StartsWith),
        "within": values(Kind.INSTANT).flatmap(lambda pair: st.builds(ast.Recent, st.just(pair[0]), durations(400))),
        "exists": presences(ast.Exists),
        "known": presences(ast.Known),
        "did": st.builds(ast.Did, events()),
        "any": any_entries.flatmap(lambda where: st.builds(ast.Did, st.just(ast.Events(TRIAL, where)))),
        "not any": any_entries.flatmap(lambda where: st.builds(ast.Did, st.just(ast.Events(TRIAL, ast.Not(where))))),
        "sequence": sequences(),
        "sample": samples,
        "in segment": st.sampled_from(("buyers", "visitors", "both")).map(ast.InSegment),
    }
    found["net"] = nets().flatmap(lambda value: tests_of(value, Kind.NUMBER, ""))
    for node in (ast.Count, ast.Sum, ast.Average, ast.Least, ast.Greatest, ast.DaysSinceLast):
        found[node.__name__] = aggregates_of(node).flatmap(lambda value: tests_of(value, Kind.NUMBER, ""))
    return {
        name: st.tuples(family, st.booleans()).map(lambda pair: ast.Not(pair[0]) if pair[1] else pair[0])
        for name, family in found.items()
    }
