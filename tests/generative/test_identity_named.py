"""What a replay only names stays as it is: messages that say nothing about an identifier take nothing from its owner."""

from pathlib import Path
from random import Random
from typing import Any

import pytest

from cdp.flows.identity.lookup import look_up
from cdp.flows.identity.unmerge import unmerge
from cdp.identity.model import Identifier
from cdp.kit.db import Database
from cdp.sources.model import Source
from tests.generative.test_identity_batches import IMPORTED, check_map, empty
from tests.support.budget import examples
from tests.support.messages import track
from tests.support.people import SHOP, WEB
from tests.support.pipeline import Pipeline, open_pipeline
from tests.support.policies import changed, permit_all

pytestmark = pytest.mark.postgres

_MESSAGES, _IDENTIFIERS = 60, 6


@pytest.fixture
def pipeline(database: Database, tmp_path: Path) -> Pipeline:
    return open_pipeline(database, permit_all(), tmp_path)


def sent(pipeline: Pipeline, *named: tuple[str, ...], source: Source = SHOP) -> None:
    """One batch; each message by what it names: `u…` user ids, `a…` devices, `e…` addresses, `h…` households."""
    pipeline.send(*(naming(*names) for names in named), source=source)
    check_map(pipeline)


def naming(*names: str) -> dict[str, Any]:
    body: dict[str, Any] = track()
    traits = {}
    for name in names:
        match name[0]:
            case "u":
                body["userId"] = name
            case "a":
                body["anonymousId"] = name
            case "e":
                traits["email"] = f"{name}@example.com"
            case _:
                traits["household_id"] = name
    return body | {"context": {"traits": traits}}


def owner(pipeline: Pipeline, type_: str, value: str) -> str | None:
    return look_up(pipeline.context, Identifier(type_, value), actor="test").profile


def test_an_address_that_a_strangers_browser_names_stays_with_its_owner_when_the_device_is_taken(
    pipeline: Pipeline,
) -> None:
    """The stranger's message is applied again without its device; it still says nothing about the address."""
    sent(pipeline, ("u9", "e9"))
    owned = owner(pipeline, "email", "e9@example.com")
    sent(pipeline, ("u1", "a1"), ("u1", "a1", "e9"), source=WEB)
    sent(pipeline, ("u2", "a1"))
    assert owner(pipeline, "anonymous_id", "a1") == owner(pipeline, "user_id", "u2"), "a server's word takes a device"
    assert owner(pipeline, "email", "e9@example.com") == owned == owner(pipeline, "user_id", "u9")


def test_an_address_that_servers_proved_to_be_shared_stays_shared_when_a_browser_that_names_it_is_unmerged(
    pipeline: Pipeline,
) -> None:
    sent(pipeline, ("u8", "e9"), ("u9", "e9"))
    sent(pipeline, ("u1", "a1"), ("a1", "e9"), source=WEB)
    unmerge(pipeline.context, Identifier("user_id", "u1"), Identifier("anonymous_id", "a1"), dry_run=False)
    check_map(pipeline)
    assert pipeline.one("SELECT count(*) FROM identity.identifier WHERE type = 'email' AND is_shared") == 1


def test_the_profile_of_a_shared_device_stays_when_another_device_turns_out_to_be_shared(pipeline: Pipeline) -> None:
    sent(pipeline, ("u1", "a1"), ("u2", "a1"), ("a1",))
    shared = owner(pipeline, "anonymous_id", "a1")
    sent(pipeline, ("a1", "h1"), ("u1", "a2"), ("u2", "a2"))
    assert owner(pipeline, "anonymous_id", "a1") == shared


@pytest.mark.parametrize("bounds", [{}, {"identifiers_per_replay": 4}], ids=["bounds", "few_replayed"])
@pytest.mark.parametrize("seed", range(examples(6)))
def test_long_histories_of_three_kinds_of_sources_replay_to_the_stored_map(
    seed: int, bounds: dict[str, int], database: Database, tmp_path: Path
) -> None:
    empty(database)
    pipeline = open_pipeline(database, changed(permit_all(), "identifiers.yaml", bounds=bounds), tmp_path)
    chance = Random(seed)
    remaining = _MESSAGES
    while remaining > 0:
        size = chance.randint(1, 6)
        batch = [(_naming_some(chance), chance.choices((WEB, SHOP, IMPORTED), (6, 3, 1))[0]) for _ in range(size)]
        pipeline.ingest.process([pipeline.message(body, source=source) for body, source in batch])
        remaining -= size
    check_map(pipeline)


def _naming_some(chance: Random) -> dict[str, Any]:
    """A message that names one to three kinds of identifiers, as real ones do: rarely a household."""
    kinds = chance.sample("uuaaaeeh", k=chance.choice((1, 2, 2, 3)))
    return naming(*{kind: f"{kind}{chance.randrange(_IDENTIFIERS)}" for kind in kinds}.values())
