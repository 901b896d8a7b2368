"""A no on an identifier that hundreds of profiles were seen with: true for every one of them, and not decided one by one."""

from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from cdp.consent.decide import decide
from cdp.consent.model import Verdict
from cdp.consent.store.verdicts import has_stored_row, permitted_of, refused_of
from cdp.flows.consent.acts import ConsentStatement, record
from cdp.flows.consent.verdicts import current_verdicts
from cdp.identity.store.consent_subjects import next_profiles
from cdp.kit.canonical import sha256
from cdp.kit.db import Database
from cdp.policy.model import Policy
from cdp.sources.store.sources import add_source
from tests.support.calls import counting_calls
from tests.support.messages import consent_context, page, track
from tests.support.people import new_source
from tests.support.pipeline import Pipeline, open_pipeline
from tests.support.policies import changed, documents_of, shipped

SHOP = new_source(1, "shop", jurisdiction="us-ca")
EUROPE = new_source(2, "europe", jurisdiction="eu")
CROWD = 230
TABLET = ("anonymous_id", "tablet")


@pytest.fixture
def pipeline(database: Database, tmp_path: Path) -> Pipeline:
    """A tablet on which a crowd signed in; some of them had granted, refused or withdrawn something before."""
    return crowded(database, tmp_path, shipped())


def crowded(database: Database, folder: Path, policy: Policy) -> Pipeline:
    pipeline = open_pipeline(database, policy, folder)
    with database.transaction() as tx:
        for source in (SHOP, EUROPE):
            add_source(tx, source, sha256(source.name.encode()), now=pipeline.clock.now())
    chance = Random(5)
    before = [
        page(
            userId=f"u{n}",
            context=consent_context(**{chance.choice(("C0002", "C0003", "C0004")): chance.random() < 0.6}),
        )
        for n in range(CROWD)
        if n % 3
    ]
    pipeline.send(*before, source=SHOP)
    pipeline.clock.instant += timedelta(hours=1)
    people = [track("Product Viewed", userId=f"u{n}", anonymousId="tablet") for n in range(CROWD)]
    pipeline.send(*people, source=SHOP)
    assert pipeline.one("SELECT count(*) FROM identity.identifier WHERE is_shared") == 1
    pipeline.clock.instant += timedelta(hours=1)
    return pipeline


def assert_exact(pipeline: Pipeline) -> dict[int, dict[str, Verdict]]:
    """What is stored about everybody is what deciding from the records gives; no projected trait or bucket is left over."""
    with pipeline.context.database.transaction(read_only=True) as tx:
        profiles = next_profiles(tx, 0, 10_000)
        decided = current_verdicts(tx, pipeline.context.policy, profiles, now=pipeline.clock.now())
        permitted, refused = permitted_of(tx, profiles), refused_of(tx, profiles)
    assert len(profiles) >= CROWD
    for profile_id, verdicts in decided.items():
        allowed = {key: (one.since, one.until) for key, one in verdicts.items() if one.allowed}
        reasons = {key: one.reason for key, one in verdicts.items() if not one.allowed and has_stored_row(one)}
        assert {key: (row.since, row.until) for key, row in permitted.get(profile_id, {}).items()} == allowed
        assert refused.get(profile_id, {}) == reasons
    traits = {key: trait.purpose for key, trait in pipeline.context.policy.traits.items()}
    left = """
        SELECT count(*) FROM behavior.bucket AS b JOIN identity.canonical USING (anchor_id)
        JOIN unnest(%(traits)s::text[], %(purposes)s::text[]) AS t (trait, purpose) USING (trait)
        WHERE NOT EXISTS (SELECT FROM consent.permitted AS p
                          WHERE p.profile_id = canonical.profile_id AND p.purpose = t.purpose)
    """
    with pipeline.context.database.transaction(read_only=True) as tx:
        assert tx.execute(left, {"traits": list(traits), "purposes": list(traits.values())}) == [(0,)]
    return decided


def refuse_by_api(pipeline: Pipeline, act: str = "withdraw", purpose: str = "analytics") -> None:
    record(pipeline.context, ConsentStatement(TABLET, purpose, act, jurisdiction="us-ca"))


