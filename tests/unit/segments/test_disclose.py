"""Sizes: never small, never exact, always the same for the same people; and Kleene's tables."""

from collections import Counter
from functools import reduce
from hashlib import sha256
from itertools import product
from operator import xor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp.query.language.kleene import all_of, any_of, negate
from cdp.segments.disclose import noise, share, size
from cdp.segments.model import DisplayedSize

CELLS = st.integers(-(2**63), 2**63 - 1)


@given(st.integers(0, 99), CELLS | st.none())
def test_small_numbers_are_not_shown(count: int, cell: int | None) -> None:
    assert size(count, cell, minimum=100, round_to=10) == DisplayedSize(None, "fewer than 100")


@given(st.integers(111, 10**9), CELLS)
def test_shown_numbers_are_near_and_round(count: int, cell: int) -> None:
    found = size(count, cell, minimum=100, round_to=10)
    assert found.shown is not None
    assert found.shown >= 100
    assert found.shown % 10 == 0
    assert abs(found.shown - count) <= 15
    assert found.text == f"{found.shown:,}"
    assert found == size(count, cell, minimum=100, round_to=10)


def test_one_person_more_is_not_seen() -> None:
    """Sets that differ by one person differ by noise: often not at all, sometimes the wrong way round."""
    steps = set()
    for person in range(1, 400):
        cell = person * 0x9E3779B97F4A7C15 % 2**63
        one = size(1000, cell, minimum=100, round_to=10).shown or 0
        other = size(1001, cell ^ 0x5DEECE66D1234567, minimum=100, round_to=10).shown or 0
        steps.add(other - one)
    assert {-10, 0, 10} <= steps


def test_the_minimum_does_not_reveal_whether_one_person_belongs_to_a_group() -> None:
    """A marketer pads a group until it is not shown yet, and adds a person whose secret is sought: the display must not reveal it."""
    ids = [int.from_bytes(sha256(b"%d" % number).digest()[:8], "big") >> 1 for number in range(4000)]
    is_shown: Counter[bool] = Counter()
    for start in range(0, 3000, 10):
        people = ids[start : start + 100]
        cell = reduce(xor, people)
        assert size(99, cell ^ people[0], minimum=100, round_to=10).shown is None
        is_shown[size(100, cell, minimum=100, round_to=10).shown is not None] += 1
        assert size(110, reduce(xor, ids[start : start + 110]), minimum=100, round_to=10).shown is not None
    assert min(is_shown.values()) > 90


def test_a_growing_group_does_not_begin_to_show_at_the_minimum() -> None:
    """Sampling more and more of a population does not find the step from 99 to 100."""
    ids = [int.from_bytes(sha256(b"%d" % number).digest()[:8], "big") >> 1 for number in range(120)]
    begins = set()
    for turn in range(60):
        people = ids[turn:] + ids[:turn]
        sizes = [size(count, reduce(xor, people[:count]), minimum=100, round_to=10).shown for count in range(90, 120)]
        assert not any(sizes[:10])
        begins.add(next(90 + at for at, shown in enumerate(sizes) if shown is not None))
    assert len(begins) >= 4


def test_who_knows_the_members_but_not_the_key_cannot_take_the_noise_away() -> None:
    drawn = [(noise(cell, 10, b"one"), noise(cell, 10, b"other")) for cell in range(400)]
    assert [one for one, _ in drawn] == [noise(cell, 10, b"one") for cell in range(400)]
    assert sum(one == other for one, other in drawn) < 60


def test_noise_has_no_favorite() -> None:
    drawn = [noise(cell * 7_919, 10) for cell in range(4000)]
    assert set(drawn) == set(range(-10, 11))
    assert abs(sum(drawn) / len(drawn)) < 0.5


@pytest.mark.parametrize(
    ("part", "whole", "expected"),
    [
        (DisplayedSize(250, "250"), DisplayedSize(1000, "1,000"), 0.25),
        (DisplayedSize(None, "fewer than 100"), DisplayedSize(1000, "1,000"), None),
        (DisplayedSize(110, "110"), DisplayedSize(None, "fewer than 100"), None),
        (DisplayedSize(1010, "1,010"), DisplayedSize(1000, "1,000"), 1.0),
    ],
)
def test_a_share_says_no_more_than_its_numbers(
    part: DisplayedSize, whole: DisplayedSize, expected: float | None
) -> None:
    assert share(part, whole) == expected


VALUES = (True, False, None)
AND = {
    (True, True): True,
    (True, False): False,
    (True, None): None,
    (False, False): False,
    (False, None): False,
    (None, None): None,
}
OR = {
    (True, True): True,
    (True, False): True,
    (True, None): True,
    (False, False): False,
    (False, None): None,
    (None, None): None,
}


@pytest.mark.parametrize(("one", "other"), list(product(VALUES, VALUES)))
def test_kleene(one: bool | None, other: bool | None) -> None:
    pair = (one, other) if (one, other) in AND else (other, one)
    assert all_of((one, other)) is AND[pair]
    assert any_of((one, other)) is OR[pair]
    assert negate(all_of((one, other))) is any_of((negate(one), negate(other)))
