"""The lower half of the parser: tokens, literals, windows, events and values."""

import difflib
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import ParamSpec, TypeVar

from cdp.query.language.ast import (
    Average,
    Computed,
    Condition,
    Count,
    Day,
    DaysSinceLast,
    Duration,
    During,
    Events,
    First,
    Flag,
    Greatest,
    Last,
    Least,
    Literal,
    Number,
    Property,
    Sum,
    Text,
    Trait,
    Unit,
    Value,
    Window,
    Within,
)
from cdp.query.language.lex import Lexeme, LexemeKind, Rejected
from cdp.query.language.words import AGGREGATES, FADING, RESERVED, UNITS, WITH_PROPERTY

MAX_DEPTH = 30

_P = ParamSpec("_P")
_N = TypeVar("_N")


@dataclass(frozen=True, slots=True)
class Arguments:
    """What stands in the parentheses of an aggregate."""

    events: Events
    property: str | None
    half_life: Duration | None


class ValueParser:
    """A cursor over tokens with the rules for values."""

    is_filter: bool

    def __init__(self, found: Sequence[Lexeme]) -> None:
        self._tokens = found
        self._index = 0

    @abstractmethod
    def filter(self, depth: int) -> Condition: ...

    @abstractmethod
    def starts(self) -> tuple[str, ...]: ...

    # --- the cursor ---

    @property
    def token(self) -> Lexeme:
        return self._tokens[self._index]

    @property
    def following(self) -> Lexeme:
        return self._tokens[min(self._index + 1, len(self._tokens) - 1)]

    @property
    def shown(self) -> str:
        """The token at hand, for messages."""
        return "the end of the text" if self.token.kind is LexemeKind.END else f"`{self.token.text}`"

    def advance(self) -> Lexeme:
        token = self.token
        self._index = min(self._index + 1, len(self._tokens) - 1)
        return token

    def rejected(self, message: str, hint: str) -> Rejected:
        return Rejected(self.token.at, message, hint)

    def make(self, at: int, node: Callable[_P, _N], *args: _P.args, **kwargs: _P.kwargs) -> _N:
        """Build a node; what it refuses becomes a rejection at its beginning."""
        try:
            made = node(*args, **kwargs)
        except ValueError as error:
            raise Rejected(at, str(error), "") from error
        object.__setattr__(made, "at", at)
        return made

    def take_word(self, word: str) -> bool:
        if self.token.word == word:
            self.advance()
            return True
        return False

    def is_symbol(self, symbol: str) -> bool:
        return self.token.kind is LexemeKind.SYMBOL and self.token.text == symbol

    def take_symbol(self, symbol: str) -> bool:
        if self.is_symbol(symbol):
            self.advance()
            return True
        return False

    def expect_word(self, word: str, hint: str) -> None:
        if not self.take_word(word):
            raise self.rejected(f"expected {word}, found {self.shown}", hint)

    def expect_symbol(self, symbol: str, hint: str) -> None:
        if not self.take_symbol(symbol):
            raise self.rejected(f"expected {symbol}, found {self.shown}", hint)

    def expect_string(self, what: str) -> str:
        if self.token.kind is not LexemeKind.STRING:
            raise self.rejected(f"expected {what}, found {self.shown}", 'strings stand in double quotes: "like this"')
        return self.advance().text

    def expect_number(self, what: str) -> Decimal:
        if self.token.kind is not LexemeKind.NUMBER:
            raise self.rejected(f"expected {what}, found {self.shown}", "write a number")
        return Decimal(self.advance().text)

    def expect_whole(self, what: str) -> int:
        at = self.token.at
        number = self.expect_number(what)
        if number != number.to_integral_value() or abs(number) > 10**9:
            raise Rejected(at, f"{what} is a whole number", "write a whole number")
        return int(number)

    def expect_day(self) -> Day:
        at = self.token.at
        literal = self.literal()
        if not isinstance(literal, Day):
            raise Rejected(at, "expected a date", "write it as 2026-01-31")
        return literal

    def expect_end(self) -> None:
        if self.token.kind is not LexemeKind.END:
            hint = "join conditions with and / or"
            if self.token.text == ")":
                hint = "there is one closing parenthesis too many"
            raise self.rejected(f"{self.shown} does not belong here", hint)

    # --- literals ---

    def literal(self) -> Literal:
        token = self.token
        match token.kind:
            case LexemeKind.STRING:
                self.advance()
                return self.make(token.at, Text, token.text)
            case LexemeKind.NUMBER:
                self.advance()
                return self.make(token.at, Number, Decimal(token.text))
            case LexemeKind.DATE:
                self.advance()
                return self.make(token.at, Day, _date(token))
            case LexemeKind.WORD if token.word in ("true", "false"):
                self.advance()
                return Flag(token.word == "true", at=token.at)
            case LexemeKind.WORD if token.word not in RESERVED:
                raise self.rejected(f"{self.shown} is no value", f'strings stand in double quotes: "{token.text}"')
            case _:
                raise self.rejected(f"expected a value, found {self.shown}", 'write 12, "text", true or 2026-01-31')

    def duration(self) -> Duration:
        at = self.token.at
        count = self.expect_whole("a duration such as 30 days")
        if self.token.word not in UNITS:
            hint = "durations are in minutes, hours, days or weeks"
            close = difflib.get_close_matches(self.token.word, UNITS, 1)
            raise self.rejected(
                f"expected a unit of time, found {self.shown}", f"did you mean {close[0]}?" if close else hint
            )
        unit = Unit(self.advance().word.removesuffix("s"))
        return self.make(at, Duration, count, unit)

    def window(self) -> Window | None:
        """A window, if one stands here."""
        at = self.token.at
        if self.take_word("within"):
            return Within(self.duration(), at=at)
        if self.take_word("between"):
            first = self.expect_day()
            self.expect_word("and", "write between 2026-01-01 and 2026-03-31")
            return self.make(at, During, first, self.expect_day())
        return None

    # --- events and values ---

    def events_of(self, depth: int) -> Events:
        """An event name with its filter, without a window."""
        at = self.token.at
        name = self.expect_string("the name of an event")
        where = self.filter(depth + 1) if self.take_word("where") else None
        return self.make(at, Events, name, where)

    def arguments(self, depth: int, *, wants_property: bool, may_fade: bool) -> Arguments:
        """Everything up to and with the closing parenthesis."""
        at = self.token.at
        name = self.expect_string("the name of an event")
        prop = self._property_of(name, wanted=wants_property)
        where = self.filter(depth + 1) if self.take_word("where") else None
        window: Window | None = None
        half_life: Duration | None = None
        while self.take_symbol(","):
            here = self.token.at
            if half_life is None and self.token.word == "half_life":
                if not may_fade:
                    raise self.rejected("a half-life belongs to count and sum", "leave it out")
                self.advance()
                half_life = self.duration()
            elif window is None and (window := self.window()) is not None:
                continue
            else:
                raise Rejected(
                    here, f"{self.shown} does not belong here", "go on with one within …, between … or half_life …"
                )
        self.expect_symbol(")", "close the parenthesis, or go on with `, within 30 days`")
        return Arguments(self.make(at, Events, name, where, window), prop, half_life)

    def _property_of(self, event: str, *, wanted: bool) -> str | None:
        if wanted:
            self.expect_symbol(".", f'name the property: "{event}".revenue')
            return self.name("the name of a property")
        if self.is_symbol("."):
            raise self.rejected("this counts events, not a property", "use sum, average, min or max for a property")
        return None

    def value(self, depth: int) -> Value:
        token = self.token
        if token.kind is LexemeKind.WORD and self.is_filter:
            return self._property(token)
        if token.word in ("trait", "computed"):
            self.advance()
            self.expect_symbol(".", f"write {token.word}.name")
            name = self.name(f"the name of a {token.word} trait" if token.word == "computed" else "the name of a trait")
            return self.make(token.at, Trait, name) if token.word == "trait" else self.make(token.at, Computed, name)
        if token.word in AGGREGATES:
            return self._aggregate(token, depth)
        raise self._no_start(token)

    def name(self, what: str) -> str:
        """A name after a dot: a dotted path of words, or a string."""
        if self.token.kind is LexemeKind.STRING:
            return self.advance().text
        parts = [self._word(what)]
        while self.is_symbol(".") and self.following.kind is LexemeKind.WORD:
            self.advance()
            parts.append(self._word(what))
        return ".".join(parts)

    def _word(self, what: str) -> str:
        if self.token.kind is not LexemeKind.WORD:
            raise self.rejected(
                f"expected {what}, found {self.shown}", "write a name, in double quotes if it has spaces"
            )
        return self.advance().text

    def _property(self, token: Lexeme) -> Property:
        if token.word == "property" and self.following.text == ".":
            self.advance()
            self.advance()
        elif token.word in RESERVED:
            hint = f"a property of that name is written property.{token.text}"
            raise self.rejected(f"`{token.text}` cannot stand in a filter of events", hint)
        return self.make(token.at, Property, self.name("the name of a property"))

    def _aggregate(self, token: Lexeme, depth: int) -> Value:
        word = token.word
        self.advance()
        self.expect_symbol("(", f'write {word}("Event"…)')
        found = self.arguments(depth, wants_property=word in WITH_PROPERTY, may_fade=word in FADING)
        events, prop = found.events, found.property or ""
        match word:
            case "count":
                return self.make(token.at, Count, events, found.half_life)
            case "sum":
                return self.make(token.at, Sum, events, prop, found.half_life)
            case "average":
                return self.make(token.at, Average, events, prop)
            case "min":
                return self.make(token.at, Least, events, prop)
            case "max":
                return self.make(token.at, Greatest, events, prop)
            case "days_since_last":
                return self.make(token.at, DaysSinceLast, events)
            case "first":
                return self.make(token.at, First, events)
            case _:
                return self.make(token.at, Last, events)

    def _no_start(self, token: Lexeme) -> Rejected:
        if self.is_filter:
            return self.rejected(f"expected a property, found {self.shown}", "name a property of the event")
        if token.kind is LexemeKind.WORD and token.word not in RESERVED:
            after = self.following
            is_call = after.text in ("(", ".") or after.kind in (LexemeKind.STRING, LexemeKind.WORD)
            close = difflib.get_close_matches(token.word, self.starts(), 1, 0.7) if is_call else []
            hint = f"did you mean {close[0]}?" if close else f"a trait is written trait.{token.text}"
            return self.rejected(f"`{token.text}` does not begin a condition", hint)
        if token.kind is LexemeKind.STRING:
            return self.rejected(
                "a string does not begin a condition",
                f'an event is counted: count("{token.text}") >= 1, or did("{token.text}")',
            )
        return self.rejected(
            f"expected a condition, found {self.shown}", "begin with trait., computed., count(…), did(…), not or ("
        )


def _date(token: Lexeme) -> date:
    try:
        return date.fromisoformat(token.text)
    except ValueError:
        raise Rejected(token.at, f"{token.text} is not in the calendar", "write a date as 2026-01-31") from None
