"""A cached profile is judged by what earlier messages of the same batch changed, also where no message names its person."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cdp.accounting.model import Outcome, State
from cdp.flows.consent import acts
from cdp.flows.consent.acts import ConsentStatement
from cdp.kit.db import Database
from cdp.sources.model import Source
from tests.support.messages import consent_context, identify, track
from tests.support.people import SHOP, WEB
from tests.support.pipeline import Pipeline, open_pipeline
from tests.support.policies import shipped

pytestmark = pytest.mark.postgres

YES = consent_context(analytics=True)
ADDRESS = {"traits": {"email": "e@x.example"}}


@pytest.fixture
def pipeline(database: Database, tmp_path: Path) -> Pipeline:
    pipeline = open_pipeline(database, shipped(), tmp_path)
    pipeline.register()
    return pipeline


def later(pipeline: Pipeline) -> None:
    pipeline.clock.instant += timedelta(minutes=1)


def recognized(pipeline: Pipeline, body: Mapping[str, Any], source: Source) -> None:
    """Send a message until the process knows its profile without the store."""
    for _ in range(2):
        assert pipeline.send(body, source=source) == [Outcome(State.STORED)]
    before = pipeline.ingest.profile_cache.recognized
    assert pipeline.send(body, source=source) == [Outcome(State.STORED)]
    assert pipeline.ingest.profile_cache.recognized == before + 1
    later(pipeline)


def outcomes(pipeline: Pipeline, change: Mapping[str, Any], body: Mapping[str, Any], source: Source) -> list[Outcome]:
    """What becomes of a message of a cached profile, after a server's message in its batch and once more in the next."""
    first, second = ({**body, "messageId": name} for name in ("b-1", "b-2"))
    cause = pipeline.message({**change, "messageId": "a-1"})
    _, together = pipeline.ingest.process([cause, pipeline.message(first, source=source)])
    later(pipeline)
    return [together, *pipeline.send(second, source=source)]


def test_a_device_whose_grant_counted_goes_to_somebody_else(pipeline: Pipeline) -> None:
    pipeline.send(track(userId="ada", anonymousId="tablet", context=YES), source=WEB)
    later(pipeline)
    recognized(pipeline, track(userId="ada"), WEB)
    taken = track(userId="bob", anonymousId="tablet", context=YES)
    refused = Outcome(State.NOT_PERMITTED, "no_grant")
    assert outcomes(pipeline, taken, track(userId="ada"), WEB) == [refused, refused]


def test_a_refusal_begins_to_count_because_its_address_turns_out_to_be_shared(pipeline: Pipeline) -> None:
    """No message of the batch names an identifier of the profile: only the address, which was left out of it as stale."""
    pipeline.send(track(userId="quin", context={**YES, **ADDRESS}))
    later(pipeline)
    earlier = (pipeline.clock.now() - timedelta(days=3)).isoformat()
    pipeline.send(identify(userId="pia", timestamp=earlier, context={**YES, **ADDRESS}))
    later(pipeline)
    refusal = ConsentStatement(("email", "e@x.example"), "analytics", "refuse", jurisdiction="eu")
    acts.record(pipeline.context, refusal)
    later(pipeline)
    recognized(pipeline, track(userId="pia"), SHOP)
    shared = track(userId="rae", context={**consent_context(personalization=True), **ADDRESS})
    refused = Outcome(State.NOT_PERMITTED, "refused")
    assert outcomes(pipeline, shared, track(userId="pia"), SHOP) == [refused, refused]
