"""In which order the messages of one batch are taken."""

from itertools import permutations
from pathlib import Path

import pytest

from cdp.accounting.model import State
from cdp.kit.db import Database
from tests.generative.test_identity_batches import check_map
from tests.support.messages import consent_context, track
from tests.support.people import WEB
from tests.support.pipeline import open_pipeline
from tests.support.policies import permit_all, shipped

pytestmark = pytest.mark.postgres


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_a_consent_counts_for_what_came_with_it_whatever_its_id(
    order: tuple[int, ...], database: Database, tmp_path: Path
) -> None:
    pipeline = open_pipeline(database, shipped(), tmp_path)
    granted = consent_context(analytics=True)
    bodies = [
        track(anonymousId="a1", messageId="a"),
        track("Segment Consent Preference Updated", anonymousId="a1", messageId="b", context=granted),
        track(anonymousId="a1", messageId="c"),
    ]
    outcomes = pipeline.send(*(bodies[place] for place in order), source=WEB)
    assert {each.state for each in outcomes} == {State.STORED}
    recorded = pipeline.one("SELECT count(DISTINCT anchor_id) FROM identity.resolution WHERE sequence = 1")
    assert recorded == 1
    check_map(pipeline)


def test_messages_of_one_batch_take_their_turns_by_arrival_then_by_id(database: Database, tmp_path: Path) -> None:
    """The one with the smaller id is heard first, so its customer keeps the address that only one may have."""
    pipeline = open_pipeline(database, permit_all(), tmp_path)
    mail = {"traits": {"email": "p@example.com"}}
    pipeline.send(track(userId="u2", messageId="2", context=mail), track(userId="u1", messageId="1", context=mail))
    first = pipeline.one("SELECT profile_id FROM identity.profile WHERE origin_sequence = 1")
    assert pipeline.people()[first] == {"user_id": {"u1"}}
    check_map(pipeline)


@pytest.mark.parametrize("purpose", ["analytics", "personalization", "email_marketing", "advertising"])
def test_the_message_that_brings_a_yes_is_kept_for_what_it_permits(
    purpose: str, database: Database, tmp_path: Path
) -> None:
    pipeline = open_pipeline(database, shipped(), tmp_path)
    choices = dict.fromkeys(["analytics", "personalization", "email_marketing", "advertising"], False) | {purpose: True}
    body = track("Segment Consent Preference Updated", anonymousId="a1", context=consent_context(**choices))
    assert pipeline.send(body, source=WEB)[0].state is State.STORED
    assert pipeline.one("SELECT string_agg(purpose, ' ') FROM consent.permitted") == purpose
    assert pipeline.one("SELECT count(*) FROM consent.refused") == 3


def test_a_browser_grants_for_its_own_device_alone(database: Database, tmp_path: Path) -> None:
    """Anybody may send with a public write key, and name somebody else's device beside the own."""
    pipeline = open_pipeline(database, shipped(), tmp_path)
    context = {
        **consent_context(analytics=True, advertising=False),
        "externalIds": [{"id": "somebodys-phone", "type": "ios.id", "collection": "users", "encoding": "none"}],
    }
    assert pipeline.send(track(anonymousId="a1", context=context), source=WEB)[0].state is State.STORED
    with pipeline.context.database.transaction(read_only=True) as tx:
        said = tx.execute(
            "SELECT type, act, purpose FROM consent.record JOIN identity.identifier USING (identifier_id) ORDER BY 1, 2"
        )
    assert said == [
        ("anonymous_id", "grant", "analytics"),
        ("anonymous_id", "refuse", "advertising"),
        ("ios.id", "refuse", "advertising"),
    ]
