"""Text, condition and JSON form: conversions lose nothing, and invalid input is rejected."""

import json
from datetime import date
from decimal import Decimal

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdp.query.language import ast
from cdp.query.language.jsonform import from_json, json_schema, to_json
from cdp.query.language.lex import MAX_LENGTH
from cdp.query.language.parse import parse
from cdp.query.language.printer import write
from cdp.query.language.rejection import Rejection
from cdp.query.language.words import RESERVED
from tests.support.segment_strategies import families, programs

VALIDATOR = jsonschema_rs.validator_for(json_schema())

NORMATIVE = """
trait.country in ("DE", "FR") and trait.age >= 18
count("Order Completed", within 365 days) >= 3
sum("Order Completed".revenue, within 90 days) > 250
count("Product Viewed" where category = "shoes", within 30 days) >= 3
not did("Order Completed", within 14 days)
days_since_last("Order Completed") <= 14
sum("Order Completed".revenue, half_life 30 days) >= percentile 80
computed.engagement_score >= zscore 1.5
computed.monetary in quantile 5 of 5
sequence("Product Added", not "Order Completed" within 1 day)
first("Order Completed") between 2026-01-01 and 2026-03-31
in segment "high_value"
sample 10% by "spring-test"
""".strip().splitlines()

names = st.text(st.characters(min_codepoint=32, exclude_categories=("Cs", "Cc")), min_size=1, max_size=20)
odd_names = st.one_of(names, st.sampled_from(sorted(RESERVED)), st.just('a "quoted" \\ name'), st.just("dotted.name"))
numbers = st.decimals(-(10**14), 10**14, places=0) | st.decimals(-(10**6), 10**6, places=6)
literals = st.one_of(
    numbers.map(lambda number: ast.Number(number + 0)),
    odd_names.map(ast.Text),
    st.booleans().map(ast.Flag),
    st.dates(min_value=date(1900, 1, 1), max_value=date(2200, 12, 31)).map(ast.Day),
)


@st.composite
def odd_programs(draw: st.DrawFn) -> ast.Condition:
    """Programs with every kind of name, number and string, whether or not a policy knows them."""
    where = ast.Compare(ast.Property(draw(odd_names)), draw(st.sampled_from(list(ast.Operator))), draw(literals))
    events = ast.Events(draw(odd_names), draw(st.sampled_from((None, where, ast.Not(where)))))
    values: tuple[ast.Value, ...] = (
        ast.Trait(draw(odd_names)),
        ast.Computed(draw(odd_names)),
        ast.Sum(events, draw(odd_names), currency=draw(st.sampled_from((None, "EUR", "ALL")))),
        ast.Net(events, draw(odd_names), currency=draw(st.sampled_from((None, "XTS")))),
    )
    value = draw(st.sampled_from(values))
    rankings: tuple[ast.Condition, ...] = (
        ast.Percentile(value, ast.Operator.GE, Decimal(80)),
        ast.ZScore(value, ast.Operator.LT, Decimal("-1.5")),
        ast.Quantile(value, 5, 5),
        ast.InSegment(draw(odd_names)),
        ast.Sample(Decimal("0.0001"), draw(odd_names)),
    )
    ranking = draw(st.sampled_from(rankings))
    return ast.And((ast.Compare(value, ast.Operator.NE, draw(literals)), ranking, ast.Did(events)))


@pytest.mark.parametrize("line", NORMATIVE)
def test_the_normative_examples_are_canonical(line: str) -> None:
    condition = parse(line)
    assert not isinstance(condition, Rejection)
    assert write(condition) == line


@settings(max_examples=300, deadline=None)
@given(st.one_of(programs(), odd_programs(), *families().values()))
def test_text_and_json_lose_nothing_in_either_direction(condition: ast.Condition) -> None:
    text = write(condition)
    parsed = parse(text)
    assert not isinstance(parsed, Rejection)
    assert parsed == condition
    form = json.loads(json.dumps(to_json(condition)))
    assert from_json(form) == condition
    assert VALIDATOR.is_valid(form)
    assert write(parsed) == text


@settings(max_examples=300, deadline=None)
@given(programs(), st.data())
def test_spelling_does_not_matter(condition: ast.Condition, data: st.DataObject) -> None:
    """White space between tokens and the case of key words are free."""
    text = write(condition)
    spaced = text.replace(" ", data.draw(st.sampled_from(("  ", "\n", "\t ")))) if '"' not in text else text
    spelled = spaced.replace(" and ", " AND ").replace("count(", "Count( ")
    assert parse(spelled) == condition


