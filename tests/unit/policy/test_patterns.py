"""Patterns of open vocabularies: what they could hold is computed, and checked here against what they do hold."""

import re
import time

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cdp.policy.patterns import BLANKS_MAX, DIGITS_MAX, PatternRefused, check_pattern, limits_of
from tests.support.policies import shipped

PERSONAL = [
    "jane@example.com",
    "jane.doe+shop@mail.example.co.uk",
    "+44 20 7946 0958",
    "+442079460958",
    "020 7946 0958",
    "(555) 123-4567",
    "5551234567",
    "please call me back tomorrow",
    "Flat 3, 12 High Street, London SW1A 1AA",
    "4111 1111 1111 1111",
    "123e4567-e89b-12d3-a456-426614174000",
]


@pytest.mark.parametrize(
    ("pattern", "max_length"),
    [
        ("[A-Z]{3}", 3),
        ("[0-9]{5}[A-Z]{0,2}", 8),
        ("[a-z0-9]+", 6),
        ("[0-9]*", 6),
        ("[a-z]+( [a-z]+){0,3}", 60),
        ("(spring|autumn)-[0-9]{4}", 12),
        (r"[a-z]+(\.[a-z]+)?", 20),
        (r"a\.b\-c\[", 9),
        ("(?:a|b)+", 20),
        ("[a-]{2}", 3),
        ("", 3),
    ],
)
def test_harmless_patterns_pass(pattern: str, max_length: int) -> None:
    check_pattern(pattern, max_length)


@pytest.mark.parametrize(
    ("pattern", "max_length", "why"),
    [
        ("[a-z.]+@[a-z.]+", 60, "an e-mail address"),
        ("[ -~]{1,20}", 20, "an e-mail address"),
        (r"[a-z]+\@?", 60, "an e-mail address"),
        ("[!-~]", 1, "an e-mail address"),
        (r"\+?[0-9]{7,15}", 16, "a telephone number"),
        ("[0-9]+", 7, "a telephone number"),
        ("([0-9]{3}-){2}[0-9]{4}", 12, "a telephone number"),
        ("[A-Z0-9]{1,12}", 12, "a telephone number"),
        ("([0-9]{2}-){4}", 12, "a telephone number"),
        ("([0-9]{3}|x)(-([0-9]{4}|y))", 12, "a telephone number"),
        ("[٠-٩]{8}", 8, "a telephone number"),
        ("[a-z ]{1,60}", 60, "free text"),
        ("[a-z]+( [a-z]+)*", 60, "free text"),
        ("[a-z]+( [a-z]+){0,4}", 60, "free text"),
        (".*", 6, "uses '.'"),
        (r"\w+", 6, "shorthand"),
        (r"\d{3}", 3, "shorthand"),
        (r"\S", 1, "shorthand"),
        ("[^@]+", 6, "negates a class"),
        ("^a$", 6, "uses '^'"),
        ("a$", 6, "uses '$'"),
        ("(?i)a", 6, "look-around, a name or a flag"),
        ("(?=a)a", 6, "look-around"),
        ("(?P<n>a)", 6, "look-around"),
        (r"(a)\1", 6, "shorthand"),
        ("a++", 6, "repeats a repetition"),
        ("a*?", 6, "repeats a repetition"),
        ("a{2,1}", 6, "lower bound exceeds"),
        ("a{,3}", 6, "{n} or {m,n}"),
        ("a{3,}", 6, "{n} or {m,n}"),
        ("a{x}", 6, "{n} or {m,n}"),
        ("a{3", 6, "{n} or {m,n}"),
        ("*a", 6, "uses '*'"),
        ("{2}", 6, "uses '{'"),
        ("(a", 6, "without its `)`"),
        ("a)", 6, "without its `(`"),
        ("[a", 6, "without its `]`"),
        ("[]a]", 6, "empty class"),
        ("[z-a]", 6, "range"),
        ("[a-\U0010ffff]", 6, "range"),
        ("[[:alpha:]]", 6, "inside a class"),
        ("a\\", 6, "shorthand"),
        ("(" * 11 + "a" + ")" * 11, 6, "more than ten groups"),
        ("(a+)+", 20, "several ways"),
        ("(a|ab)*", 20, "several ways"),
        ("(a?)*", 20, "several ways"),
        ("[a-z]*[a-z0-9]", 4, "several ways"),
        ("[a-z]{1,9}(-?[a-z]{1,9})*", 20, "several ways"),
    ],
)
def test_dangerous_and_foreign_patterns_are_refused_with_the_reason(pattern: str, max_length: int, why: str) -> None:
    with pytest.raises(PatternRefused, match=re.escape(why)):
        check_pattern(pattern, max_length)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a@b", "@"),
        ("a\uff20b", "@"),
        ("1234567", "digits"),
        ("a b c d e", "blanks"),
        ("Home & Garden", None),
        ("123456", None),
    ],
)
def test_fixed_terms_have_the_same_limits(text: str, why: str | None) -> None:
    found = limits_of(text)
    assert (found is None) if why is None else (found is not None and why in found)


@pytest.mark.parametrize("value", PERSONAL)
def test_no_shipped_vocabulary_takes_a_personal_string(value: str) -> None:
    for vocabulary in shipped().events.vocabularies.values():
        assert not vocabulary.accepts(value), vocabulary.key


atoms = st.sampled_from(["a", "b", "7", "[0-9]", "[a-c]", "[a-c0-9]", " ", "[ _-]", "-", "@"])
counts = st.sampled_from(["", "?", "*", "+", "{2}", "{0,2}", "{1,3}"])
patterns = st.recursive(
    st.builds(lambda atom, count: atom + count, atoms, counts),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4).map("".join),
        st.builds(lambda a, b, count: f"({a}|{b}){count}", inner, inner, counts),
        st.builds(lambda a, count: f"({a}){count}", inner, counts),
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(patterns, st.integers(1, 20), st.data())
def test_what_an_accepted_pattern_matches_keeps_the_limits(pattern: str, max_length: int, data: st.DataObject) -> None:
    try:
        check_pattern(pattern, max_length)
    except PatternRefused:
        assume(False)
    value = data.draw(st.from_regex(pattern, fullmatch=True))
    if len(value) <= max_length:
        assert "@" not in value
        assert sum(map(str.isdigit, value)) <= DIGITS_MAX
        assert sum(map(str.isspace, value)) <= BLANKS_MAX


@settings(max_examples=200, deadline=None)
@given(patterns)
def test_matching_an_accepted_pattern_never_takes_long(pattern: str) -> None:
    try:
        check_pattern(pattern, 6)
    except PatternRefused:
        assume(False)

    def is_quick() -> bool:
        started = time.process_time()
        for character in "ab7 -":
            re.fullmatch(pattern, character * 63 + "!")
        return time.process_time() - started < 0.25

    assert any(is_quick() for _ in range(5)), "once, the collector or another thread may have taken the time"
