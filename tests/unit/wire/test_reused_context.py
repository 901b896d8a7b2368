"""Traits that a client library left in a context of several messages are used for nothing."""

from typing import Any

import pytest

from cdp.wire.reused_context import has_left_over_traits, without_left_over_traits

LIBRARY = {"name": "analytics-python", "version": "2.1.9"}
LEFT = {
    "channel": "server",
    "context": {"library": LIBRARY, "ip": "203.0.113.9", "traits": {"email": "cleo@example.com"}},
}


def test_they_are_left_out_of_every_message_but_identify() -> None:
    for kind in ("track", "page", "screen", "group", "alias"):
        assert has_left_over_traits(kind, LEFT)
        assert without_left_over_traits(kind, LEFT)["context"] == {"library": LIBRARY, "ip": "203.0.113.9"}
    assert not has_left_over_traits("identify", LEFT)
    assert without_left_over_traits("identify", LEFT) is LEFT


@pytest.mark.parametrize(
    "change",
    [
        {"channel": "web"},
        {"channel": None},
        {"context": {"library": {"name": "analytics-ruby"}, "traits": {"email": "x"}}},
        {"context": {"library": "analytics-python", "traits": {"email": "x"}}},
        {"context": {"library": LIBRARY}},
        {"context": {"library": LIBRARY, "traits": {}}},
        {"context": None},
        {"context": ["traits"]},
    ],
)
def test_traits_of_other_clients_are_those_of_the_message(change: dict[str, Any]) -> None:
    body = {**LEFT, **change}
    assert not has_left_over_traits("track", body)
    assert without_left_over_traits("track", body) is body