@settings(max_examples=400, deadline=None)
@given(programs(), st.data())
def test_a_damaged_text_is_rejected_at_a_position_within_it(condition: ast.Condition, data: st.DataObject) -> None:
    text = write(condition)
    at = data.draw(st.integers(0, len(text)))
    damage = data.draw(st.sampled_from(("", "(", ")", '"', " and ", "€", "9", "not ", ",", "\\", "\x00", " = ")))
    damaged = text[:at] + damage + text[at + data.draw(st.integers(0, 3)) :]
    found = parse(damaged)
    if isinstance(found, Rejection):
        assert 0 <= found.position <= len(damaged)
        assert found.message
        assert "^ " + found.message in found.pointed(damaged)
    else:
        assert parse(write(found)) == found


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_parsed_or_rejected(text: str) -> None:
    found = parse(text)
    assert isinstance(found, Rejection) or parse(write(found)) == found


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(("is", "terms", "value", "operator", "literal", "events", "name", "date")),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(JSON)
def test_any_json_is_parsed_or_rejected(form: object) -> None:
    found = from_json(form)
    assert isinstance(found, Rejection) or to_json(found) == form


@settings(max_examples=200, deadline=None)
@given(programs(), st.data())
def test_the_schema_accepts_what_the_json_reader_accepts(condition: ast.Condition, data: st.DataObject) -> None:
    """Leave a field out, or put something else in its place: reader and schema agree that it is not a condition."""
    form = to_json(condition)
    name = data.draw(st.sampled_from(sorted(form)))
    if data.draw(st.booleans()):
        del form[name]
    else:
        form[name] = data.draw(st.sampled_from((None, 7, "x", [], {}, {"is": "and"})))
    found = from_json(form)
    if not isinstance(found, Rejection):
        assert VALIDATOR.is_valid(form)


DEEP = "(" * 40 + "trait.x = 1" + ")" * 40
REJECTED = [
    ("", 0, "expected a condition, found the end of the text"),
    ("trait.age >", 11, "expected a value, found the end of the text"),
    ("trait.age > 1 trait.b = 2", 14, "unexpected `trait`"),
    ("trait.age > 1)", 13, "unexpected `)`"),
    ("trait age > 1", 6, "expected ., found `age`"),
    ("trait.age = 'x'", 12, "' is not part of the language"),
    ('trait.name = "x', 13, "this string is not terminated"),
    ("country = 1", 0, "a condition cannot start with `country`"),
    ('"Order Completed" >= 1', 0, "a condition cannot start with a string"),
    ('count("X" within 3 days) > 1', 10, "expected ), found `within`"),
    ('count("X", within 1.5 days) > 1', 18, "a duration such as 30 days must be a whole number"),
    ('count("X", within 0 days) > 1', 18, "a duration must be from 1 minute to 20 years"),
    ('count("X", within 3 days, within 4 days) > 1', 26, "unexpected `within`"),
    ('did("X", half_life 3 days)', 9, "half_life applies to count and sum only"),
    ('count("X".y) > 1', 9, "this counts events, not a property"),
    ('sum("X") > 1', 7, "expected ., found `)`"),
    ('did("X" where count("Y") > 1)', 14, "`count` cannot be used in an event filter"),
    ('did("X" where y = 1 and in segment "z")', 24, "`in` cannot be used in an event filter"),
    (
        'first("X") between 2026-03-01 and 2026-01-01',
        0,
        "between requires two numbers or two dates, the smaller one first",
    ),
    ('did("X", between 2026-03-01 and 2026-01-01)', 9, "a date range must not end before it begins"),
    ("trait.d = 2026-02-30", 10, "2026-02-30 is not a valid date"),
    ("trait.d = 2026-1-1", 10, "this is neither a number nor a date"),
    ("trait.x in ()", 12, "expected a value, found `)`"),
    ('trait.x in (1, "a")', 0, "the values of a list must be of one type"),
    ("trait.x = 1234567890123456", 10, "a number must not have more than 15 digits"),
    ('sample 0% by "x"', 0, "a sample must be more than 0% and at most 100%, with at most four decimal places"),
    ('sample 10 by "x"', 10, "expected %, found `by`"),
    ('sequence("A")', 0, "a sequence must have from 2 to 8 steps"),
    ('sequence(not "A", "B")', 0, "a sequence must start with an event, without `not` and without `within`"),
    ('sequence("A", not "B", "C")', 0, "only the last step of a sequence may be a `not`"),
    ('sequence("A", "B", within 3 days, "C")', 34, "nothing may follow the window of a sequence"),
    ("trait.x in quantile 6 of 5", 0, "a quantile must be a bucket from 1 to n, of 2 to 100 buckets"),
    ("trait.x >= percentile 101", 0, "a percentile must be from 0 to 100"),
    ("trait.x between true and false", 16, "the first bound of between must be a number or a date"),
    ("trait.x starts 1", 15, "expected with, found `1`"),
    (DEEP, 31, "this is nested too deeply"),
    ("x" * (MAX_LENGTH + 1), MAX_LENGTH, f"the text has {MAX_LENGTH + 1} characters"),
]


