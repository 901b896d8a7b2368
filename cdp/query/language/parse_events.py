"""The rules for events: names, filters, and the arguments of aggregates.

events     = string [ "where" filter ]
arguments  = string [ "." name [ "in" currency ] ] [ "where" filter ] { "," window | "," "half_life" duration }
filter     = a condition in which every value is a property: a bare name, or property.name;
             "any" name "where" one is a condition on the entries of a list, in which every value is a field of an entry
name       = word { "." word } | string
"""

from dataclasses import dataclass, replace

from cdp.query.language.ast import (
    CURRENCY,
    And,
    AnyEntry,
    Condition,
    Did,
    Duration,
    EntryField,
    Events,
    InSegment,
    Not,
    Or,
    Property,
    Sample,
    Sequence,
    Window,
)
from cdp.query.language.cursor import Cursor, build
from cdp.query.language.lex import LexemeKind, Rejected
from cdp.query.language.parse_literals import duration, window
from cdp.query.language.parse_logic import LogicParser
from cdp.query.language.printer import write
from cdp.query.language.words import RESERVED


@dataclass(frozen=True, slots=True)
class Arguments:
    """What the parentheses of an aggregate contain."""

    events: Events
    property: str | None
    currency: str | None
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
    currency = _currency(cursor) if prop is not None and cursor.accept_word("in") else None
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
    return Arguments(build(at, Events, event, where, found), prop, currency, half_life)


def _filter(cursor: Cursor, depth: int) -> Condition | None:
    if not cursor.accept_word("where"):
        return None
    return _filter_parser(cursor).condition(depth + 1)


def _filter_parser(cursor: Cursor) -> LogicParser:
    forms = {"any": lambda at, depth: _any_entry(cursor, at, depth)}
    return LogicParser(cursor, lambda _depth: _property(cursor), forms)


def _property(cursor: Cursor) -> Property:
    at = cursor.token.at
    return build(at, Property, _field_name(cursor, "a property", "an event filter"))


def _any_entry(cursor: Cursor, at: int, depth: int) -> Condition:
    """The rest of `any NAME where …`: one test, or a condition in parentheses.

    An event and its entries may have fields of one name, so that what follows a test without parentheses could be about
    either: it is refused.
    """
    of = name(cursor, "the name of a list")
    cursor.expect_word("where", f'name a field of its entries: any {of} where sku = "MUG-1"')
    fields = LogicParser(cursor, lambda _depth: _entry_field(cursor, of), forms={})
    is_grouped = cursor.is_symbol("(")
    found = build(at, AnyEntry, of, fields.one(depth + 1))
    if not is_grouped and cursor.token.word in ("and", "or"):
        raise _ambiguous(cursor, found, depth)
    return found


def _entry_field(cursor: Cursor, of: str) -> EntryField:
    at = cursor.token.at
    return build(at, EntryField, of, _field_name(cursor, f"a field of {of}", f"a filter of the entries of {of}"))


def _field_name(cursor: Cursor, what: str, where: str) -> str:
    token = cursor.token
    if token.kind is not LexemeKind.WORD:
        raise cursor.rejected(f"expected {what}, found {cursor.shown}", f"name {what}")
    if token.word == "property" and cursor.following.text == ".":
        cursor.advance()
        cursor.advance()
    elif token.word in RESERVED:
        hint = f"write {what} with that name as property.{token.text}"
        raise cursor.rejected(f"`{token.text}` cannot be used in {where}", hint)
    return name(cursor, f"the name of {what}")


def _ambiguous(cursor: Cursor, found: AnyEntry, depth: int) -> Rejected:
    """The rejection of `and` or `or` after a test without parentheses, with both readings as the hint."""
    word, at = cursor.token.word, cursor.token.at
    message = f"`{word}` can continue the filter of the entries of {found.of}, or that of the event"

    def join(*terms: Condition) -> Condition:
        return build(at, And, terms) if word == "and" else build(at, Or, terms)

    try:
        terms = _filter_parser(cursor).further(depth, word)
        beside = write(join(found, *terms))
        within = [entry for term in terms if (entry := _of_entries(term, found.of)) is not None]
        readings = [beside]
        if len(within) == len(terms):
            readings.insert(0, write(build(at, AnyEntry, found.of, join(found.where, *within))))
    except Rejected:
        readings = [f"any {found.of} where (…)", f"(any {found.of} where …) {word} …"]
    return Rejected(at, message, f"write {', or '.join(readings)}")


def _of_entries(node: Condition, of: str) -> Condition | None:
    """The same condition about the entries of a list instead of the event; None if it is about lists itself."""
    match node:
        case AnyEntry():
            return None
        case Not(term):
            inner = _of_entries(term, of)
            return None if inner is None else Not(inner)
        case And(terms) | Or(terms):
            found = tuple(inner for term in terms if (inner := _of_entries(term, of)) is not None)
            return None if len(found) < len(terms) else type(node)(found)
        case Did() | Sequence() | InSegment() | Sample():
            return None
        case _:
            assert isinstance(node.value, Property)
            return replace(node, value=EntryField(of, node.value.name))


def _property_of(cursor: Cursor, event: str, *, is_required: bool) -> str | None:
    if is_required:
        cursor.expect_symbol(".", f'name the property: "{event}".revenue')
        return name(cursor, "the name of a property")
    if cursor.is_symbol("."):
        raise cursor.rejected("this counts events, not a property", "use sum, average, min or max for a property")
    return None


def _currency(cursor: Cursor) -> str:
    if not CURRENCY.fullmatch(cursor.token.text):
        hint = "write three capital letters, as ISO 4217 has them"
        raise cursor.rejected(f"expected a currency such as EUR, found {cursor.shown}", hint)
    return cursor.advance().text


def _word(cursor: Cursor, what: str) -> str:
    if cursor.token.kind is not LexemeKind.WORD:
        hint = "write a name, in double quotes if it contains spaces"
        raise cursor.rejected(f"expected {what}, found {cursor.shown}", hint)
    return cursor.advance().text
