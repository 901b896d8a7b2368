"""The rules for events: names, filters, and the arguments of aggregates.

events     = string [ "where" filter ]
arguments  = string [ "." name ] [ "where" filter ] { "," window | "," "half_life" duration }
filter     = a condition in which every value is a property: a bare name, or property.name
name       = word { "." word } | string
"""

from dataclasses import dataclass

from cdp.query.language.ast import Condition, Duration, Events, Property, Window
from cdp.query.language.cursor import Cursor, build
from cdp.query.language.lex import LexemeKind, Rejected
from cdp.query.language.parse_literals import duration, window
from cdp.query.language.parse_logic import LogicParser
from cdp.query.language.words import RESERVED


@dataclass(frozen=True, slots=True)
class Arguments:
    """What the parentheses of an aggregate contain."""

    events: Events
    property: str | None
    half_life: Duration | None


def name(cursor: Cursor, what: str) -> str:
    """A name after a dot; `what` describes it in the message."""
    if cursor.token.kind is LexemeKind.STRING:
        return cursor.advance().text
    parts = [_word(cursor, what)]
    while cursor.is_symbol(".") and cursor.following.kind is LexemeKind.WORD:
        cursor.advance()
        parts.append(_word(cursor, what))
    return ".".join(parts)


def events_of_step(cursor: Cursor, depth: int) -> Events:
    """An event name with its filter, without a window."""
    at = cursor.token.at
    event = cursor.expect_string("the name of an event")
    return build(at, Events, event, _filter(cursor, depth))


def arguments(cursor: Cursor, depth: int, *, requires_property: bool, allows_half_life: bool) -> Arguments:
    """The arguments of an aggregate or of `did`, and the closing parenthesis."""
    at = cursor.token.at
    event = cursor.expect_string("the name of an event")
    prop = _property_of(cursor, event, is_required=requires_property)
    where = _filter(cursor, depth)
    found: Window | None = None
    half_life: Duration | None = None
    while cursor.accept_symbol(","):
        here = cursor.token.at
        if half_life is None and cursor.token.word == "half_life":
            if not allows_half_life:
                raise cursor.rejected("half_life applies to count and sum only", "delete it")
            cursor.advance()
            half_life = duration(cursor)
        elif found is None and (found := window(cursor)) is not None:
            continue
        else:
            hint = "continue with one within …, between … or half_life …"
            raise Rejected(here, f"unexpected {cursor.shown}", hint)
    cursor.expect_symbol(")", "close the parenthesis, or continue with `, within 30 days`")
    return Arguments(build(at, Events, event, where, found), prop, half_life)


def _filter(cursor: Cursor, depth: int) -> Condition | None:
    if not cursor.accept_word("where"):
        return None
    return LogicParser(cursor, lambda _depth: _property(cursor), forms={}).condition(depth + 1)


def _property(cursor: Cursor) -> Property:
    token = cursor.token
    if token.kind is not LexemeKind.WORD:
        raise cursor.rejected(f"expected a property, found {cursor.shown}", "name a property of the event")
    if token.word == "property" and cursor.following.text == ".":
        cursor.advance()
        cursor.advance()
    elif token.word in RESERVED:
        hint = f"write a property of that name as property.{token.text}"
        raise cursor.rejected(f"`{token.text}` cannot be used in an event filter", hint)
    return build(token.at, Property, name(cursor, "the name of a property"))


def _property_of(cursor: Cursor, event: str, *, is_required: bool) -> str | None:
    if is_required:
        cursor.expect_symbol(".", f'name the property: "{event}".revenue')
        return name(cursor, "the name of a property")
    if cursor.is_symbol("."):
        raise cursor.rejected("this counts events, not a property", "use sum, average, min or max for a property")
    return None


def _word(cursor: Cursor, what: str) -> str:
    if cursor.token.kind is not LexemeKind.WORD:
        hint = "write a name, in double quotes if it contains spaces"
        raise cursor.rejected(f"expected {what}, found {cursor.shown}", hint)
    return cursor.advance().text
