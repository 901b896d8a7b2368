"""A read about a person sees one instant, whatever others commit between two statements."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from cdp.flows.consent import lookup as consent
from cdp.flows.identifiers import find_profile
from cdp.flows.identity import explain, lookup
from cdp.flows.operations.key_destruction import destroy_keys
from cdp.flows.operations.key_rotation import rotate_pseudonyms
from cdp.flows.rights import answer
from cdp.identity.model import Identifier
from cdp.kit.db import Database, Transaction
from cdp.kit.errors import Fault
from tests.support.messages import consent_context, identify, track
from tests.support.people import ADA, BOB
from tests.support.policies import permit_all
from tests.support.requests import RequestPipeline, open_request_pipeline

pytestmark = pytest.mark.postgres
ADA_ID = Identifier("user_id", "ada")
DEVICE = Identifier("anonymous_id", "device")


@pytest.fixture
def rights(database: Database, tmp_path: Path) -> RequestPipeline:
    return open_request_pipeline(database, permit_all(), tmp_path)


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[[], object]], None]:
    """Run something once, in another transaction, right after a function that a use case calls has read its data."""

    def happen(after: str, act: Callable[[], object]) -> None:
        name, _, function = after.rpartition(".")
        module = {"lookup": lookup, "consent": consent, "explain": explain, "answer": answer}[name]
        real = getattr(module, function)
        acts = [act]

        def reading(*given: Any, **more: Any) -> Any:
            found = real(*given, **more)
            while acts:
                acts.pop()()
            return found

        monkeypatch.setattr(module, function, reading)

    return happen


def test_a_look_up_during_a_merge_shows_the_person_before_it(rights: RequestPipeline, meanwhile: Any) -> None:
    rights.pipeline.send({**ADA, "userId": "older"})
    rights.pipeline.send(track(anonymousId="device"))
    merge = identify(userId="older", anonymousId="device")
    meanwhile("lookup.find_profile", lambda: rights.pipeline.send(merge))
    shown = lookup.look_up(rights.pipeline.context, DEVICE, actor="privacy")
    assert [(each.type, each.value) for each in shown.identifiers] == [("anonymous_id", "device")]
    assert shown.events == 1
    again = lookup.look_up(rights.pipeline.context, DEVICE, actor="privacy")
    assert len(again.identifiers) == 3


def test_a_look_up_during_an_erasure_shows_the_person_before_it(rights: RequestPipeline, meanwhile: Any) -> None:
    rights.pipeline.send(ADA)
    meanwhile("lookup.find_profile", lambda: rights.erase(("user_id", "ada")))
    shown = lookup.look_up(rights.pipeline.context, ADA_ID, actor="privacy")
    assert {each.value for each in shown.identifiers} == {"ada", "ada@example.com"}
    with pytest.raises(Fault, match="unknown_profile"):
        lookup.look_up(rights.pipeline.context, ADA_ID, actor="privacy")


def test_consents_during_an_erasure_are_those_before_it(rights: RequestPipeline, meanwhile: Any) -> None:
    now = rights.pipeline.clock.now()
    rights.pipeline.send({**ADA, "context": consent_context(advertising=True)})
    before = consent.look_up(rights.context, ADA_ID, now, actor="privacy")
    assert before.records
    meanwhile("consent.find_identifiers", lambda: rights.erase(("user_id", "ada")))
    assert consent.look_up(rights.context, ADA_ID, now, actor="privacy") == before
    assert consent.look_up(rights.context, ADA_ID, now, actor="privacy") != before


def test_an_explanation_during_an_erasure_is_that_before_it(rights: RequestPipeline, meanwhile: Any) -> None:
    rights.pipeline.send(ADA)
    meanwhile("explain.identifier_pair", lambda: rights.erase(("user_id", "ada")))
    explanation = explain.explain(rights.pipeline.context, ADA_ID, Identifier("email", "ada@example.com"))
    assert [(each.one.value, each.other.value) for each in explanation.path] == [("ada", "ada@example.com")]


def test_an_export_during_new_messages_and_an_erasure_is_of_one_instant(
    rights: RequestPipeline, meanwhile: Any
) -> None:
    rights.pipeline.send(ADA, BOB)
    request = rights.ask("access", ("user_id", "ada"))

    def act() -> None:
        rights.pipeline.send(track(userId="ada"))
        rights.erase(("user_id", "ada"))

    meanwhile("answer.locked_request", act)
    data = rights.opened(request)["data"]
    assert {each["value"] for each in data["identity.identifier"]} == {"ada", "ada@example.com"}
    assert len(data["behavior.event"]) == 1


def test_a_look_up_whose_key_is_destroyed_meanwhile_is_repeated(
    rights: RequestPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    rights.pipeline.send(ADA)
    begun: list[Transaction] = []
    real = find_profile

    def find(tx: Transaction, *given: Any) -> Any:
        begun.append(tx)
        if len(begun) == 1:
            tx.scalar(text("SELECT count(*) FROM identity.identifier"))
            rotate_pseudonyms(rights.pipeline.context)
            destroy_keys(rights.pipeline.context)
        return real(tx, *given)

    monkeypatch.setattr(lookup, "find_profile", find)
    shown = lookup.look_up(rights.pipeline.context, ADA_ID, actor="privacy")
    assert {each.value for each in shown.identifiers} == {"ada", "ada@example.com"}
    assert len(begun) == 2
