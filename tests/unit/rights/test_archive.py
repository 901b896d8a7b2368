"""The archive handed to a person, and what is withheld from it."""

import json
import zipfile
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cdp.rights.archive import archive, page, to_json
from cdp.rights.withhold import is_withheld, withhold


def document(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "made_at": "2026-06-01T12:00:00.000000Z",
        "request": {"id": "req_0000000000001"},
        "about": [],
        "purposes": [],
        "retention": [],
        "sources": [],
        "recipients": [],
        "held_but_not_shown": [],
        "data": {"behavior.event": rows},
    }


def test_the_same_export_gives_the_same_bytes() -> None:
    at = datetime(2026, 6, 1, 12, tzinfo=UTC)
    one, other = (archive("req.zip", document([{"a": 1}]), at) for _ in range(2))
    assert one == other
    with zipfile.ZipFile(BytesIO(one.content)) as file:
        assert json.loads(file.read("data.json")) == document([{"a": 1}])


def test_rows_with_different_columns_share_a_table() -> None:
    text = page(document([{"a": 1}, {"b": True, "c": {"d": ["x", None]}}]))
    assert "<th>a</th><th>b</th><th>c</th>" in text
    assert "<td>yes</td><td>d: x, </td>" in text
    assert "Event (behavior)" in text


@given(
    st.recursive(
        st.text() | st.none() | st.booleans() | st.integers(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_no_value_becomes_markup(value: Any) -> None:
    text = page(document([{"value": value}]))
    plain = page(document([{"value": "x"}]))
    assert text.count("<script") == plain.count("<script") == 0
    assert json.loads(to_json(document([{"value": value}])))["data"]["behavior.event"] == [{"value": value}]


def test_what_would_do_harm_is_named_and_not_shown() -> None:
    categories = {"iban": "user.financial.bank_account", "note": "user.content"}
    assert withhold({"iban": "DE02", "note": "hi"}, categories.__getitem__) == {
        "iban": {"held_but_not_shown": "user.financial.bank_account"},
        "note": "hi",
    }
    assert not is_withheld("user.financially_literate")
