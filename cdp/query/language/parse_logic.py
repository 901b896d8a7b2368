"""The rules that whole conditions and event filters have in common: and, or, not, parentheses, and tests of values."""

from collections.abc import Callable, Mapping
from typing import Final

from cdp.query.language.ast import (
    And,
    Between,
    Compare,
    Condition,
    Contains,
    Exists,
    Known,
    Not,
    OneOf,
    Operator,
    Or,
    Percentile,
    Quantile,
    Recent,
    StartsWith,
    Value,
    ZScore,
)
from cdp.query.language.cursor import Cursor, build
from cdp.query.language.lex import LexemeKind
from cdp.query.language.parse_literals import bound, day, duration, literal

MAX_DEPTH: Final = 30


class LogicParser:
    """Reads conditions at a cursor.

    `value` reads the value that a test is about. `forms` are conditions that are not tests of a value, by the keyword
    that introduces them: each is called with the offset of the keyword and the depth, after the keyword was read.
    """

    def __init__(
        self,
        cursor: Cursor,
        value: Callable[[int], Value],
        forms: Mapping[str, Callable[[int, int], Condition]],
    ) -> None:
        self.cursor = cursor
        self.value = value
        self.forms = forms

    def condition(self, depth: int) -> Condition:
        """condition = all { "or" all }; `depth` is the number of parentheses and `not` around it."""
        return self._chain(depth, "or")

    def further(self, depth: int, word: str) -> list[Condition]:
        """The operands that follow with this word, `and` or `or`, before each of them."""
        terms: list[Condition] = []
        while self.cursor.accept_word(word):
            terms.append(self._operand(depth, word))
        return terms

    def _chain(self, depth: int, word: str) -> Condition:
        at = self.cursor.token.at
        terms = [self._operand(depth, word), *self.further(depth, word)]
        if len(terms) == 1:
            return terms[0]
        return build(at, And, tuple(terms)) if word == "and" else build(at, Or, tuple(terms))

    def _operand(self, depth: int, word: str) -> Condition:
        return self._chain(depth, "and") if word == "or" else self.one(depth)

    def one(self, depth: int) -> Condition:
        """What `and` and `or` join: a test, a form, a negation, or a condition in parentheses."""
        if depth > MAX_DEPTH:
            hint = f"at most {MAX_DEPTH} levels of parentheses and `not`"
            raise self.cursor.rejected("this is nested too deeply", hint)
        at = self.cursor.token.at
        if self.cursor.accept_word("not"):
            return Not(self.one(depth + 1), at=at)
        if self.cursor.accept_symbol("("):
            inner = self.condition(depth + 1)
            self.cursor.expect_symbol(")", "close the parenthesis")
            return inner
        if self.cursor.accept_word("exists"):
            return Exists(self.value(depth), at=at)
        if self.cursor.accept_word("known"):
            return Known(self.value(depth), at=at)
        form = self.forms.get(self.cursor.token.word)
        if form is not None:
            self.cursor.advance()
            return form(at, depth)
        return _test(self.cursor, at, self.value(depth))


def _test(cursor: Cursor, at: int, value: Value) -> Condition:
    """The rest of a test, after its value; `at` is where the value begins."""
    if operator := _operator(cursor):
        return _comparison(cursor, at, value, operator=operator)
    if cursor.token.word == "not" and cursor.following.word == "in":
        cursor.advance()
        return Not(_test(cursor, at, value), at=at)
    if cursor.accept_word("in"):
        return _membership(cursor, at, value)
    if cursor.accept_word("contains"):
        return build(at, Contains, value, cursor.expect_string("the text to look for"))
    if cursor.accept_word("starts"):
        cursor.expect_word("with", 'write starts with "text"')
        return build(at, StartsWith, value, cursor.expect_string("the text to look for"))
    if cursor.accept_word("between"):
        low = bound(cursor, "first")
        cursor.expect_word("and", "write between LOW and HIGH")
        return build(at, Between, value, low, bound(cursor, "last"))
    if cursor.accept_word("within"):
        return build(at, Recent, value, duration(cursor))
    for word, relation in (("before", Operator.LT), ("after", Operator.GT)):
        if cursor.accept_word(word):
            return build(at, Compare, value, relation, day(cursor))
    raise cursor.rejected(
        f"expected a comparison, found {cursor.shown}",
        "continue with = != < <= > >=, in, contains, starts with, between, within, before or after",
    )


def _operator(cursor: Cursor) -> Operator | None:
    if cursor.token.kind is LexemeKind.SYMBOL and cursor.token.text in set(Operator):
        return Operator(cursor.advance().text)
    return None


def _comparison(cursor: Cursor, at: int, value: Value, *, operator: Operator) -> Condition:
    if cursor.accept_word("percentile"):
        return build(at, Percentile, value, operator, cursor.expect_number("a percentile from 0 to 100"))
    if cursor.accept_word("zscore"):
        return build(at, ZScore, value, operator, cursor.expect_number("a number of standard deviations"))
    return build(at, Compare, value, operator, literal(cursor))


def _membership(cursor: Cursor, at: int, value: Value) -> Condition:
    if cursor.accept_word("quantile"):
        bucket = cursor.expect_whole("the number of a bucket")
        cursor.expect_word("of", "write in quantile 5 of 5")
        return build(at, Quantile, value, bucket, cursor.expect_whole("the number of buckets"))
    cursor.expect_symbol("(", 'write the list in parentheses: in ("a", "b")')
    literals = [literal(cursor)]
    while cursor.accept_symbol(","):
        literals.append(literal(cursor))
    cursor.expect_symbol(")", "close the list")
    return build(at, OneOf, value, tuple(literals))
