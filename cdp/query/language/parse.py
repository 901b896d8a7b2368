"""From text to meaning: recursive descent, one function a rule.

    condition  = all { "or" all }
    all        = one { "and" one }
    one        = "not" one | "(" condition ")" | did | sequence | exists | known | in segment | sample | test
    test       = value ( operator bound | [ "not" ] "in" list | "contains" string | "starts" "with" string
                       | "between" literal "and" literal | "within" duration | "before" date | "after" date )

Values and events are in `parse_values`. A refusal points at the character and says what would be right.
"""

from collections.abc import Sequence as Many

from cdp.query.language.ast import (
    And,
    Between,
    Compare,
    Condition,
    Contains,
    Day,
    Did,
    Exists,
    InSegment,
    Known,
    Not,
    Number,
    OneOf,
    Operator,
    Or,
    Percentile,
    Quantile,
    Recent,
    Sample,
    Sequence,
    StartsWith,
    Step,
    Value,
    Window,
    ZScore,
)
from cdp.query.language.lex import Lexeme, LexemeKind, Rejected, tokens
from cdp.query.language.parse_values import MAX_DEPTH, ValueParser
from cdp.query.language.rejection import Rejection

_STARTS = (
    "trait",
    "computed",
    "count",
    "sum",
    "did",
    "not",
    "exists",
    "known",
    "in",
    "sample",
    "sequence",
    "days_since_last",
)


def parse(text: str) -> Condition | Rejection:
    """Read a text; a refusal is a value."""
    try:
        parser = _Parser(tokens(text))
        condition = parser.condition(depth=0)
        parser.expect_end()
    except Rejected as rejected:
        return rejected.rejection
    return condition


