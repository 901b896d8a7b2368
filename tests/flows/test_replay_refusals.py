"""No refusal and no end of a restriction is lost by a restore, in whatever order acts and erasures came."""

from pathlib import Path
from typing import Any

import pytest

from cdp.accounting.model import Outcome, State
from cdp.flows.ingest.batch import Ingest
from cdp.flows.rights import requests
from cdp.flows.rights.replay import ReplayResult, replay
from cdp.flows.rights.requests import RequestDetails
from cdp.flows.rights.restrict import release
from cdp.flows.rights.suppression import lift_suppression
from cdp.kit.db import Database
from cdp.rights.model import Request
from tests.flows.test_replay import Copy
from tests.flows.test_weighed_objection import FRAUD, with_interests
from tests.support.messages import consent_context, identify, track
from tests.support.requests import RequestPipeline, open_request_pipeline, restarted

pytestmark = pytest.mark.postgres

USER = ("user_id", "ada")


@pytest.fixture
def rights(database: Database, tmp_path: Path) -> RequestPipeline:
    rights = open_request_pipeline(database, with_interests(), tmp_path)
    context, pipeline = rights.context, rights.pipeline
    pipeline.ingest = Ingest(database, context.vault, context.policy, clock=pipeline.clock, replay=context.replay)
    return rights


def answer(rights: RequestPipeline, **purposes: bool) -> str:
    """Send an answer of Ada; the instant at which it happened."""
    rights.later(hours=1)
    at = rights.pipeline.clock.now()
    rights.pipeline.send(identify(userId="ada", context=consent_context(**purposes)))
    return at.isoformat()


def restored(rights: RequestPipeline, copy: Copy) -> ReplayResult:
    """Restore a copy, and apply the replay file as a service that starts does."""
    copy.restore()
    rights.later(minutes=1)
    rights.pipeline.ingest = Ingest(
        rights.context.database,
        rights.context.vault,
        rights.context.policy,
        clock=rights.pipeline.clock,
        replay=rights.context.replay,
    )
    found = replay(restarted(rights.context), rights.pipeline.clock.now())
    rights.later(minutes=1)
    return found


def is_permitted(rights: RequestPipeline, purpose: str) -> bool:
    query = f"SELECT count(*) FROM consent.permitted WHERE purpose = '{purpose}'"
    return bool(rights.pipeline.one(query))


def sent(rights: RequestPipeline, **fields: Any) -> Outcome:
    return rights.pipeline.send(track(userId="ada", **fields))[0]


@pytest.mark.parametrize("is_restored", [False, True])
def test_a_repeated_refusal_stands_against_a_grant_from_before_it(rights: RequestPipeline, is_restored: bool) -> None:
    """A grant that was given between two equal refusals arrives after the database was restored to the first one."""
    answer(rights, email_marketing=False)
    copy = Copy(rights)
    rights.later(hours=1)
    between = rights.pipeline.clock.now().isoformat()
    answer(rights, email_marketing=False)
    if is_restored:
        restored(rights, copy)
    rights.later(hours=1)
    late = identify(userId="ada", timestamp=between, context=consent_context(email_marketing=True))
    rights.pipeline.send(late)
    assert not is_permitted(rights, "email_marketing")
    answer(rights, email_marketing=True)
    assert is_permitted(rights, "email_marketing")


def test_a_repeated_refusal_is_restored_once(rights: RequestPipeline) -> None:
    answer(rights, email_marketing=False)
    copy = Copy(rights)
    answer(rights, email_marketing=False)
    assert restored(rights, copy).opt_outs == 1
    with rights.context.database.transaction() as tx:
        tx.execute("UPDATE rights.replay SET number = 0, digest = ''")
    assert replay(rights.context, rights.pipeline.clock.now()).opt_outs == 0


def restrict(rights: RequestPipeline) -> None:
    request = rights.ask("restriction", USER)
    requests.run(rights.context, request.request_id, rights.pipeline.clock.now())
    rights.later(minutes=1)


def end_restriction(rights: RequestPipeline) -> None:
    release(rights.context, [USER], is_informed=True, now=rights.pipeline.clock.now())
    rights.later(minutes=1)


def weigh(rights: RequestPipeline) -> Request:
    request = requests.open_request(
        rights.context,
        kind="objection",
        regime="gdpr",
        identifiers=[USER],
        now=rights.pipeline.clock.now(),
        details=RequestDetails(purposes=(FRAUD,), is_weighed=True),
    )
    rights.later(minutes=1)
    return request


def reject(rights: RequestPipeline, request: Request) -> None:
    """Decide that the grounds of the controller override the objection, which ends the restriction of its purpose."""
    requests.deny(
        rights.context, request.request_id, "overriding_interests", now=rights.pipeline.clock.now(), is_informed=True
    )
    rights.later(minutes=1)


def test_an_erasure_after_the_end_of_a_restriction_still_suppresses(rights: RequestPipeline) -> None:
    sent(rights)
    copy = Copy(rights)
    restrict(rights)
    end_restriction(rights)
    rights.erase(USER)
    assert sent(rights).state is State.SUPPRESSED
    restored(rights, copy)
    assert sent(rights).state is State.SUPPRESSED


def test_a_restriction_after_a_lifted_suppression_refuses_them(rights: RequestPipeline) -> None:
    """Of a person whom the backup does not have."""
    copy = Copy(rights)
    sent(rights)
    rights.erase(USER)
    rights.later(minutes=1)
    lift_suppression(rights.context, [USER], is_verified=True, now=rights.pipeline.clock.now())
    rights.later(minutes=1)
    sent(rights)
    restrict(rights)
    assert sent(rights).reason == "restricted"
    restored(rights, copy)
    assert sent(rights).state is State.SUPPRESSED
    end_restriction(rights)
    assert sent(rights).state is State.STORED


@pytest.mark.parametrize("restores", [1, 2])
def test_the_end_of_a_weighing_is_known_of_somebody_whom_the_backup_does_not_have(
    rights: RequestPipeline, restores: int
) -> None:
    """Whether the restriction and its end are replayed together, or the end by a later restore."""
    copy = Copy(rights)
    sent(rights)
    weighed = weigh(rights)
    if restores == 2:
        full = Copy(rights)
        restored(rights, copy)
        assert fraud_bits(rights) == 0
        copy = Copy(rights)
        full.restore()
    reject(rights, weighed)
    restored(rights, copy)
    assert fraud_bits(rights) > 0


def test_a_refusal_of_the_purpose_stands_when_its_weighing_ends(rights: RequestPipeline) -> None:
    copy = Copy(rights)
    sent(rights)
    reject(rights, weigh(rights))
    requests.open_request(
        rights.context, kind="objection", regime="gdpr", identifiers=[USER], now=rights.pipeline.clock.now()
    )
    reject(rights, weigh(rights))
    restored(rights, copy)
    assert fraud_bits(rights) == 0


def fraud_bits(rights: RequestPipeline) -> int:
    """How many of the events that are sent now are stored for the weighed purpose."""
    rights.later(minutes=1)
    sent(rights)
    return int(
        rights.pipeline.one(
            "SELECT count(*) FROM behavior.event WHERE bits & (SELECT 1::bigint << bit FROM consent.purpose "
            f"WHERE purpose = '{FRAUD}') <> 0"
        )
    )
