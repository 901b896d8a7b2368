"""Several rows of one order are one message, complete or not at all."""

from pathlib import Path
from typing import Any

import pytest

from cdp.accounting.row_reasons import RowReason
from cdp.consent.model import Act
from cdp.flows.imports.groups import GROUP_ROWS_MAX, grouped
from cdp.flows.imports.mapping import Mapping, load_mapping
from cdp.flows.imports.read import inspect_file, rows_of
from cdp.flows.imports.row import row_reader
from cdp.kit.errors import Fault
from cdp.wire.message import Invalid, Message
from tests.support.people import NOON, SHOP

ORDERS = """
event: Order Completed
group_by: order
timestamp: {column: at}
identifiers: {email: mail}
properties:
  order_id: order
  revenue: {column: total, type: number}
  units: {column: quantity, type: integer, combine: sum}
  tax: {column: tax, type: number, combine: sum}
products:
  sku: sku
  quantity: {column: quantity, type: integer}
  shop: {value: main}
consents: {email_marketing: {column: letters}}
"""
HEADER = "order,mail,at,total,sku,quantity,tax,letters"


def messages_of(folder: Path, *rows: str, mapping: str = ORDERS) -> list[tuple[list[int], Message | Invalid]]:
    """The row numbers of each message, and the message."""
    file, rules = folder / "orders.csv", folder / "mapping.yaml"
    file.write_text("\n".join((HEADER, *rows, "")), encoding="utf-8", errors="surrogateescape")
    rules.write_text(mapping, encoding="utf-8")
    read = load_mapping(rules)
    found = inspect_file(file, read)
    reader = row_reader(read, SHOP, found.digest)
    with rows_of(found, read) as (all_rows, _):
        return [(list(row.numbers), reader(row, NOON)) for row in grouped(all_rows, read)]


def outcomes(folder: Path, *rows: str, mapping: str = ORDERS) -> list[tuple[list[int], str]]:
    return [
        (numbers, found.reason if isinstance(found, Invalid) else "")
        for numbers, found in messages_of(folder, *rows, mapping=mapping)
    ]


def test_rows_of_one_order_are_one_message(tmp_path: Path) -> None:
    (numbers, first), (other_numbers, second) = messages_of(
        tmp_path,
        "1,a@example.com,2026-05-01,90,CUP,1,0.1,",
        "1,a@example.com,,,PLATE,2,0.2,no",
        "2,a@example.com,2026-05-02,15,,,,",
    )
    assert (numbers, other_numbers) == ([1, 2], [3])
    assert isinstance(first, Message)
    assert isinstance(second, Message)
    assert first.body["properties"] == {
        "order_id": "1",
        "revenue": 90,
        "units": 3,
        "tax": 0.3,
        "products": [{"sku": "CUP", "quantity": 1, "shop": "main"}, {"sku": "PLATE", "quantity": 2, "shop": "main"}],
    }
    assert [act.act for act in first.acts] == [Act.REFUSE]
    assert second.body["properties"] == {"order_id": "2", "revenue": 15}
    assert first.message_id != second.message_id


def test_the_same_order_has_the_same_id_wherever_its_rows_are(tmp_path: Path) -> None:
    one, two, three = messages_of(
        tmp_path,
        "1,a@example.com,2026-05-01,90,CUP,1,,",
        "2,a@example.com,2026-05-02,15,,,,",
        "1,a@example.com,2026-05-01,90,PLATE,2,,",
    )
    ids = [found.message_id for _, found in (one, two, three) if isinstance(found, Message)]
    assert ids[0] == ids[2] != ids[1]


def test_rows_of_one_order_about_different_times_are_refused(tmp_path: Path) -> None:
    rows = ("1,a@example.com,2026-05-01,90,CUP,1,,", "1,,2026-05-03,,PLATE,2,,")
    assert outcomes(tmp_path, *rows) == [([1, 2], RowReason.GROUP_DISAGREES)]


