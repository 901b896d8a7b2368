"""The rules for literals, durations and windows."""

import difflib
from datetime import date
from decimal import Decimal

from cdp.query.language.ast import Day, Duration, During, Flag, Literal, Number, Text, Unit, Window, Within
from cdp.query.language.cursor import Cursor, build
from cdp.query.language.lex import Lexeme, LexemeKind, Rejected
from cdp.query.language.words import RESERVED, UNITS


def literal(cursor: Cursor) -> Literal:
    """literal = string | number | date | "true" | "false" """
    token = cursor.token
    match token.kind:
        case LexemeKind.STRING:
            cursor.advance()
            return build(token.at, Text, token.text)
        case LexemeKind.NUMBER:
            cursor.advance()
            return build(token.at, Number, Decimal(token.text))
        case LexemeKind.DATE:
            cursor.advance()
            return build(token.at, Day, _date(token))
        case LexemeKind.WORD if token.word in ("true", "false"):
            cursor.advance()
            return Flag(token.word == "true", at=token.at)
        case LexemeKind.WORD if token.word not in RESERVED:
            hint = f'write strings in double quotes: "{token.text}"'
            raise cursor.rejected(f"{cursor.shown} is not a value", hint)
        case _:
            raise cursor.rejected(f"expected a value, found {cursor.shown}", 'write 12, "text", true or 2026-01-31')


def bound(cursor: Cursor, position: str) -> Number | Day:
    """A bound of `between`: a number or a date; `position` is "first" or "last", for the message."""
    at = cursor.token.at
    found = literal(cursor)
    if isinstance(found, Number | Day):
        return found
    raise Rejected(
        at,
        f"the {position} bound of between must be a number or a date",
        "write between 1 and 5, or between 2026-01-01 and 2026-03-31",
    )


def day(cursor: Cursor) -> Day:
    at = cursor.token.at
    found = literal(cursor)
    if not isinstance(found, Day):
        raise Rejected(at, "expected a date", "write it as 2026-01-31")
    return found


def duration(cursor: Cursor) -> Duration:
    """duration = number ( "minutes" | "hours" | "days" | "weeks" )"""
    at = cursor.token.at
    count = cursor.expect_whole("a duration such as 30 days")
    if cursor.token.word not in UNITS:
        close = difflib.get_close_matches(cursor.token.word, UNITS, 1)
        hint = f"did you mean {close[0]}?" if close else "durations are in minutes, hours, days or weeks"
        raise cursor.rejected(f"expected a unit of time, found {cursor.shown}", hint)
    unit = Unit(cursor.advance().word.removesuffix("s"))
    return build(at, Duration, count, unit)


def window(cursor: Cursor) -> Window | None:
    """window = "within" duration | "between" date "and" date; None when there is none at the cursor."""
    at = cursor.token.at
    if cursor.accept_word("within"):
        return Within(duration(cursor), at=at)
    if cursor.accept_word("between"):
        first = day(cursor)
        cursor.expect_word("and", "write between 2026-01-01 and 2026-03-31")
        return build(at, During, first, day(cursor))
    return None


def _date(token: Lexeme) -> date:
    try:
        return date.fromisoformat(token.text)
    except ValueError:
        raise Rejected(token.at, f"{token.text} is not a valid date", "write a date as 2026-01-31") from None
