"""The archive handed to a person, and what is withheld from it."""

import json
import zipfile
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp.rights.archive import archive, to_json
from cdp.rights.page import DATA, page
from cdp.rights.plan import export_plan
from cdp.rights.withhold import is_withheld, withhold


def document(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "made_at": "2026-06-01T12:00:00.000000Z",
        "is_draft": False,
        "request": {"id": "req_0000000000001"},
        "about": [{"type": "user_id", "value": "C1"}],
        "purposes": [],
        "responsible": [{"role": "controller", "name": "Atlantis Ltd"}],
        "read_by": [{"at": "2026-05-01T09:30:00.000000Z", "role": "privacy", "what": "profile", "purpose": None}],
        "retention": [],
        "sources": [],
        "recipients": [],
        "your_rights": [{"right": "erasure", "text": "To be forgotten."}],
        "complain_to": "The authority of Atlantis",
        "held_but_not_shown": [
            {"what": "behavior.event.event_id", "reason": "a random id"},
            {"what": "behavior.event.anchor_id", "reason": "a random id"},
        ],
        "data": {"behavior.event": rows},
    }


def shown(rows: list[dict[str, Any]]) -> str:
    return page(document(rows), data_file="data.json")


def test_the_same_export_gives_the_same_bytes() -> None:
    at = datetime(2026, 6, 1, 12, tzinfo=UTC)
    one, other = (archive("req.zip", document([{"a": 1}]), at) for _ in range(2))
    assert one == other
    with zipfile.ZipFile(BytesIO(one.content)) as file:
        assert json.loads(file.read("data.json")) == document([{"a": 1}])


def test_rows_with_different_columns_share_a_table() -> None:
    text = shown([{"a": 1}, {"b": True, "c": {"d": ["x", None]}}])
    assert "<th>a</th><th>b</th><th>c</th>" in text
    assert "<td>yes</td><td>d: x, </td>" in text
    assert "Your activity" in text


def test_every_section_of_the_export_has_words_for_people() -> None:
    assert set(DATA) == {section.table for section in export_plan()}
    assert all(chapter.title for chapter in DATA.values())


def test_a_table_without_words_is_shown_all_the_same() -> None:
    text = page(document([]) | {"data": {"identity.shoe_size": [{"value": 43}]}}, data_file="data.json")
    assert "Shoe size (identity)" in text
    assert "<td>43</td>" in text


def test_the_persons_own_data_comes_before_what_is_not_shown() -> None:
    text = shown([{"name": "Product Viewed"}])
    places = [text.index(each) for each in ("user id C1", "Your activity", "Your rights", "a random id")]
    assert places == sorted(places)
    assert "The authority of Atlantis" in text
    assert text.count("a random id") == 1
    assert "behavior.event.event_id, behavior.event.anchor_id" in text


def test_what_is_not_there_is_said_once() -> None:
    text = shown([])
    assert "Sections without data" in text
    assert "<h2 id='behavior.event'>" not in text


@pytest.mark.parametrize(
    ("given_", "told"),
    [
        ("2026-11-05T18:21:00.029738Z", "5 Nov 2026, 18:21:00 UTC"),
        ("2026-11-05T18:21:00+00:00", "5 Nov 2026, 18:21:00 UTC"),
        ("1900-01-01T00:00:00.000000Z", "from the beginning"),
        ("2026-13-45T99:99:99Z", "2026-13-45T99:99:99Z"),
        ("2026-11-05", "2026-11-05"),
    ],
)
def test_instants_are_written_as_people_do(given_: str, told: str) -> None:
    assert f"<td>{told}</td>" in shown([{"occurred_at": given_}])


def test_columns_that_say_nothing_are_left_out() -> None:
    text = shown([{"a": None, "b": {}, "c": False}])
    assert "<tr><th>c</th></tr><tr><td>no</td></tr>" in text


@given(
    st.recursive(
        st.text() | st.none() | st.booleans() | st.integers(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_no_value_becomes_markup(value: Any) -> None:
    text, plain = shown([{"value": value}]), shown([{"value": "x"}])
    assert text.count("<script") == plain.count("<script") == 0
    assert json.loads(to_json(document([{"value": value}])))["data"]["behavior.event"] == [{"value": value}]


def test_what_would_do_harm_is_named_and_not_shown() -> None:
    categories = {"iban": "user.financial.bank_account", "note": "user.content"}
    assert withhold({"iban": "DE02", "note": "hi"}, categories.__getitem__) == {
        "iban": {"held_but_not_shown": "user.financial.bank_account"},
        "note": "hi",
    }
    assert not is_withheld("user.financially_literate")
