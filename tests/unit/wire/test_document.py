"""The body of a webhook: JSON, of which what can be read is read, or a form that is declared as one."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp.wire.document import FORM, read_document
from cdp.wire.limits import Unreadable

DEEP = "[" * 40 + "]" * 40
HUGE = "9" * 30


def of(text: str | bytes, content_type: bytes = b"application/json") -> Any:
    return read_document(text.encode() if isinstance(text, str) else text, content_type)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1}', {"a": 1}),
        ('\ufeff{"a": 1}', {"a": 1}),
        ("[1, {}]", [1, {}]),
        ("null", None),
        ('"a"', "a"),
        ("5", 5),
        ('{"a": NaN, "b": -Infinity, "c": ' + HUGE + "}", {"a": "NaN", "b": "-Infinity", "c": HUGE}),
        ('{"a": 1, "b": oops}', {"a": 1}),
        ('{"a": 1, "b": "\\ud800", "c": ' + HUGE + ', "d": NaN}', {"a": 1, "b": None, "c": HUGE, "d": "nan"}),
        ('{"a": 1, "b": {"c": 2, "d": "\\ud800"}}', {"a": 1, "b": {"c": 2, "d": None}}),
        ('{"a": 1, "\\ud800": 2}', {"a": 1, "": 2}),
        ('[{"a": 1}, {"a": oops, "b": 2}, oops, "x"]', [{"a": 1}, {"b": 2}, None, "x"]),
        ('[{"a": 1}, [oops]]', [{"a": 1}, None]),
    ],
)
def test_json(text: str, expected: Any) -> None:
    assert of(text) == expected


def test_what_is_too_deep_is_left_out_and_the_rest_is_read() -> None:
    found = of('{"a": 1, "b": ' + DEEP + "}")
    assert found["a"] == 1
    assert msgspec.json.encode(found["b"]).count(b"[") <= 32
    [first, second] = of('[{"a": 1}, {"b": {"c": 2, "d": ' + DEEP + "}}]")
    assert (first, second["b"]["c"]) == ({"a": 1}, 2)


def test_bytes_that_are_not_unicode_cost_their_text() -> None:
    assert of(b'{"a": "\xff", "b": 1}') == {"a": None, "b": 1}
    assert of(b'[{"a": "\xff", "b": 1}]') == [{"a": None, "b": 1}]


@pytest.mark.parametrize("text", ["", "{", "oops", "[oops]", "[oops, oops]", '{"a" 1}', "[[]", DEEP * 2, "a=1"])
def test_what_cannot_be_read_at_all(text: str) -> None:
    with pytest.raises(Unreadable):
        of(text)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("type=a&fired_at=2026-11-02+10%3A00%3A00", {"type": "a", "fired_at": "2026-11-02 10:00:00"}),
        (
            "data[email]=a%40b.c&data%5Bmerges%5D%5BFNAME%5D=%C3%84da",
            {"data": {"email": "a@b.c", "merges": {"FNAME": "Äda"}}},
        ),
        ("a=1&a=2&b=", {"a": "2", "b": ""}),
        ("a=1&a[b]=2", {"a": {"b": "2"}}),
        ("a[]=1&a[x", None),
        ("a[b=1", {"a": {"b": "1"}}),
        ('{"a": 1}', {"a": 1}),
        ("a=%FF", None),
        ("a=" + "&a=" * 2_000, None),
        ("a" + "[b]" * 40 + "=1", None),
        ("ä=1", None),
    ],
)
def test_forms(body: str, expected: Any) -> None:
    if expected is None:
        with pytest.raises(Unreadable):
            of(body, FORM + b"; charset=utf-8")
    else:
        assert of(body, FORM.upper()) == expected


@given(st.binary(max_size=60) | st.text('{}[]",:0123eN\\u\ud7ff', max_size=40).map(str.encode))
def test_whatever_is_read_can_be_written(body: bytes) -> None:
    for content_type in (b"", FORM):
        try:
            found = of(body, content_type)
        except Unreadable:
            continue
        assert msgspec.json.decode(msgspec.json.encode(found)) == found
