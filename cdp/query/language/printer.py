"""From a condition to its canonical text: the one way in which a tree is written."""

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import assert_never

from cdp.query.language.ast import (
    And,
    AnyEntry,
    Average,
    Between,
    Compare,
    Computed,
    Condition,
    Contains,
    Count,
    Day,
    DaysSinceLast,
    Did,
    Duration,
    During,
    EntryField,
    Events,
    Exists,
    First,
    Flag,
    Greatest,
    InSegment,
    Known,
    Last,
    Least,
    Literal,
    Net,
    Node,
    Not,
    Number,
    OfProperty,
    OneOf,
    Or,
    Percentile,
    Property,
    Quantile,
    Recent,
    Sample,
    Sequence,
    StartsWith,
    Step,
    Sum,
    Text,
    Trait,
    Value,
    Window,
    Within,
    ZScore,
)
from cdp.query.language.words import RESERVED

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")


def write(condition: Condition) -> str:
    """The canonical text; parsing it gives the same tree."""
    match condition:
        case And(terms):
            return " and ".join(_operand(term) for term in terms)
        case Or(terms):
            return " or ".join(_operand(term) for term in terms)
        case Not(term):
            return f"not {_operand(term)}"
        case Did(events):
            return f"did({_events(events)})"
        case Sequence(steps, window):
            return f"sequence({', '.join([*map(_step, steps), *_window(window)])})"
        case InSegment(key):
            return f"in segment {quoted(key)}"
        case Sample(percent, seed):
            return f"sample {number(percent)}% by {quoted(seed)}"
        case AnyEntry(of, where):
            return f"any {_name(of)} where {_operand(where)}"
        case Compare() | OneOf() | Contains() | StartsWith() | Between() | Recent() | Exists() | Known():
            return _test(condition)
        case Percentile() | ZScore() | Quantile():
            return _ranking(condition)
        case _:
            assert_never(condition)


def write_value(value: Value) -> str:
    """The canonical text of a value."""
    match value:
        case Trait(name):
            return f"trait.{_name(name)}"
        case Computed(name):
            return f"computed.{_name(name)}"
        case Property(name) | EntryField(_, name):
            is_bare = _PLAIN.fullmatch(name) is not None and name.split(".")[0].lower() not in RESERVED
            return name if is_bare else f"property.{_name(name)}"
        case Count(events, half_life):
            return f"count({_events(events, half_life=half_life)})"
        case Sum() | Net() | Average() | Least() | Greatest():
            return _of_property(value)
        case DaysSinceLast(events):
            return f"days_since_last({_events(events)})"
        case First(events):
            return f"first({_events(events)})"
        case Last(events):
            return f"last({_events(events)})"
        case _:
            assert_never(value)


def number(value: Decimal) -> str:
    """A number without exponent and without trailing zeros."""
    text = format(value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def quoted(text: str) -> str:
    """A string in double quotes."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def duration(length: Duration) -> str:
    """A duration, as `1 day` or `30 days`."""
    return f"{length.count} {length.unit.value}{'' if length.count == 1 else 's'}"


def _test(node: Compare | OneOf | Contains | StartsWith | Between | Recent | Exists | Known) -> str:
    value = write_value(node.value)
    match node:
        case Compare(_, operator, literal):
            return f"{value} {operator.value} {_literal(literal)}"
        case OneOf(_, literals):
            return f"{value} in ({', '.join(map(_literal, literals))})"
        case Contains(_, text):
            return f"{value} contains {quoted(text)}"
        case StartsWith(_, text):
            return f"{value} starts with {quoted(text)}"
        case Between(_, low, high):
            return f"{value} between {_literal(low)} and {_literal(high)}"
        case Recent(_, length):
            return f"{value} within {duration(length)}"
        case Exists():
            return f"exists {value}"
        case Known():
            return f"known {value}"
        case _:
            assert_never(node)


def _ranking(node: Percentile | ZScore | Quantile) -> str:
    value = write_value(node.value)
    match node:
        case Percentile(_, operator, rank):
            return f"{value} {operator.value} percentile {number(rank)}"
        case ZScore(_, operator, score):
            return f"{value} {operator.value} zscore {number(score)}"
        case Quantile(_, bucket, of):
            return f"{value} in quantile {bucket} of {of}"
        case _:
            assert_never(node)


def _operand(term: Condition) -> str:
    """An operand; a filter of entries that has no parentheses of its own gets some, so that what follows is not part of it."""
    is_open = isinstance(term, And | Or) or (isinstance(term, AnyEntry) and not isinstance(term.where, And | Or))
    return f"({write(term)})" if is_open else write(term)


_AGGREGATES: Mapping[type[OfProperty], str] = {
    Sum: "sum",
    Net: "net",
    Average: "average",
    Least: "min",
    Greatest: "max",
}


def _of_property(value: OfProperty) -> str:
    currency = "" if value.currency is None else f" in {value.currency}"
    half_life = value.half_life if isinstance(value, Sum) else None
    return f"{_AGGREGATES[type(value)]}({_events(value.events, f'.{_name(value.property)}{currency}', half_life)})"


def _events(events: Events, prop: str = "", half_life: Duration | None = None) -> str:
    text = quoted(events.name) + prop
    if events.where is not None:
        text += f" where {write(events.where)}"
    decay = [f"half_life {duration(half_life)}"] if half_life is not None else []
    return ", ".join([text, *_window(events.window), *decay])


def _step(step: Step) -> str:
    within = f" within {duration(step.within)}" if step.within is not None else ""
    return f"{'not ' if step.is_absent else ''}{_events(step.events)}{within}"


def _window(window: Window | None) -> list[str]:
    match window:
        case None:
            return []
        case Within(length):
            return [f"within {duration(length)}"]
        case During(first, last):
            return [f"between {_literal(first)} and {_literal(last)}"]
        case _:
            assert_never(window)


def _literal(literal: Literal) -> str:
    match literal:
        case Number(value):
            return number(value)
        case Text(value):
            return quoted(value)
        case Flag(value):
            return "true" if value else "false"
        case Day(value):
            return day(value)
        case _:
            assert_never(literal)


def day(value: date) -> str:
    """A date, as `2026-01-31`."""
    return value.isoformat()


def _name(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else quoted(name)


PARTS: tuple[type[Node], ...] = (Step, Events, Within, During, Duration)
"""Nodes that are only written inside others."""