def test_a_withdrawal_counts_for_everybody_and_decides_few(pipeline: Pipeline) -> None:
    with counting_calls(decide) as calls:
        refuse_by_api(pipeline)
    assert not any(verdicts["analytics"].allowed for verdicts in assert_exact(pipeline).values())
    assert calls[0] < CROWD
    ended = "SELECT count(*) FROM consent.withdrawal WHERE purpose = 'analytics'"
    assert pipeline.one(ended) > CROWD / 2


def test_a_signal_counts_for_everybody_and_a_repetition_decides_nobody_again(pipeline: Pipeline) -> None:
    with counting_calls(decide) as calls:
        pipeline.send(page(anonymousId="tablet"), source=SHOP, has_gpc=True)
    assert not any(verdicts["advertising"].allowed for verdicts in assert_exact(pipeline).values())
    assert calls[0] < CROWD
    pipeline.clock.instant += timedelta(minutes=5)
    with counting_calls(decide) as calls:
        pipeline.send(page(anonymousId="tablet"), source=SHOP, has_gpc=True)
    assert_exact(pipeline)
    assert calls[0] < CROWD / 2


def test_a_grant_that_came_later_than_a_dated_withdrawal_stands(pipeline: Pipeline) -> None:
    withdrawn_at = pipeline.clock.now()
    pipeline.clock.instant += timedelta(minutes=5)
    granted = ConsentStatement(("user_id", "u7"), "analytics", "grant", jurisdiction="us-ca")
    record(pipeline.context, granted)
    pipeline.clock.instant += timedelta(minutes=5)
    record(
        pipeline.context,
        ConsentStatement(TABLET, "analytics", "withdraw", jurisdiction="us-ca", occurred_at=withdrawn_at),
    )
    decided = assert_exact(pipeline)
    assert [verdicts["analytics"].allowed for verdicts in decided.values()].count(True) == 1


def test_of_two_refusals_the_stronger_is_the_reason(pipeline: Pipeline) -> None:
    for act in ("withdraw", "refuse", "object", "refuse"):
        refuse_by_api(pipeline, act)
        assert_exact(pipeline)
        pipeline.clock.instant += timedelta(minutes=1)
        pipeline.send(page(anonymousId="tablet", context=consent_context(C0002=False)), source=SHOP)
        assert_exact(pipeline)


def test_an_act_under_another_law_is_decided_for_everybody(pipeline: Pipeline) -> None:
    """It brings the model of its jurisdiction for every purpose: without a grant, nothing is permitted."""
    pipeline.send(page(anonymousId="tablet", context=consent_context(C0002=False)), source=EUROPE)
    decided = assert_exact(pipeline)
    assert sum(verdicts["personalization"].allowed for verdicts in decided.values()) < CROWD / 2


def test_a_standing_opt_in_stays_against_a_repeated_signal(database: Database, tmp_path: Path) -> None:
    policy = changed(
        shipped(), "purposes.yaml", purposes={"advertising": {**_rule("advertising"), "opt_in_overrides_gpc": True}}
    )
    pipeline = crowded(database, tmp_path, policy)
    pipeline.send(page(anonymousId="tablet"), source=SHOP, has_gpc=True)
    for is_confirmed in (False, True):
        pipeline.clock.instant += timedelta(minutes=5)
        statement = ConsentStatement(
            ("user_id", "u9"), "advertising", "grant", authority="authenticated", jurisdiction="us-ca",
            is_two_step=is_confirmed, is_subject_initiated=True,
        )  # fmt: skip
        record(pipeline.context, statement)
    assert [verdicts["advertising"].allowed for verdicts in assert_exact(pipeline).values()].count(True) == 1
    pipeline.clock.instant += timedelta(minutes=5)
    pipeline.send(page(anonymousId="tablet"), source=SHOP, has_gpc=True)
    assert [verdicts["advertising"].allowed for verdicts in assert_exact(pipeline).values()].count(True) == 1


def _rule(key: str) -> dict[str, Any]:
    documents: dict[str, Any] = documents_of(shipped())
    return dict(documents["purposes.yaml"]["purposes"][key])
