"""From characters to tokens. Pure."""

import re
from dataclasses import dataclass
from enum import StrEnum

from cdp.query.language.rejection import Rejection

MAX_LENGTH = 10_000


class LexemeKind(StrEnum):
    """The kind of a token."""

    WORD = "word"
    STRING = "string"
    NUMBER = "number"
    DATE = "date"
    SYMBOL = "symbol"
    END = "end"


@dataclass(frozen=True, slots=True)
class Lexeme:
    """A token at a character offset; for a string, `text` is its content without quotes and escapes."""

    kind: LexemeKind
    text: str
    at: int

    @property
    def word(self) -> str:
        """The lower-cased text of a word, for comparison with keywords; empty for other tokens."""
        return self.text.lower() if self.kind is LexemeKind.WORD else ""


class Rejected(Exception):
    """Carries a rejection to `parse`, which returns it as a value."""

    def __init__(self, at: int, message: str, hint: str) -> None:
        super().__init__(message)
        self.rejection = Rejection(at, message, hint)


_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?![\w-])", re.ASCII)
_NUMBER = re.compile(r"-?\d+(\.\d+)?(?![\w-])", re.ASCII)
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_STRING = re.compile(r'"((?:[^"\\\n]|\\["\\])*)"')
_SYMBOLS = ("<=", ">=", "!=", "=", "<", ">", "(", ")", ",", ".", "%")
_SPACES = " \t\r\n"

_ARITHMETIC = (
    "values are compared with numbers, not computed with; what is left of orders after refunds is "
    'net("Order Completed".revenue)'
)
_INSTEAD = {
    "==": "write = to compare",
    "<>": "write != for `is not`",
    "&&": "write and",
    "||": "write or",
    "!": "write not",
    "'": 'write strings in double quotes: "like this"',
    "“": 'write strings in straight double quotes: "like this"',
    "”": 'write strings in straight double quotes: "like this"',
    "≥": "write >=",
    "≤": "write <=",
    "≠": "write !=",
    "[": "write lists in parentheses: (1, 2)",
    **dict.fromkeys(("+", "- ", "*", "/"), _ARITHMETIC),
    "$": "write numbers without a currency symbol",
    "€": "write numbers without a currency symbol",
    "£": "write numbers without a currency symbol",
}


def tokens(text: str) -> tuple[Lexeme, ...]:
    """The tokens of a text, the last one an END. Raises Rejected at the first character that begins no token."""
    if len(text) > MAX_LENGTH:
        raise Rejected(MAX_LENGTH, f"the text has {len(text)} characters", f"at most {MAX_LENGTH} are allowed")
    found: list[Lexeme] = []
    at = 0
    while at < len(text):
        if text[at] in _SPACES:
            at += 1
            continue
        token, at = _next(text, at)
        found.append(token)
    return (*found, Lexeme(LexemeKind.END, "", len(text)))


def _next(text: str, at: int) -> tuple[Lexeme, int]:
    for wrong in ("==", "<>"):
        if text.startswith(wrong, at):
            raise Rejected(at, f"{wrong} is not part of the language", _INSTEAD[wrong])
    for kind, pattern in ((LexemeKind.DATE, _DATE), (LexemeKind.NUMBER, _NUMBER), (LexemeKind.WORD, _WORD)):
        if match := pattern.match(text, at):
            return Lexeme(kind, match[0], at), match.end()
    if text[at] == '"':
        return _string(text, at)
    for symbol in _SYMBOLS:
        if text.startswith(symbol, at):
            return Lexeme(LexemeKind.SYMBOL, symbol, at), at + len(symbol)
    raise _unexpected(text, at)


def _string(text: str, at: int) -> tuple[Lexeme, int]:
    match = _STRING.match(text, at)
    if match is None:
        raise Rejected(
            at, "this string is not terminated", 'close it with " on the same line; write \\" and \\\\ inside it'
        )
    content = re.sub(r"\\(.)", r"\1", match[1])
    return Lexeme(LexemeKind.STRING, content, at), match.end()


def _unexpected(text: str, at: int) -> Rejected:
    for wrong in (text[at : at + 2], text[at]):
        if wrong in _INSTEAD:
            return Rejected(at, f"{wrong.strip()} is not part of the language", _INSTEAD[wrong])
    if text[at].isdigit() or text[at] == "-":
        return Rejected(at, "this is neither a number nor a date", "write 12, -0.5 or 2026-01-31")
    shown = text[at] if text[at].isprintable() else f"U+{ord(text[at]):04X}"
    return Rejected(
        at, f"the character {shown} is not part of the language", "write names with other characters in double quotes"
    )
