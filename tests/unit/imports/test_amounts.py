"""Amounts in the smallest unit of a currency, differences, and conditions that must all hold."""

from typing import Any

import pytest

from cdp.accounting.row_reasons import RowReason
from cdp.flows.imports.cells import InvalidRow, cell_of
from cdp.flows.imports.mapping import read_mapping
from cdp.flows.imports.parts import Value
from cdp.flows.imports.row import selection_of
from cdp.flows.imports.values import Values
from cdp.kit.errors import Fault

BARE = b"type: identify\nidentifiers: {user_id: id}\n"


def value(rule: dict[str, Any], *lines: dict[str, Any]) -> Any:
    return Values(read_mapping("m", BARE)).of(Value.model_validate({"column": "x", "type": "number", **rule}), lines)


MINOR = {"minor_units": {"currency": "c"}}
STRIPE = {"minor_units": {"currency": "c", "digits": "stripe"}}


@pytest.mark.parametrize(
    ("rule", "cells", "expected"),
    [
        (MINOR, {"x": 1999, "c": "EUR"}, 19.99),
        (MINOR, {"x": "1999", "c": " eur "}, 19.99),
        (MINOR, {"x": 2000, "c": "USD"}, 20),
        (MINOR, {"x": 500, "c": "JPY"}, 500),
        (MINOR, {"x": 500, "c": "ISK"}, 500),
        (STRIPE, {"x": 500, "c": "ISK"}, 5),
        (STRIPE, {"x": 500, "c": "UGX"}, 5),
        (MINOR, {"x": 500, "c": "MGA"}, 5),
        (STRIPE, {"x": 500, "c": "MGA"}, 500),
        (MINOR, {"x": 1234, "c": "KWD"}, 1.234),
        (MINOR, {"x": 12345, "c": "CLF"}, 1.2345),
        (MINOR, {"x": 1, "c": "XYZ"}, 0.01),
        ({"less": "y"}, {"x": 5, "y": 2}, 3),
        ({"less": "y"}, {"x": "0.3", "y": "0.1"}, 0.2),
        ({"less": "y"}, {"x": 5}, 5),
        ({"less": "y"}, {"y": 5}, None),
        ({"less": "y", **MINOR}, {"x": 500, "y": 499, "c": "EUR"}, 0.01),
    ],
)
def test_amounts(rule: dict[str, Any], cells: dict[str, Any], expected: Any) -> None:
    assert value(rule, cells) == expected


def test_each_amount_of_a_sum_has_its_own_currency() -> None:
    lines = [{"x": 150, "c": "EUR"}, {"x": 5, "c": "JPY"}, {}]
    assert value({"combine": "sum", **MINOR}, *lines) == 6.5


@pytest.mark.parametrize("code", [None, "", "EURO", "€", 978])
def test_an_amount_without_a_currency_is_invalid(code: Any) -> None:
    with pytest.raises(InvalidRow) as caught:
        value(MINOR, {"x": 1, "c": code})
    assert (caught.value.reason, caught.value.column) == (RowReason.CURRENCY_UNKNOWN, "c")


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("{column: x, minor_units: {currency: c}}", "`minor_units` requires a `column` with `type: number`"),
        ("{value: 5, type: number, minor_units: {currency: c}}", "`minor_units` requires a `column`"),
        ("{column: x, less: y}", "`less` requires a `column` with `type: number` or `type: integer`"),
        ("{column: x, type: number, minor_units: {curency: c}}", "unknown key `curency`; did you mean `currency`?"),
        ("{column: x, type: number, minor_units: {currency: c, digits: intl}}", "must be 'iso4217' or 'stripe'"),
    ],
)
def test_what_a_mapping_cannot_say_of_amounts(rule: str, told: str) -> None:
    with pytest.raises(Fault) as refused:
        read_mapping("m", b"event: A\nidentifiers: {user_id: id}\nproperties:\n  x: " + rule.encode())
    assert told in refused.value.detail


def test_the_columns_of_an_amount_are_those_it_reads() -> None:
    read = read_mapping("m", BARE + b"traits: {x: {column: x, type: number, less: y, minor_units: {currency: c}}}\n")
    assert read.columns == {"id", "x", "y", "c"}


@pytest.mark.parametrize(
    ("only", "selected"),
    [
        ("{column: a, values: ['1']}", [True, True, False]),
        ("[{column: a, values: ['1']}]", [True, True, False]),
        ("[{column: a, values: ['1']}, {column: b, values: [X, y]}]", [True, False, False]),
    ],
)
def test_of_several_conditions_each_must_hold(only: str, selected: list[bool]) -> None:
    selects = selection_of(read_mapping("m", BARE + b"only: " + only.encode()))
    rows: list[dict[str, Any]] = [{"a": 1, "b": "x"}, {"a": "1", "b": "z"}, {"b": "y"}]
    assert [selects((row,)) for row in rows] == selected


@pytest.mark.parametrize(
    ("only", "told"),
    [
        ("{colum: a, values: [x]}", "m:3:8: unknown key `colum`; did you mean `column`?"),
        ("[{column: a}]", "`values` is missing in only.0"),
        ("nothing", "only: must be a valid array"),
    ],
)
def test_a_condition_is_read_strictly(only: str, told: str) -> None:
    with pytest.raises(Fault) as refused:
        read_mapping("m", BARE + b"only: " + only.encode())
    assert told in refused.value.detail


def test_a_number_in_a_path_is_a_place_in_a_list() -> None:
    fields = {"a": [{"b": 1}, {"b": None}], "c": {"0": 5}, "d.1": 7}
    found = [cell_of(fields, path, frozenset()) for path in ("a.0.b", "a.1.b", "a.2.b", "a.-1.b", "a.b", "c.0", "d.1")]
    assert found == [1, None, None, None, None, 5, 7]