def test_rows_of_one_order_about_different_people_are_refused_each_with_its_person(tmp_path: Path) -> None:
    rows = (
        "1,,2026-05-01,90,CUP,1,,no",
        "1,a@example.com,,,CUP,1,,",
        "1,,,,CUP,1,,no",
        "1,b@example.com,,,PLATE,2,,no",
    )
    assert outcomes(tmp_path, *rows) == [([number], RowReason.GROUP_DISAGREES) for number in (1, 2, 3, 4)]
    signals = [found.consents for _, found in messages_of(tmp_path, *rows) if isinstance(found, Invalid)]
    named = [[entry["id"] for entry in sent.body["context"]["externalIds"]] for sent in signals if sent is not None]
    assert named == [["a@example.com"], ["a@example.com"], ["b@example.com"]]


def test_an_order_beside_a_row_that_cannot_be_read_is_not_stored_with_too_few_articles(tmp_path: Path) -> None:
    assert outcomes(
        tmp_path,
        "1,a@example.com,2026-05-01,90,CUP,1,,",
        "1,broken",
        "2,a@example.com,2026-05-01,90,CUP,1,,",
        "3,a@example.com,2026-05-01,90,CUP,1,,",
        ",a@example.com,2026-05-01,90,CUP,1,,",
        "3,a@example.com,2026-05-01,90,CUP,1,,",
        "4,a@example.com,2026-05-01,90,CUP,1,,",
    ) == [
        ([1], RowReason.GROUP_INCOMPLETE),
        ([2], RowReason.ROW_MALFORMED),
        ([3], RowReason.GROUP_INCOMPLETE),
        ([4], RowReason.GROUP_INCOMPLETE),
        ([5], RowReason.GROUP_MISSING),
        ([6], RowReason.GROUP_INCOMPLETE),
        ([7], ""),
    ]


def test_a_line_with_invalid_bytes_refuses_its_order_but_not_its_refusal(tmp_path: Path) -> None:
    ((numbers, found),) = messages_of(tmp_path, "1,a@example.com,2026-05-01,90,CUP,1,,no", "1,,,,\udcff,2,,")
    assert isinstance(found, Invalid)
    assert (numbers, found.reason) == ([1, 2], RowReason.TEXT_NOT_UNICODE)
    assert found.consents is not None
    assert [act.act for act in found.consents.acts] == [Act.REFUSE]


def test_an_order_with_too_many_rows_is_refused_in_bounded_parts(tmp_path: Path) -> None:
    rows = [f"1,a@example.com,2026-05-01,90,S{n},1,," for n in range(2 * GROUP_ROWS_MAX)]
    found = outcomes(tmp_path, *rows, "2,a@example.com,2026-05-02,15,,,,")
    assert [reason for _, reason in found] == [RowReason.GROUP_TOO_LARGE] * (len(found) - 1) + [""]
    assert sum(len(numbers) for numbers, _ in found) == len(rows) + 1
    assert max(len(numbers) for numbers, _ in found) <= GROUP_ROWS_MAX + 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (ORDERS.replace("group_by: order\n", ""), "`combine: sum` in `units` requires `group_by`"),
        (
            ORDERS.replace("  sku: sku", "  sku: {column: tax, type: number, combine: sum}"),
            "only properties and traits are summed",
        ),
        (
            ORDERS.replace("order_id: order", "order_id: {column: order, combine: sum}"),
            "`combine: sum` requires a `column`",
        ),
        (ORDERS.replace("  order_id: order", "  products: order"), "`properties.products` and `products` are the same"),
    ],
)
def test_a_sum_that_has_no_meaning_is_refused(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "mapping.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(Fault) as refused:
        load_mapping(path)
    assert told in refused.value.detail


def test_objects_of_json_lines_are_grouped_too(tmp_path: Path) -> None:
    rules, file = tmp_path / "mapping.yaml", tmp_path / "orders.jsonl"
    rules.write_text("event: A\ngroup_by: o.id\nidentifiers: {user_id: u}\nproducts: {sku: s}\n", encoding="utf-8")
    file.write_text('{"o":{"id":1},"u":"x","s":"a"}\n{"o":{"id":1.0},"u":"x","s":"b"}\n', encoding="utf-8")
    mapping: Mapping = load_mapping(rules)
    found = inspect_file(file, mapping)
    reader: Any = row_reader(mapping, SHOP, found.digest)
    with rows_of(found, mapping) as (rows, _):
        (message,) = [reader(row, NOON) for row in grouped(rows, mapping)]
    assert message.body["properties"] == {"products": [{"sku": "a"}, {"sku": "b"}]}