class _Parser(ValueParser):
    """The conditions; `is_filter` is true inside `where`, where bare names are properties."""

    def __init__(self, found: Many[Lexeme]) -> None:
        super().__init__(found)
        self.is_filter = False

    def condition(self, depth: int) -> Condition:
        return self._chain(depth, "or")

    def filter(self, depth: int) -> Condition:
        """The condition after `where`."""
        if self.is_filter:
            raise self.rejected("a filter cannot stand inside a filter", "name properties of the event only")
        self.is_filter = True
        condition = self.condition(depth)
        self.is_filter = False
        return condition

    def _chain(self, depth: int, word: str) -> Condition:
        at = self.token.at
        terms = [self._chain(depth, "and") if word == "or" else self._one(depth)]
        while self.take_word(word):
            terms.append(self._chain(depth, "and") if word == "or" else self._one(depth))
        if len(terms) == 1:
            return terms[0]
        return self.make(at, And, tuple(terms)) if word == "and" else self.make(at, Or, tuple(terms))

    def _one(self, depth: int) -> Condition:
        if depth > MAX_DEPTH:
            raise self.rejected("this is nested too deeply", f"at most {MAX_DEPTH} levels of parentheses and `not`")
        at = self.token.at
        if self.take_word("not"):
            return Not(self._one(depth + 1), at=at)
        if self.take_symbol("("):
            inner = self.condition(depth + 1)
            self.expect_symbol(")", "close the parenthesis")
            return inner
        if self.take_word("exists"):
            return Exists(self.value(depth), at=at)
        if self.take_word("known"):
            return Known(self.value(depth), at=at)
        if not self.is_filter:
            if self.take_word("did"):
                return self._did(at, depth)
            if self.take_word("sequence"):
                return self._sequence(at, depth)
            if self.take_word("in"):
                self.expect_word("segment", 'write in segment "key"')
                return self.make(at, InSegment, self.expect_string("the key of the segment"))
            if self.take_word("sample"):
                return self._sample(at)
        return self._test(at, self.value(depth))

    def _did(self, at: int, depth: int) -> Condition:
        self.expect_symbol("(", 'write did("Event")')
        arguments = self.arguments(depth, wants_property=False, may_fade=False)
        return self.make(at, Did, arguments.events)

    def _sample(self, at: int) -> Condition:
        percent = self.expect_number("a percentage such as 10%")
        self.expect_symbol("%", 'write the share in percent: sample 10% by "seed"')
        self.expect_word("by", 'name a seed, so that the sample stays the same: sample 10% by "seed"')
        return self.make(at, Sample, percent, self.expect_string("a seed"))

    def _sequence(self, at: int, depth: int) -> Condition:
        self.expect_symbol("(", 'write sequence("First", "Next" within 1 day)')
        steps: list[Step] = [self._step(depth)]
        window: Window | None = None
        while self.take_symbol(","):
            if window is not None:
                raise self.rejected("nothing follows the window of a sequence", "put the window last")
            window = self.window()
            if window is None:
                steps.append(self._step(depth))
        self.expect_symbol(")", "close the sequence")
        return self.make(at, Sequence, tuple(steps), window)

    def _step(self, depth: int) -> Step:
        at = self.token.at
        is_absent = self.take_word("not")
        events = self.events_of(depth)
        within = self.duration() if self.take_word("within") else None
        return self.make(at, Step, events, is_absent, within)

    def _test(self, at: int, value: Value) -> Condition:
        if operator := self._operator():
            return self._comparison(at, value, operator)
        if self.token.word == "not" and self.following.word == "in":
            self.advance()
            return Not(self._test(at, value), at=at)
        if self.take_word("in"):
            return self._membership(at, value)
        if self.take_word("contains"):
            return self.make(at, Contains, value, self.expect_string("the text to look for"))
        if self.take_word("starts"):
            self.expect_word("with", 'write starts with "text"')
            return self.make(at, StartsWith, value, self.expect_string("the text to look for"))
        if self.take_word("between"):
            low = self._bound("and")
            self.expect_word("and", "write between LOW and HIGH")
            return self.make(at, Between, value, low, self._bound("end"))
        if self.take_word("within"):
            return self.make(at, Recent, value, self.duration())
        for word, relation in (("before", Operator.LT), ("after", Operator.GT)):
            if self.take_word(word):
                return self.make(at, Compare, value, relation, self.expect_day())
        raise self.rejected(
            f"{self.shown} does not continue a comparison",
            "go on with = != < <= > >=, in, contains, starts with, between, within, before or after",
        )

    def _operator(self) -> Operator | None:
        if self.token.kind is LexemeKind.SYMBOL and self.token.text in set(Operator):
            operator = Operator(self.token.text)
            self.advance()
            return operator
        return None

    def _comparison(self, at: int, value: Value, operator: Operator) -> Condition:
        if self.take_word("percentile"):
            return self.make(at, Percentile, value, operator, self.expect_number("a percentile from 0 to 100"))
        if self.take_word("zscore"):
            return self.make(at, ZScore, value, operator, self.expect_number("a number of standard deviations"))
        return self.make(at, Compare, value, operator, self.literal())

    def _membership(self, at: int, value: Value) -> Condition:
        if self.take_word("quantile"):
            bucket = self.expect_whole("the number of a bucket")
            self.expect_word("of", "write in quantile 5 of 5")
            return self.make(at, Quantile, value, bucket, self.expect_whole("how many buckets there are"))
        self.expect_symbol("(", 'write the list in parentheses: in ("a", "b")')
        literals = [self.literal()]
        while self.take_symbol(","):
            literals.append(self.literal())
        self.expect_symbol(")", "close the list")
        return self.make(at, OneOf, value, tuple(literals))

    def _bound(self, place: str) -> Number | Day:
        at = self.token
        literal = self.literal()
        if isinstance(literal, Number | Day):
            return literal
        raise Rejected(
            at.at,
            f"the {'first' if place == 'and' else 'last'} bound of between is a number or a date",
            "write between 1 and 5, or between 2026-01-01 and 2026-03-31",
        )

    def starts(self) -> tuple[str, ...]:
        return _STARTS
