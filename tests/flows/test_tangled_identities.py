"""Batches in which very many identifiers turn out to be shared, and profiles that grow without end."""

from pathlib import Path

from cdp.accounting.model import State
from cdp.identity.resolve import World
from cdp.kit.db import Database
from tests.generative.test_identity_batches import check_map
from tests.support.calls import counting_calls
from tests.support.messages import identify
from tests.support.people import SHOP, WEB
from tests.support.pipeline import open_pipeline
from tests.support.policies import changed, permit_all

_PEOPLE = 120
_CROWD = 1_050
_STRANGERS, _BATCH = 300, 30


def test_every_message_of_a_batch_may_teach_something(database: Database, tmp_path: Path) -> None:
    """Who tied a device to its user is learned first, then that it is shared: two restarts for each message."""
    pipeline = open_pipeline(database, permit_all(), tmp_path)
    pipeline.register()
    pipeline.send(*(identify(userId=f"u{n}", anonymousId=f"d{n}") for n in range(_PEOPLE)), source=WEB)
    others = [identify(userId=f"v{n}", anonymousId=f"d{n}") for n in range(_PEOPLE)]
    outcomes = pipeline.send(*others, source=WEB)
    assert {outcome.state for outcome in outcomes} == {State.STORED}
    assert pipeline.one("SELECT count(*) FROM identity.identifier WHERE is_shared") == _PEOPLE
    assert pipeline.partition() == {frozenset({("user_id", f"{u}{n}")}) for u in "uv" for n in range(_PEOPLE)}


def test_a_profile_with_too_many_sets_of_identifiers_is_quarantined_and_listed(
    database: Database, tmp_path: Path
) -> None:
    policy = changed(permit_all(), "identifiers.yaml", bounds={"anchors_per_profile": 5})
    pipeline = open_pipeline(database, policy, tmp_path)
    pipeline.register()
    bodies = [identify(userId="u", anonymousId=f"d{n}") for n in range(8)]
    states = [outcome.state for outcome in pipeline.send_each(bodies, source=WEB)]
    assert states == [State.STORED] * 6 + [State.NOT_PERMITTED] * 2  # the sixth is kept, and is the last
    assert pipeline.one("SELECT count(*) FROM identity.profile WHERE is_quarantined") == 1
    assert pipeline.one("SELECT rule FROM identity.evidence WHERE kind = 'quarantine'") == "bound:anchors_per_profile"
    known = identify(userId="u", anonymousId="d1")
    assert pipeline.send(known, source=WEB)[0].state is State.NOT_PERMITTED


def test_a_tablet_on_which_a_thousand_signed_in_stays_shared_when_a_server_names_one_of_them(
    database: Database, tmp_path: Path
) -> None:
    """Whose address it is depends on that customer's messages alone, and not on all the others'."""
    pipeline = open_pipeline(database, permit_all(), tmp_path)
    pipeline.register()
    people = [
        identify(userId=f"u{n}", anonymousId="tablet", traits={"email": f"p{n}@example.com"}) for n in range(_CROWD)
    ]
    for start in range(0, _CROWD, 150):
        pipeline.send(*people[start : start + 150], source=WEB)
    pipeline.send(identify(userId="u7", traits={"email": "p7@example.com"}), source=SHOP)
    crowded = "FROM identity.evidence JOIN identity.identifier USING (identifier_id) WHERE rule = 'crowded'"
    assert pipeline.one(f"SELECT array_agg(type) {crowded}") == ["anonymous_id"]
    assert pipeline.one("SELECT body->>'count' FROM audit.fact WHERE kind = 'identity.crowded'") == "1"
    pipeline.send(identify(userId="u8", traits={"email": "p8@example.com"}), source=SHOP)
    assert pipeline.one(f"SELECT count(*) {crowded}") == 1
    assert frozenset({("user_id", "u7"), ("email", "p7@example.com")}) in pipeline.partition()
    assert pipeline.one("SELECT count(*) FROM identity.identifier WHERE is_shared AND type = 'anonymous_id'") == 1
    check_map(pipeline)


def test_strangers_words_about_a_device_that_a_server_gave_to_somebody_cost_no_more_the_more_they_are(
    database: Database, tmp_path: Path
) -> None:
    """They were refused, so that nothing about the device depends on them."""
    pipeline = open_pipeline(database, permit_all(), tmp_path)
    pipeline.register()
    pipeline.send(identify(userId="ada", anonymousId="tablet"), source=SHOP)
    pipeline.send(identify(anonymousId="tablet", traits={"age": 30}), source=WEB)
    for start in range(0, _STRANGERS, _BATCH):
        crowd = [identify(userId=f"u{n}", anonymousId="tablet") for n in range(start, start + _BATCH)]
        pipeline.send(*crowd, source=WEB)
    with counting_calls(World.propose) as proposals:
        pipeline.send(identify(userId="one-more", anonymousId="tablet"), source=WEB)
    assert proposals[0] < _BATCH
    assert frozenset({("user_id", "ada"), ("anonymous_id", "tablet")}) in pipeline.partition()
    check_map(pipeline)
    with counting_calls(World.propose) as proposals:
        pipeline.send(identify(userId="bob", anonymousId="tablet"), source=SHOP)
    assert proposals[0] < _BATCH
    assert pipeline.one("SELECT is_shared FROM identity.identifier WHERE type = 'anonymous_id'")
    check_map(pipeline)


def test_an_address_that_hundreds_claimed_goes_to_whom_the_server_names_without_applying_their_words_again(
    database: Database, tmp_path: Path
) -> None:
    pipeline = open_pipeline(database, permit_all(), tmp_path)
    pipeline.register()
    address = {"email": "ada@example.com"}
    for start in range(0, _STRANGERS, _BATCH):
        crowd = [identify(userId=f"u{n}", traits=address) for n in range(start, start + _BATCH)]
        pipeline.send(*crowd, identify(traits=address), source=WEB)
    assert pipeline.one("SELECT is_shared FROM identity.identifier WHERE type = 'email'")
    with counting_calls(World.propose) as proposals:
        pipeline.send(identify(userId="ada", traits=address), source=SHOP)
    assert proposals[0] < 4 * _BATCH  # the first batch, in which it became shared, counts
    assert frozenset({("user_id", "ada"), ("email", "ada@example.com")}) in pipeline.partition()
    assert not pipeline.one("SELECT is_shared FROM identity.identifier WHERE type = 'email'")
    check_map(pipeline)