@pytest.mark.parametrize(("text", "position", "message"), REJECTED)
def test_rejections_point_at_the_character(text: str, position: int, message: str) -> None:
    found = parse(text)
    assert isinstance(found, Rejection)
    assert (found.position, found.message) == (position, message)


def test_every_rejection_of_the_parser_describes_the_remedy() -> None:
    of_shape = {
        "between requires",
        "a date range",
        "a duration",
        "the values",
        "a number",
        "a sample",
        "a sequence",
        "only the",
        "a quantile",
        "a percentile",
    }
    for text, _, message in REJECTED:
        found = parse(text)
        assert isinstance(found, Rejection)
        assert found.hint or any(message.startswith(begin) for begin in of_shape), message


def test_the_caret_stands_under_the_place_in_its_line() -> None:
    text = "trait.a = 1\n\tand trait.b == 2"
    found = parse(text)
    assert isinstance(found, Rejection)
    assert (
        found.pointed(text)
        == "2 | \tand trait.b == 2\n    \t            ^ == is not part of the language\nwrite = to compare"
    )


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ('cuont("X") > 1', "did you mean count?"),
        ('day_since_last("X") > 1', "did you mean days_since_last?"),
        ("traits.age > 1", "did you mean trait?"),
        ("age > 1", "write a trait as trait.age"),
        ('did("X", within 3 wekes)', "did you mean weeks?"),
    ],
)
def test_typing_errors_get_a_suggestion(wrong: str, hint: str) -> None:
    found = parse(wrong)
    assert isinstance(found, Rejection)
    assert found.hint == hint


JSON_REJECTED = [
    (7, "/: number is not allowed here; expected one of and, any_entry, between,"),
    ([7], "/: expected a node, which is an object with `is`"),
    ({"is": "nothing"}, "/: expected a node, which is an object with `is`"),
    ({"is": "trait", "name": "x"}, "/: trait is not allowed here"),
    ({"is": "did"}, "/: did requires the field events"),
    ({"is": "did", "events": {"is": "events", "name": "X"}, "at": 3}, "/: did has no field at; its fields are events"),
    (
        {"is": "did", "events": {"is": "events", "name": ""}},
        "/events: an event name must have from 1 to 200 characters",
    ),
    ({"is": "did", "events": {"is": "events", "name": 3}}, "/events/name: expected a string"),
    (
        {"is": "and", "terms": [{"is": "did", "events": {"is": "events", "name": "X"}}]},
        "/: and/or must join from 2 to 200 conditions",
    ),
    (
        {"is": "compare", "value": {"is": "trait", "name": "x"}, "operator": ">", "literal": {"date": "2026-02-30"}},
        "/literal: day is out of range for month",
    ),
    (
        {"is": "recent", "value": {"is": "trait", "name": "x"}, "duration": {"years": 1}},
        '/duration: write a duration as {"days": 30}, in minutes, hours, days or weeks',
    ),
    (
        {"is": "did", "events": {"is": "events", "name": "X", "where": {"is": "in_segment", "key": "x"}}},
        "/events: an event filter can only read properties of the event",
    ),
]


@pytest.mark.parametrize(("form", "message"), JSON_REJECTED)
def test_an_invalid_json_form_is_rejected_with_its_place(form: object, message: str) -> None:
    found = from_json(form)
    assert isinstance(found, Rejection)
    assert found.message.startswith(message)


def test_deep_and_huge_json_is_rejected() -> None:
    leaf: object = {"is": "sample", "percent": 1, "seed": "x"}
    deep = leaf
    for _ in range(500):
        deep = {"is": "not", "term": deep}
    huge = {"is": "and", "terms": [{"is": "and", "terms": [leaf] * 200}] * 200}
    for form in (deep, huge):
        assert isinstance(from_json(form), Rejection)
