"""Sizes below the minimum do not leave those who work with people."""

import pytest

from cdp.segments.disclose import size_outside


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, 0), (1, "fewer than 100"), (99, "fewer than 100"), (100, 100), (101, 101), (12_345, 12_345)],
)
def test_sizes_below_the_minimum_are_fewer_than_it(size: int, shown: int | str) -> None:
    assert size_outside(size, 100) == shown
