"""The age that a minimum age is compared with, by who stated it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from cdp.consent.model import Reason
from cdp.flows.consent.acts import ConsentStatement, record
from cdp.flows.consent.lookup import look_up
from cdp.flows.consent.withdrawal import clear_withdrawn
from cdp.flows.operations.retention import sweep
from cdp.flows.rights import requests
from cdp.kit.db import Database
from cdp.policy.model import Policy
from cdp.rights.model import Status
from cdp.sources.model import Source
from tests.support.messages import consent_context, identify
from tests.support.people import SHOP, WEB
from tests.support.pipeline import Pipeline, open_pipeline
from tests.support.policies import changed, documents_of, shipped

PERSON = ("user_id", "kim")
Statement = Callable[[Pipeline, int], None]


def policy_with(unknown_age: str) -> Policy:
    """The shipped policy with another verdict for people of unknown age."""
    purpose = documents_of(shipped())["purposes.yaml"]["purposes"]["personalization"]
    return changed(shipped(), "purposes.yaml", purposes={"personalization": {**purpose, "unknown_age": unknown_age}})


def opened(database: Database, folder: Path, unknown_age: str = "allow") -> Pipeline:
    pipeline = open_pipeline(database, policy_with(unknown_age), folder)
    pipeline.register()
    for purpose in ("personalization", "analytics"):
        statement = ConsentStatement(
            PERSON, purpose, "grant", authority="authenticated", jurisdiction="eu", occurred_at=pipeline.clock.now()
        )
        record(pipeline.context, statement)
    pipeline.clock.instant += timedelta(minutes=1)
    return pipeline


def state(pipeline: Pipeline, source: Source, **traits: Any) -> None:
    """The person states traits at a source."""
    pipeline.clock.instant += timedelta(minutes=1)
    context = consent_context(analytics=True) if source is SHOP else {}
    pipeline.send(identify(userId="kim", traits=traits, context=context), source=source)


def reason(pipeline: Pipeline) -> Reason:
    found = look_up(pipeline.context, PERSON, pipeline.clock.now(), actor="operator")
    return found.verdicts["personalization"].reason


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        ([(SHOP, 12), (WEB, 30)], Reason.TOO_YOUNG),
        ([(WEB, 30), (SHOP, 12)], Reason.TOO_YOUNG),
        ([(SHOP, 30), (WEB, 12)], Reason.TOO_YOUNG),
        ([(WEB, 12), (SHOP, 30)], Reason.TOO_YOUNG),
        ([(WEB, 12), (WEB, 30)], Reason.TOO_YOUNG),
        ([(SHOP, 12), (SHOP, 30)], Reason.GRANTED),
        ([(SHOP, 30), (SHOP, 12)], Reason.TOO_YOUNG),
        ([(SHOP, 30), (WEB, 40)], Reason.GRANTED),
    ],
    ids=lambda value: str([(source.name, age) for source, age in value]) if isinstance(value, list) else "",
)
@pytest.mark.parametrize("in_one_batch", [False, True])
def test_a_browser_may_lower_an_age_and_never_raises_it(
    database: Database,
    tmp_path: Path,
    *,
    statements: list[tuple[Source, int]],
    expected: Reason,
    in_one_batch: bool,
) -> None:
    pipeline = opened(database, tmp_path)
    if in_one_batch:
        batch = []
        for source, age in statements:
            pipeline.clock.instant += timedelta(minutes=1)
            batch.append(pipeline.message(identify(userId="kim", traits={"age": age}), source=source))
        pipeline.ingest.process(batch)
    else:
        for source, age in statements:
            state(pipeline, source, age=age)
    assert reason(pipeline) is expected
    assert pipeline.one("SELECT count(*) FROM consent.permitted WHERE purpose = 'personalization'") == (
        expected is Reason.GRANTED
    )


def browser_states(pipeline: Pipeline, age: int) -> None:
    pipeline.send(identify(userId="kim", traits={"age": age}), source=WEB)


def import_states(pipeline: Pipeline, age: int) -> None:
    message = pipeline.message(identify(userId="kim", traits={"age": age}, context=consent_context(analytics=True)))
    pipeline.ingest.process([replace(message, is_imported=True)])


def server_states(pipeline: Pipeline, age: int) -> None:
    pipeline.send(identify(userId="kim", traits={"age": age}, context=consent_context(analytics=True)), source=SHOP)


def rectification_states(pipeline: Pipeline, age: int) -> None:
    now = pipeline.clock.now()
    request = requests.open_request(
        pipeline.context,
        kind="rectification",
        regime="gdpr",
        identifiers=[PERSON],
        now=now,
        details=requests.RequestDetails(values={"age": age}),
    )
    requests.verify(pipeline.context, request.request_id, now)
    assert requests.run(pipeline.context, request.request_id, now).request.status is Status.FULFILLED


STATEMENTS = (browser_states, import_states, server_states, rectification_states)


@pytest.mark.parametrize(("before", "after"), [(12, 30), (30, 12)])
@pytest.mark.parametrize(("first", "second"), list(product(STATEMENTS, repeat=2)))
def test_every_pair_of_those_who_state_an_age(
    database: Database, tmp_path: Path, *, first: Statement, second: Statement, before: int, after: int
) -> None:
    """Decision 30: only a rectification raises what a browser lowered; of the others, the higher authority counts."""
    pipeline = opened(database, tmp_path)
    state(pipeline, SHOP, city="Lyon")  # a rectification corrects what is held about somebody
    for state_age, age in ((first, before), (second, after)):
        pipeline.clock.instant += timedelta(minutes=1)
        state_age(pipeline, age)
    if rectification_states in (first, second):
        counting = before if second is not rectification_states else after
    elif browser_states in (first, second):
        counting = 12
    else:
        counting = before if STATEMENTS.index(first) > STATEMENTS.index(second) else after
    assert reason(pipeline) is (Reason.GRANTED if counting == 30 else Reason.TOO_YOUNG)


def test_an_age_that_only_a_browser_stated_does_not_make_it_known(database: Database, tmp_path: Path) -> None:
    pipeline = opened(database, tmp_path, "refuse")
    assert reason(pipeline) is Reason.AGE_UNKNOWN
    state(pipeline, WEB, age=30)
    assert reason(pipeline) is Reason.AGE_UNKNOWN
    state(pipeline, SHOP, age=30)
    assert reason(pipeline) is Reason.GRANTED


def test_a_date_of_birth_counts_and_an_age_grows(database: Database, tmp_path: Path) -> None:
    pipeline = opened(database, tmp_path)
    state(pipeline, SHOP, birthday="2010-09-17")
    assert reason(pipeline) is Reason.TOO_YOUNG
    state(pipeline, SHOP, age=40)
    assert reason(pipeline) is Reason.TOO_YOUNG
    pipeline.clock.instant += timedelta(days=130)
    assert reason(pipeline) is Reason.GRANTED


def test_an_age_ends_with_its_last_purpose_and_with_its_retention(database: Database, tmp_path: Path) -> None:
    pipeline = opened(database, tmp_path)
    state(pipeline, SHOP, age=36)
    assert pipeline.one("SELECT count(*) FROM behavior.stated_age") == 1
    for purpose in ("personalization", "analytics"):
        record(pipeline.context, ConsentStatement(PERSON, purpose, "withdraw"))
    clear_withdrawn(pipeline.context)
    assert pipeline.one("SELECT count(*) FROM behavior.stated_age") == 0


def test_an_expired_age_is_deleted(database: Database, tmp_path: Path) -> None:
    pipeline = opened(database, tmp_path, "refuse")
    state(pipeline, SHOP, age=36)
    assert reason(pipeline) is Reason.GRANTED
    pipeline.clock.instant += timedelta(days=1096)
    sweep(pipeline.context, pipeline.clock.now())
    assert pipeline.one("SELECT count(*) FROM behavior.stated_age") == 0
