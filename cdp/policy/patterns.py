"""Patterns of open vocabularies: a small language for which it can be proven that no match holds a personal string.

A pattern is a plain sequence of characters, classes and groups with repetition:

    literal  \\. \\- \\/ …  [A-Z0-9_]  (one|two)  (?:one|two)  ?  *  +  {n}  {m,n}

Nothing else is supported: no dot, no negated class, no shorthand such as \\w, no anchors, look-around, back-reference or
flag. The largest number of digits and of blanks in a matching string is therefore computed exactly, from the tree.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from re import Pattern
from re import compile as compile_pattern

DIGITS_MAX = 6
"""Telephone numbers have at least seven digits, and so do most customer numbers."""
BLANKS_MAX = 3
"""A category has at most four words; more are treated as free text."""
UNBOUNDED = 1_000_000
_COUNT = compile_pattern(r"[0-9]{1,6}")
_SPECIAL = frozenset("\\[](){}|?*+.^$")


class PatternRefused(ValueError):
    """The pattern is not in this language, or could match personal data; the message names a remedy."""


@dataclass(frozen=True)
class Characters:
    """One character out of a set."""

    members: frozenset[str]


@dataclass(frozen=True)
class PatternSequence:
    """Parts, one after the other."""

    parts: tuple["Node", ...]


@dataclass(frozen=True)
class Choice:
    """One of several alternatives."""

    options: tuple["Node", ...]


@dataclass(frozen=True)
class Repeat:
    """A part, several times."""

    part: "Node"
    least: int
    most: int


Node = Characters | PatternSequence | Choice | Repeat


class _Reader:
    """Recursive descent over a pattern."""

    def __init__(self, pattern: str) -> None:
        self._rest = pattern
        self._at = 0
        self._depth = 0

    def read(self) -> Node:
        """The tree of the whole pattern."""
        tree = self._choice()
        if self._at < len(self._rest):
            raise self._refuse("has a `)` without its `(`")
        return tree

    def _peek(self) -> str:
        return self._rest[self._at : self._at + 1]

    def _next(self) -> str:
        character = self._peek()
        self._at += 1
        return character

    def _refuse(self, why: str) -> PatternRefused:
        return PatternRefused(f"pattern {why}, at character {min(self._at, len(self._rest)) + 1}")

    def _choice(self) -> Node:
        options = [self._sequence()]
        while self._peek() == "|":
            self._next()
            options.append(self._sequence())
        return options[0] if len(options) == 1 else Choice(tuple(options))

    def _sequence(self) -> Node:
        parts: list[Node] = []
        while self._peek() and self._peek() not in "|)":
            parts.append(self._repeated())
        return PatternSequence(tuple(parts))

    def _repeated(self) -> Node:
        part = self._part()
        match self._peek():
            case "?":
                least, most = 0, 1
            case "*":
                least, most = 0, UNBOUNDED
            case "+":
                least, most = 1, UNBOUNDED
            case "{":
                return self._counted(part)
            case _:
                return part
        self._next()
        return self._once(Repeat(part, least, most))

    def _counted(self, part: Node) -> Node:
        end = self._rest.find("}", self._at)
        least, comma, most = self._rest[self._at + 1 : end].partition(",")
        if end < 0 or not _COUNT.fullmatch(least) or (comma and not _COUNT.fullmatch(most)):
            raise self._refuse("is invalid here: expected {n} or {m,n}, with both bounds")
        self._at = end + 1
        bounds = int(least), int(most or least)
        if bounds[0] > bounds[1]:
            raise self._refuse("has a repetition whose lower bound exceeds its upper bound")
        return self._once(Repeat(part, *bounds))

    def _once(self, repeat: Repeat) -> Repeat:
        if self._peek() and self._peek() in "?*+{":
            raise self._refuse("repeats a repetition; put the inner one in a group")
        return repeat

    def _part(self) -> Node:
        character = self._next()
        if character == "[":
            return self._class()
        if character == "(":
            return self._group()
        if character == "\\":
            return Characters(frozenset(self._escaped()))
        if character in _SPECIAL:
            self._at -= 1
            raise self._refuse(
                f"uses {character!r}, which is not supported; list the characters, or escape it with a backslash"
            )
        return Characters(frozenset(character))

    def _escaped(self) -> str:
        character = self._next()
        if not character or character.isalnum():
            raise self._refuse(
                "uses a shorthand after a backslash; write the characters as a class such as [A-Za-z0-9]"
            )
        return character

    def _group(self) -> Node:
        self._depth += 1
        if self._depth > 10:
            raise self._refuse("nests more than ten groups")
        if self._peek() == "?":
            if self._rest[self._at : self._at + 2] != "?:":
                raise self._refuse("uses look-around, a name or a flag; only (…) and (?:…) are supported")
            self._at += 2
        tree = self._choice()
        if self._next() != ")":
            raise self._refuse("has a `(` without its `)`")
        self._depth -= 1
        return tree

    def _class(self) -> Characters:
        if self._peek() == "^":
            raise self._refuse("negates a class, which then matches nearly everything; list the characters instead")
        members: set[str] = set()
        while (first := self._member()) is not None:
            if self._peek() == "-" and self._rest[self._at + 1 : self._at + 2] not in {"]", ""}:
                self._next()
                last = self._member() or ""
                if not first <= last or ord(last) - ord(first) > 1000:
                    raise self._refuse("has a range that is empty or wider than 1,000 characters")
                members.update(map(chr, range(ord(first), ord(last) + 1)))
            else:
                members.add(first)
        if not members:
            raise self._refuse("has an empty class")
        return Characters(frozenset(members))

    def _member(self) -> str | None:
        character = self._next()
        if not character:
            raise self._refuse("has a `[` without its `]`")
        if character == "]":
            return None
        if character == "[":
            raise self._refuse("has `[` inside a class; write it as \\[")
        return self._escaped() if character == "\\" else character


def _most(node: Node, weight: Callable[[str], bool]) -> int:
    """The most characters of one kind that a match can hold."""
    match node:
        case Characters():
            return int(any(map(weight, node.members)))
        case PatternSequence():
            return min(UNBOUNDED, sum(_most(part, weight) for part in node.parts))
        case Choice():
            return max(_most(option, weight) for option in node.options)
        case Repeat():
            return min(UNBOUNDED, node.most * _most(node.part, weight))


def _is_nullable(node: Node) -> bool:
    match node:
        case Characters():
            return False
        case PatternSequence():
            return all(map(_is_nullable, node.parts))
        case Choice():
            return any(map(_is_nullable, node.options))
        case Repeat():
            return node.least == 0 or _is_nullable(node.part)


def _first(node: Node) -> frozenset[str]:
    """The characters with which a match can begin."""
    match node:
        case Characters():
            return node.members
        case PatternSequence():
            found: frozenset[str] = frozenset()
            for part in node.parts:
                found |= _first(part)
                if not _is_nullable(part):
                    break
            return found
        case Choice():
            return frozenset().union(*map(_first, node.options))
        case Repeat():
            return _first(node.part) if node.most else frozenset()


def _is_ambiguous(node: Node, follow: frozenset[str]) -> bool:
    """Whether one character of lookahead is not enough to choose the next step; where it is, matching takes linear time."""
    match node:
        case Characters():
            return False
        case PatternSequence():
            for part in reversed(node.parts):
                if _is_ambiguous(part, follow):
                    return True
                follow = _first(part) | (follow if _is_nullable(part) else frozenset())
            return False
        case Choice():
            beginnings = [_first(option) for option in node.options]
            overlap = sum(map(len, beginnings)) > len(frozenset().union(*beginnings))
            return overlap or any(_is_ambiguous(option, follow) for option in node.options)
        case Repeat():
            again = _first(node.part)
            if node.least != node.most and again & follow:
                return True
            return _is_ambiguous(node.part, follow | again if node.most > 1 else follow)


def _is_at(character: str) -> bool:
    return character in "@\uff20\ufe6b"


def limits_of(text: str) -> str | None:
    """Why a fixed string may not be stored in plain; None when it may."""
    if any(map(_is_at, text)):
        return "contains an @, as e-mail addresses do"
    if sum(map(str.isdigit, text)) > DIGITS_MAX:
        return f"contains more than {DIGITS_MAX} digits, as telephone numbers do"
    if sum(map(str.isspace, text)) > BLANKS_MAX:
        return f"contains more than {BLANKS_MAX} blanks, as free text does"
    return None


def check_pattern(pattern: str, max_length: int) -> None:
    """Refuse a pattern that is not in this language or could match an e-mail address, a phone number or free text."""
    tree = _Reader(pattern).read()
    if _most(tree, _is_at):
        raise PatternRefused("pattern can match an @, so it could match an e-mail address; remove the @")
    if min(max_length, _most(tree, str.isdigit)) > DIGITS_MAX:
        raise PatternRefused(
            f"pattern can match more than {DIGITS_MAX} digits, so it could match a telephone number; bound the digits with "
            f"[0-9]{{1,{DIGITS_MAX}}} or set `max_length: {DIGITS_MAX}`"
        )
    if min(max_length, _most(tree, str.isspace)) > BLANKS_MAX:
        raise PatternRefused(
            f"pattern can match more than {BLANKS_MAX} blanks, so it could match free text; bound the words with "
            f"( [a-z]+){{0,{BLANKS_MAX}}}"
        )
    if _is_ambiguous(tree, frozenset()):
        raise PatternRefused(
            "pattern can be matched in several ways, so matching could take very long; let each alternative, and what "
            "follows a repetition, begin with different characters, as in [a-z]+(_[a-z]+){0,3}"
        )


@lru_cache(maxsize=256)
def compiled(pattern: str) -> Pattern[str]:
    """The compiled pattern."""
    return compile_pattern(pattern)
