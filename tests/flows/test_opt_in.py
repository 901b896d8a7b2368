"""After an opt-out of sale: an opt-in in two recorded acts, and the signal of a browser that is repeated after it."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cdp.flows.consent.acts import ConsentStatement, record
from cdp.flows.consent.lookup import Consents, look_up
from cdp.kit.canonical import sha256
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from cdp.policy.model import Policy
from cdp.sources.store.sources import add_source
from tests.support.messages import page
from tests.support.people import CALIFORNIA
from tests.support.pipeline import Pipeline, open_pipeline
from tests.support.policies import changed, documents_of, shipped

PERSON = ("user_id", "kim")


def overriding() -> Policy:
    """The shipped policy, under which an opt-in stands against GPC."""
    purpose = documents_of(shipped())["purposes.yaml"]["purposes"]["advertising"]
    return changed(shipped(), "purposes.yaml", purposes={"advertising": {**purpose, "opt_in_overrides_gpc": True}})


def opened(database: Database, folder: Path, policy: Policy) -> Pipeline:
    """A person in California whose browser sends GPC."""
    pipeline = open_pipeline(database, policy, folder)
    with database.transaction() as tx:
        add_source(tx, CALIFORNIA, sha256(b"west"), now=pipeline.clock.now())
    visit(pipeline)
    assert not permitted(pipeline)
    return pipeline


def visit(pipeline: Pipeline) -> None:
    """The browser of the person requests a page."""
    pipeline.clock.instant += timedelta(minutes=1)
    pipeline.send(page(anonymousId="phone", userId="kim"), source=CALIFORNIA, has_gpc=True)


def state(pipeline: Pipeline, *, authority: str = "authenticated", **more: Any) -> None:
    """The person grants advertising."""
    pipeline.clock.instant += timedelta(minutes=1)
    statement = ConsentStatement(PERSON, "advertising", "grant", authority=authority, jurisdiction="us-ca", **more)
    record(pipeline.context, statement)


def found(pipeline: Pipeline) -> Consents:
    return look_up(pipeline.context, PERSON, pipeline.clock.now(), actor="operator")


def permitted(pipeline: Pipeline) -> bool:
    return found(pipeline).verdicts["advertising"].allowed


def test_one_call_does_not_lift_an_opt_out(database: Database, tmp_path: Path) -> None:
    pipeline = opened(database, tmp_path, shipped())
    with pytest.raises(Fault, match="opt_in_not_requested"):
        state(pipeline, is_two_step=True, is_subject_initiated=True)
    assert not permitted(pipeline)
    assert pipeline.one("SELECT count(*) FROM consent.record WHERE act = 'grant'") == 0


def test_two_acts_lift_it(database: Database, tmp_path: Path) -> None:
    pipeline = opened(database, tmp_path, shipped())
    state(pipeline, is_subject_initiated=True)
    assert not permitted(pipeline)
    state(pipeline, is_two_step=True)
    assert permitted(pipeline)
    assert [each.get("is_subject_initiated") for each in found(pipeline).records if each["act"] == "grant"] == [
        True,
        None,
    ]


def test_the_second_act_has_its_window(database: Database, tmp_path: Path) -> None:
    pipeline = opened(database, tmp_path, shipped())
    state(pipeline, is_subject_initiated=True)
    pipeline.clock.instant += timedelta(hours=24)
    with pytest.raises(Fault, match="opt_in_not_requested"):
        state(pipeline, is_two_step=True)


def test_a_person_who_opted_out_is_not_asked_within_twelve_months(database: Database, tmp_path: Path) -> None:
    pipeline = opened(database, tmp_path, shipped())
    state(pipeline)
    with pytest.raises(Fault, match="asked_too_soon"):
        state(pipeline, is_two_step=True)
    assert not permitted(pipeline)
    pipeline.clock.instant += timedelta(days=366)
    state(pipeline)
    state(pipeline, is_two_step=True)
    assert permitted(pipeline)


@pytest.mark.parametrize("stands", [False, True])
def test_a_repeated_signal_opts_out_again_unless_the_policy_lets_the_opt_in_stand(
    database: Database, tmp_path: Path, *, stands: bool
) -> None:
    pipeline = opened(database, tmp_path, overriding() if stands else shipped())
    state(pipeline, is_subject_initiated=True)
    if stands:
        visit(pipeline)
    state(pipeline, is_two_step=True)
    assert permitted(pipeline)
    assert found(pipeline).opt_in_over_gpc.keys() == ({"advertising"} if stands else set())
    visit(pipeline)
    assert permitted(pipeline) is stands
    confirmed = [each["record"] for each in found(pipeline).records if each.get("is_two_step")]
    assert list(found(pipeline).opt_in_over_gpc.values()) == (confirmed if stands else [])
    signals = [each for each in found(pipeline).records if each.get("signal") == "gpc"]
    assert any(each.get("repeated_at") for each in signals), "the signal is recorded all the same"
    assert pipeline.one("SELECT count(*) FROM consent.permitted WHERE purpose = 'advertising'") == stands
