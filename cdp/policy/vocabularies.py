"""Vocabularies: the only strings that are stored in plain, interned once for all people."""

from functools import cached_property
from typing import Annotated, Self

from pydantic import Field, model_validator

from cdp.policy.frozen import Key, KeyedEntry, Text
from cdp.policy.patterns import check_pattern, compiled, limits_of

TERM_LENGTH_MAX = 64


class Vocabulary(KeyedEntry):
    """A set of strings: enumerated in `values`, or open with a `pattern` and a `max_length`."""

    key: Key
    """The name of the entry."""
    text: Text = ""
    """What the terms are, for people."""
    values: tuple[Annotated[str, Field(min_length=1, max_length=TERM_LENGTH_MAX)], ...] = ()
    """The terms, one by one."""
    pattern: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    """The pattern of a whole term; docs/reference/policies.md, "Patterns of open vocabularies"."""
    max_length: Annotated[int, Field(ge=1, le=TERM_LENGTH_MAX)] | None = None
    """The length of the longest term of an open vocabulary."""
    terms_max: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    """The largest number of terms of an open vocabulary; further ones are sealed and counted."""

    @model_validator(mode="after")
    def _is_safe(self) -> Self:
        if bool(self.values) == (self.pattern is not None):
            raise ValueError("a vocabulary is either enumerated (`values`) or open (`pattern` and `max_length`)")
        if (self.pattern is None) != (self.max_length is None):
            raise ValueError("`pattern` and `max_length` require each other")
        if len(set(self.values)) != len(self.values):
            raise ValueError("`values` contains a term twice")
        for value in self.values:
            if why := limits_of(value):
                raise ValueError(f"the term {value!r} {why}")
        if self.pattern is not None and self.max_length is not None:
            check_pattern(self.pattern, self.max_length)
        return self

    @cached_property
    def _terms(self) -> frozenset[str]:
        return frozenset(self.values)

    def accepts(self, value: str) -> bool:
        """Whether this string is a term; everything else must be sealed."""
        if self.pattern is None or self.max_length is None:
            return value in self._terms
        return len(value) <= self.max_length and compiled(self.pattern).fullmatch(value) is not None
