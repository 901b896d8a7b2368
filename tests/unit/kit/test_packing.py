"""Lists of one kind are packed; everything else is the driver's."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

import pytest

from cdp.kit.pg_binary.arrays import Packed
from cdp.kit.pg_binary.packing import packed
from tests.support.people import NOON


@pytest.mark.parametrize(
    "values",
    [
        [1, 2],
        [1, None],
        ["a", None],
        [b"a"],
        [True],
        [1.5],
        [NOON, None],
        [date(2026, 6, 1)],
        [UUID(int=1)],
    ],
)
def test_a_list_of_one_kind_is_packed(values: list[Any]) -> None:
    assert isinstance(packed({"values": values})["values"], Packed)


@pytest.mark.parametrize(
    "value", [[], [None], [1, "a"], [1, True], [1, 2.5], [UUID(int=1), None], [datetime(2026, 6, 1)], (1, 2), 7, None]
)
def test_anything_else_is_left_as_it_is(value: object) -> None:
    assert packed({"value": value})["value"] is value
