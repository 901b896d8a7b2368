"""A dry run names what it refuses or reads in an odd way: by line, column and shape, never by value."""

import json
from pathlib import Path
from typing import Any

import pytest

from cdp.flows.imports.cells import Row
from cdp.flows.imports.mapping import load_mapping
from cdp.flows.imports.row_notices import KINDS_MAX, RowNotice, RowNotices, shape_of
from cdp.flows.imports.trial import try_file
from tests.support.people import NOON
from tests.support.policies import shipped

ORDERS = """
event: Order Completed
identifiers: {user_id: customer, email: mail}
timestamp: {column: at, zone: Europe/Berlin}
properties: {revenue: {column: amount, type: number}, currency: currency}
consents: {email_marketing: {column: letters}}
"""
HEADER = "customer,mail,at,amount,currency,letters"


def odd(folder: Path, *rows: str, mapping: str = ORDERS, header: str = HEADER) -> list[tuple[Any, ...]]:
    file, rules = folder / "orders.csv", folder / "mapping.yaml"
    file.write_text("\n".join((header, *rows, "")), encoding="utf-8")
    rules.write_text(mapping, encoding="utf-8")
    found = try_file(shipped(), file, load_mapping(rules), now=NOON).notices
    return [(entry["kind"], entry["place"], entry["shape"], entry["lines"]) for entry in found]


def test_rows_without_anything_odd_are_not_listed(tmp_path: Path) -> None:
    assert odd(tmp_path, "c1,a@example.com,2026-05-01 10:00,10.5,EUR,yes") == []


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ("c1,a@example.com,2026-05-01,1.234.5,EUR,", ("number_malformed", "amount", "number with group marks, 7 characters")),
        ("c1,a@example.com,2026-05-01,\"1,234\",EUR,", ("number_malformed", "amount", "number with group marks, 5 characters")),
        ("c1,a@example.com,1.5.2026,5,EUR,", ("instant_malformed", "at", "date, 8 characters")),
        ("c1,a@example.com,,5,EUR,", ("instant_missing", "at", "nothing")),
        ("c1,a@example.com,2026-05-01,5,EUR,perhaps", ("consent_not_mapped", "letters", "letters, 7 characters")),
        ("c1,a,b,c", ("row_malformed", "", "")),
        ("12345.0,a@example.com,2026-05-01,5,EUR,", ("identifier_fraction", "customer", "whole number with .0, 7 characters")),
        ("1.76E+12,a@example.com,2026-05-01,5,EUR,", ("malformed_identifier", "customer", "number with an exponent, 8 characters")),
        ("'123456,a@example.com,2026-05-01,5,EUR,", ("identifier_text_mark", "customer", "text, 7 characters")),
        ("c1,a@@example.com,2026-05-01,5,EUR,", ("malformed_identifier", "mail", "text, 14 characters")),
        ("null,a@example.com,2026-05-01,5,EUR,", ("blocked_identifier", "customer", "letters, 4 characters")),
        ("c1,a@example.com,2027-05-01,5,EUR,", ("future_time", "at", "date, 10 characters")),
        ("c1,a@example.com,2025-10-26 02:30,5,EUR,", ("local_time_twice", "at", "date, 16 characters")),
        ("c1,a@example.com,2026-03-29 02:30,5,EUR,", ("local_time_skipped", "at", "date, 16 characters")),
    ],
)  # fmt: skip
def test_what_is_odd_is_named(tmp_path: Path, row: str, found: tuple[str, str, str]) -> None:
    assert odd(tmp_path, "c0,z@example.com,2026-05-01,1,EUR,", row) == [(*found, [3])]


def test_a_time_with_its_zone_is_not_a_local_time(tmp_path: Path) -> None:
    assert odd(tmp_path, "c1,a@example.com,2025-10-26 02:30:00 +0100,5,EUR,") == []


def test_a_row_about_a_person_without_a_time_counts_from_the_import(tmp_path: Path) -> None:
    mapping = "type: identify\nidentifiers: {email: mail}\ntimestamp: {column: at}\n"
    assert odd(tmp_path, "a@example.com,", mapping=mapping, header="mail,at") == [
        ("time_of_import", "at", "nothing", [2])
    ]


def test_lines_are_those_of_the_file(tmp_path: Path) -> None:
    mapping = ORDERS + "skip_lines: 2\n"
    file, rules = tmp_path / "orders.csv", tmp_path / "mapping.yaml"
    first = 'c1,"a@example.com\n",2026-05-01,1,EUR,\n'
    file.write_text(f"Report\n\n{HEADER}\n{first}\nc1,a@example.com,2026-05-01,ten,EUR,\n", encoding="utf-8")
    rules.write_text(mapping, encoding="utf-8")
    (found,) = try_file(shipped(), file, load_mapping(rules), now=NOON).notices
    assert (found["kind"], found["lines"]) == ("number_malformed", [7])


def test_no_value_is_told(tmp_path: Path) -> None:
    rows = ("secret-1.0,sec@@ret.example,2026-05-01,secret,SECRET,secret", "777333,x@secret.example,secret,5,SECRET,no")
    assert "secret" not in json.dumps(odd(tmp_path, *rows)).casefold()
    assert "777333" not in json.dumps(odd(tmp_path, *rows))


def test_the_list_is_bounded() -> None:
    found = RowNotices()
    for n in range(3 * KINDS_MAX):
        found.note(Row(n, {}, line=n), RowNotice("number_malformed", f"column{n}", ""))
    assert len(found.document()) == KINDS_MAX + 1
    assert sum(entry["rows"] for entry in found.document()) == 3 * KINDS_MAX


@pytest.mark.parametrize(
    ("cell", "shape"),
    [
        (None, "nothing"),
        ("", "empty"),
        ("5", "digits, 1 character"),
        (5, "int"),
        ([], "list"),
        ("ab", "letters, 2 characters"),
    ],
)
def test_shapes(cell: object, shape: str) -> None:
    assert shape_of(cell) == shape


def test_an_amount_is_odd_with_its_currency(tmp_path: Path) -> None:
    found = odd(tmp_path, "c1,a@example.com,2026-05-01,5,Euro,")
    assert found == [
        ("mistyped_property", "currency", "not vocabulary currency", [2]),
        ("mistyped_property", "revenue", "not number in a currency that can be read", [2]),
    ]
