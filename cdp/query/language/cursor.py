"""A cursor over tokens: what is next, and what must be next."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Final, ParamSpec, TypeVar

from cdp.query.language.lex import Lexeme, LexemeKind, Rejected

_WHOLE_MAX: Final = 10**9

_P = ParamSpec("_P")
_N = TypeVar("_N")


def build(at: int, node: Callable[_P, _N], *args: _P.args, **kwargs: _P.kwargs) -> _N:
    """Build a node that begins at an offset. A shape that the node refuses becomes a rejection at that offset."""
    try:
        built = node(*args, **kwargs)
    except ValueError as error:
        raise Rejected(at, str(error), "") from error
    object.__setattr__(built, "at", at)
    return built


class Cursor:
    """A position in a list of tokens, the last of which is END. Every `expect…` raises Rejected at the current token."""

    def __init__(self, tokens: Sequence[Lexeme]) -> None:
        self._tokens = tokens
        self._index = 0

    @property
    def token(self) -> Lexeme:
        """The current token."""
        return self._tokens[self._index]

    @property
    def following(self) -> Lexeme:
        """The token after the current one."""
        return self._tokens[min(self._index + 1, len(self._tokens) - 1)]

    @property
    def shown(self) -> str:
        """The current token, for messages."""
        return "the end of the text" if self.token.kind is LexemeKind.END else f"`{self.token.text}`"

    def advance(self) -> Lexeme:
        """Go to the next token; returns the one before it."""
        token = self.token
        self._index = min(self._index + 1, len(self._tokens) - 1)
        return token

    def rejected(self, message: str, hint: str) -> Rejected:
        """A rejection at the current token, to be raised."""
        return Rejected(self.token.at, message, hint)

    def is_symbol(self, symbol: str) -> bool:
        return self.token.kind is LexemeKind.SYMBOL and self.token.text == symbol

    def accept_word(self, word: str) -> bool:
        """Skip a keyword if it is the current token."""
        if self.token.word == word:
            self.advance()
            return True
        return False

    def accept_symbol(self, symbol: str) -> bool:
        """Skip a symbol if it is the current token."""
        if self.is_symbol(symbol):
            self.advance()
            return True
        return False

    def expect_word(self, word: str, hint: str) -> None:
        if not self.accept_word(word):
            raise self.rejected(f"expected {word}, found {self.shown}", hint)

    def expect_symbol(self, symbol: str, hint: str) -> None:
        if not self.accept_symbol(symbol):
            raise self.rejected(f"expected {symbol}, found {self.shown}", hint)

    def expect_string(self, what: str) -> str:
        if self.token.kind is not LexemeKind.STRING:
            raise self.rejected(f"expected {what}, found {self.shown}", 'write strings in double quotes: "like this"')
        return self.advance().text

    def expect_number(self, what: str) -> Decimal:
        if self.token.kind is not LexemeKind.NUMBER:
            raise self.rejected(f"expected {what}, found {self.shown}", "write a number")
        return Decimal(self.advance().text)

    def expect_whole(self, what: str) -> int:
        """A whole number of at most a billion."""
        at = self.token.at
        number = self.expect_number(what)
        if number != number.to_integral_value() or abs(number) > _WHOLE_MAX:
            raise Rejected(at, f"{what} must be a whole number", "write a whole number")
        return int(number)

    def expect_end(self) -> None:
        if self.token.kind is not LexemeKind.END:
            hint = "join conditions with and / or"
            if self.token.text == ")":
                hint = "there is one closing parenthesis too many"
            raise self.rejected(f"unexpected {self.shown}", hint)
