"""The same messages in batches and one by one: the same answers, people, verdicts, events and traits in two worlds."""

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from cdp.flows.consent import acts
from cdp.flows.consent.acts import ConsentStatement
from cdp.flows.identifiers import open_identifiers
from cdp.identity.store.mapping import owners
from cdp.kit.db import Database
from cdp.sources.model import Source
from cdp.wire.message import Message
from tests.flows.test_erase_differential import another_database  # noqa: F401 - a fixture
from tests.generative.test_identity_undo import check_covered
from tests.support.budget import IS_LONG
from tests.support.messages import consent_context, track
from tests.support.people import NOON, SHOP, WEB
from tests.support.policies import shipped
from tests.support.requests import RequestPipeline, open_request_pipeline

pytestmark = pytest.mark.postgres

PURPOSES = ("analytics", "personalization", "email_marketing", "advertising")
Said = tuple[Mapping[str, Any], Source, bool]


def message(dice: Random, number: int) -> Said:
    """One message out of a small town in which devices change hands; no two happen at one instant."""
    body: dict[str, Any] = track(
        dice.choice(["Product Viewed", "Order Completed", "Email Opened"]),
        messageId=f"{dice.randrange(1000):03d}-{number}",
        timestamp=(NOON - timedelta(days=dice.choice([0, 0, 0, 9, 40]), seconds=900 - number)).isoformat(),
        properties={"revenue": number},
    )
    if dice.random() < 0.5:
        body["userId"] = f"u{dice.randrange(3)}"
    if dice.random() < 0.7 or "userId" not in body:
        body["anonymousId"] = f"a{dice.randrange(3)}"
    traits = {"email": f"p{dice.randrange(3)}@example.com"} if dice.random() < 0.4 else {}
    if dice.random() < 0.2:
        traits["country"] = dice.choice(["DE", "FR"])
    context: dict[str, Any] = {"traits": traits}
    if dice.random() < 0.5:
        choices = {purpose: dice.random() < 0.7 for purpose in dice.sample(PURPOSES, 2)}
        context |= consent_context(**choices)
    return {**body, "context": context}, dice.choice([WEB, SHOP]), dice.random() < 0.07


def in_turn(batch: Sequence[Message]) -> list[int]:
    """The places of a batch in the order in which it is taken: who speaks of consent first, then by id."""

    def turn(place: int) -> tuple[bool, str]:
        each = batch[place]
        return not (each.has_gpc or "consent" in each.body["context"]), each.message_id

    return sorted(range(len(batch)), key=turn)


def found(rights: RequestPipeline) -> dict[str, Any]:
    """What the store holds, told by names instead of ids."""
    check_covered(rights)
    with rights.context.database.transaction(read_only=True) as tx:
        held = owners(tx)
        opened = open_identifiers(tx, rights.context.vault, list(held))
        people: dict[int, list[tuple[str, str | None]]] = {}
        for identifier, profile in held.items():
            people.setdefault(profile, []).append((opened[identifier].type, opened[identifier].value))

        def told(query: str) -> list[str]:
            rows = tx.execute(query)
            return sorted(json.dumps([sorted(people[row[0]]), *row[1:]], default=str) for row in rows)

        on_people = "JOIN identity.canonical USING (anchor_id)"
        return {
            "people": sorted(map(sorted, people.values())),
            "permitted": told("SELECT profile_id, purpose, since, until FROM consent.permitted"),
            "refused": told("SELECT profile_id, purpose, reason FROM consent.refused"),
            "events": told(f"SELECT profile_id, occurred_at, bits FROM behavior.event {on_people}"),
            "traits": told(f"SELECT profile_id, name, occurred_at, bits FROM behavior.trait {on_people}"),
            "days": told(f"SELECT profile_id, trait, day, events FROM behavior.bucket {on_people} WHERE events > 0"),
        }


@pytest.mark.parametrize("seed", range(100 if IS_LONG else 4))
def test_batches_end_where_single_messages_end(
    seed: int,
    database: Database,
    another_database: Database,  # noqa: F811
    tmp_path: Path,
) -> None:
    dice = Random(seed)
    batched, single = (
        open_request_pipeline(each, shipped(), tmp_path / name)
        for each, name in ((database, "batched"), (another_database, "single"))
    )
    sent: list[Said] = []
    for minute in range(8):
        if dice.random() < 0.3:
            act = dice.choice(["grant", "refuse", "withdraw", "object"])
            told = ConsentStatement(
                ("anonymous_id", f"a{dice.randrange(3)}"), dice.choice(PURPOSES), act, jurisdiction="eu"
            )
        else:
            told = None
        said = [
            dice.choice(sent) if sent and dice.random() < 0.1 else message(dice, 10 * minute + at) for at in range(6)
        ]
        sent += said
        for rights in (batched, single):
            rights.pipeline.clock.instant = NOON + timedelta(minutes=minute)
            if told is not None:
                acts.record(rights.context, told)
        batch = [batched.pipeline.message(body, source=source, has_gpc=has_gpc) for body, source, has_gpc in said]
        answers = {place: single.pipeline.ingest.process([batch[place]])[0] for place in in_turn(batch)}
        assert batched.pipeline.ingest.process(batch) == [answers[place] for place in range(len(batch))]
    assert found(batched) == found(single)
