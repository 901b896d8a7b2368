"""What real clients sent, sorted by the shipped tracking plan: nothing personal is ever plain, and nothing breaks."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from cdp.behavior.classify import classify, payload, terms_of
from cdp.behavior.entries import scalars_of
from cdp.behavior.model import EVENT_NAMES, Term
from cdp.behavior.rules import compile_plan
from tests.support.policies import ROOT, shipped

CAPTURES = sorted((ROOT / "tests" / "data" / "captures").glob("*.json"))
POLICY = shipped()
RULES = compile_plan(POLICY.events)
KINDS = {"identify", "track", "page", "screen", "group", "alias"}


def messages(captured: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for request in captured:
        body = request.get("body_json")
        if not isinstance(body, dict):
            continue
        batch = body.get("batch")
        listed = batch if isinstance(batch, list) else [body]
        yield from (each for each in listed if isinstance(each, dict) and each.get("type") in KINDS)


@pytest.mark.parametrize("file", CAPTURES, ids=lambda file: file.stem)
def test_only_numbers_booleans_and_terms_are_plain(file: Any) -> None:
    found = list(messages(json.loads(file.read_text(encoding="utf-8"))))
    assert found
    for message in found:
        sorted_ = classify(message["type"], message, RULES)
        for value in (*scalars_of(sorted_.plain), *sorted_.plain_traits.values()):
            assert isinstance(value, int | float | Term)
        for term in terms_of([sorted_]):
            assert "@" not in term.text
            assert term.vocabulary == EVENT_NAMES or POLICY.events.vocabularies[term.vocabulary].accepts(term.text)
        assert json.loads(payload(sorted_))["message_id"] == message.get("messageId")


@pytest.mark.parametrize("file", CAPTURES, ids=lambda file: file.stem)
def test_no_identifier_and_no_address_is_kept_beside_the_event(file: Any) -> None:
    for message in messages(json.loads(file.read_text(encoding="utf-8"))):
        kept = payload(classify(message["type"], message, RULES))
        told = json.loads(kept)
        assert not {"userId", "anonymousId", "previousId"} & told.keys()
        context = message.get("context") or {}
        if isinstance(context.get("ip"), str):
            assert context["ip"].encode() not in kept
        page = told.get("context", {}).get("page", {})
        assert "?" not in page.get("url", "") + page.get("referrer", "")
        assert "search" not in page
