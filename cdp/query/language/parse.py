"""From text to condition: recursive descent, one function a rule.

    condition  = all { "or" all }
    all        = one { "and" one }
    one        = "not" one | "(" condition ")" | did | sequence | exists | known | in segment | sample | test
    test       = value ( operator bound | [ "not" ] "in" list | "contains" string | "starts" "with" string
                       | "between" literal "and" literal | "within" duration | "before" date | "after" date )

The logic and the tests, which filters of events share, are in `parse_logic`; values, events and literals in
`parse_values`, `parse_events` and `parse_literals`. A rejection points at the character and describes the remedy.
"""

from collections.abc import Callable

from cdp.query.language.ast import Condition, Did, InSegment, Sample, Sequence, Step, Window
from cdp.query.language.cursor import Cursor, build
from cdp.query.language.lex import Rejected, tokens
from cdp.query.language.parse_events import arguments, events_of_step
from cdp.query.language.parse_literals import duration, window
from cdp.query.language.parse_logic import LogicParser
from cdp.query.language.parse_values import value
from cdp.query.language.rejection import Rejection


def parse(text: str) -> Condition | Rejection:
    """Parse a text; a rejection is a value."""
    try:
        cursor = Cursor(tokens(text))
        condition = _conditions(cursor).condition(depth=0)
        cursor.expect_end()
    except Rejected as rejected:
        return rejected.rejection
    return condition


def _conditions(cursor: Cursor) -> LogicParser:
    forms: dict[str, Callable[[int, int], Condition]] = {
        "did": lambda at, depth: _did(cursor, at, depth),
        "sequence": lambda at, depth: _sequence(cursor, at, depth),
        "in": lambda at, _depth: _in_segment(cursor, at),
        "sample": lambda at, _depth: _sample(cursor, at),
    }
    return LogicParser(cursor, lambda depth: value(cursor, depth), forms)


def _did(cursor: Cursor, at: int, depth: int) -> Condition:
    cursor.expect_symbol("(", 'write did("Event")')
    found = arguments(cursor, depth, requires_property=False, allows_half_life=False)
    return build(at, Did, found.events)


def _in_segment(cursor: Cursor, at: int) -> Condition:
    cursor.expect_word("segment", 'write in segment "key"')
    return build(at, InSegment, cursor.expect_string("the key of the segment"))


def _sample(cursor: Cursor, at: int) -> Condition:
    percent = cursor.expect_number("a percentage such as 10%")
    cursor.expect_symbol("%", 'write the share in percent: sample 10% by "seed"')
    cursor.expect_word("by", 'name a seed, so that the sample stays the same: sample 10% by "seed"')
    return build(at, Sample, percent, cursor.expect_string("a seed"))


def _sequence(cursor: Cursor, at: int, depth: int) -> Condition:
    cursor.expect_symbol("(", 'write sequence("First", "Next" within 1 day)')
    steps: list[Step] = [_step(cursor, depth)]
    found: Window | None = None
    while cursor.accept_symbol(","):
        if found is not None:
            raise cursor.rejected("nothing may follow the window of a sequence", "put the window last")
        found = window(cursor)
        if found is None:
            steps.append(_step(cursor, depth))
    cursor.expect_symbol(")", "close the sequence")
    return build(at, Sequence, tuple(steps), found)


def _step(cursor: Cursor, depth: int) -> Step:
    at = cursor.token.at
    is_absent = cursor.accept_word("not")
    events = events_of_step(cursor, depth)
    within = duration(cursor) if cursor.accept_word("within") else None
    return build(at, Step, events, is_absent, within)
