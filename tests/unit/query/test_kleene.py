"""Kleene's tables: what `and`, `or` and `not` make of true, false and unknown."""

from itertools import product

import pytest

from cdp.query.language.kleene import all_of, any_of, negate

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
