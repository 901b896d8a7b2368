"""The rules for values outside filters: traits, computed traits, and aggregates of events.

value      = "trait" "." name | "computed" "." name | aggregate "(" arguments ")"
"""

import difflib
from typing import Final

from cdp.query.language.ast import (
    Average,
    Computed,
    Count,
    DaysSinceLast,
    First,
    Greatest,
    Last,
    Least,
    Net,
    Sum,
    Trait,
    Value,
)
from cdp.query.language.cursor import Cursor, build
from cdp.query.language.lex import Lexeme, LexemeKind, Rejected
from cdp.query.language.parse_events import arguments, name
from cdp.query.language.words import AGGREGATES, ANY_HINT, CONDITION_STARTS, RESERVED, WITH_HALF_LIFE, WITH_PROPERTY

_SIMILARITY_MIN: Final = 0.7


def value(cursor: Cursor, depth: int) -> Value:
    """The value at the cursor; Rejected, with a suggestion, when there is none."""
    token = cursor.token
    if token.word == "trait":
        cursor.advance()
        cursor.expect_symbol(".", "write trait.name")
        return build(token.at, Trait, name(cursor, "the name of a trait"))
    if token.word == "computed":
        cursor.advance()
        cursor.expect_symbol(".", "write computed.name")
        return build(token.at, Computed, name(cursor, "the name of a computed trait"))
    if token.word in AGGREGATES:
        return _aggregate(cursor, token, depth)
    raise _no_value(cursor, token)


def _aggregate(cursor: Cursor, token: Lexeme, depth: int) -> Value:
    word = token.word
    cursor.advance()
    cursor.expect_symbol("(", f'write {word}("Event"…)')
    found = arguments(cursor, depth, requires_property=word in WITH_PROPERTY, allows_half_life=word in WITH_HALF_LIFE)
    events, prop = found.events, found.property or ""
    match word:
        case "count":
            return build(token.at, Count, events, found.half_life)
        case "sum":
            return build(token.at, Sum, events, prop, found.half_life, currency=found.currency)
        case "net":
            return build(token.at, Net, events, prop, currency=found.currency)
        case "average":
            return build(token.at, Average, events, prop, currency=found.currency)
        case "min":
            return build(token.at, Least, events, prop, currency=found.currency)
        case "max":
            return build(token.at, Greatest, events, prop, currency=found.currency)
        case "days_since_last":
            return build(token.at, DaysSinceLast, events)
        case "first":
            return build(token.at, First, events)
        case _:
            return build(token.at, Last, events)


def _no_value(cursor: Cursor, token: Lexeme) -> Rejected:
    if token.word == "any":
        return cursor.rejected("`any` can only be used in an event filter", ANY_HINT)
    if token.kind is LexemeKind.WORD and token.word not in RESERVED:
        after = cursor.following
        is_call = after.text in ("(", ".") or after.kind in (LexemeKind.STRING, LexemeKind.WORD)
        close = difflib.get_close_matches(token.word, CONDITION_STARTS, 1, _SIMILARITY_MIN) if is_call else []
        hint = f"did you mean {close[0]}?" if close else f"write a trait as trait.{token.text}"
        return cursor.rejected(f"a condition cannot start with `{token.text}`", hint)
    if token.kind is LexemeKind.STRING:
        hint = f'to count an event, write count("{token.text}") >= 1, or did("{token.text}")'
        return cursor.rejected("a condition cannot start with a string", hint)
    hint = "start with trait., computed., count(…), did(…), not or ("
    return cursor.rejected(f"expected a condition, found {cursor.shown}", hint)
