"""Two questions about an earlier instant: what the store knew then, and what had happened by then."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cdp.audit.store import facts as fact_store
from cdp.behavior.store import sweep as behavior_sweep_store
from cdp.flows.consent import acts, lookup
from cdp.flows.consent.as_of import AsOf, AsOfBasis
from cdp.flows.identity.unmerge import unmerge
from cdp.flows.operations import policy_history
from cdp.flows.operations.policy import apply_policy
from cdp.flows.rights import requests
from cdp.identity.model import Identifier
from cdp.identity.store import generation as generation_store
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from cdp.operations.store import policies as policy_store
from tests.support.messages import consent_context, identify, page
from tests.support.people import ADA_EMAIL, CALIFORNIA, SHOP
from tests.support.policies import changed, documents_of, shipped
from tests.support.requests import RequestPipeline, open_request_pipeline

pytestmark = pytest.mark.postgres

MARKETING = "email_marketing"
DEVICE, USER = ("anonymous_id", "d1"), ("user_id", "u1")


@pytest.fixture
def rights(database: Database, tmp_path: Path) -> RequestPipeline:
    return open_request_pipeline(database, shipped(), tmp_path)


def tell(rights: RequestPipeline, act: str, identifier: tuple[str, str] = ADA_EMAIL, **more: Any) -> datetime:
    """Record an act now, and give the instant half an hour later."""
    statement = acts.ConsentStatement(identifier, MARKETING, act, jurisdiction="eu", **more)
    acts.record(rights.context, statement)
    rights.later(minutes=30)
    between = rights.pipeline.clock.now()
    rights.later(minutes=30)
    return between


def asked(
    rights: RequestPipeline, instant: datetime, basis: AsOfBasis, identifier: tuple[str, str] = ADA_EMAIL
) -> lookup.Consents:
    as_of = AsOf(instant, basis)
    return lookup.look_up(rights.context, identifier, rights.pipeline.clock.now(), actor="auditor", as_of=as_of)


def allowed(
    rights: RequestPipeline, instant: datetime, identifier: tuple[str, str] = ADA_EMAIL, purpose: str = MARKETING
) -> tuple[bool, bool]:
    """Whether the purpose was permitted: as recorded, and as it was."""
    recorded, occurred = (asked(rights, instant, basis, identifier).verdicts[purpose].allowed for basis in AsOfBasis)
    return recorded, occurred


def test_a_yes_that_is_recorded_late_counts_from_when_it_was_given(rights: RequestPipeline) -> None:
    april = rights.pipeline.clock.now() - timedelta(days=40)
    tell(rights, "grant", occurred_at=april)
    assert allowed(rights, april - timedelta(days=1)) == (False, False)
    assert allowed(rights, april + timedelta(days=1)) == (False, True)
    assert asked(rights, april + timedelta(days=1), AsOfBasis.RECORDED).records == ()
    assert len(asked(rights, april + timedelta(days=1), AsOfBasis.OCCURRED).records) == 1


def test_a_no_that_is_recorded_late_was_one_although_nobody_knew(rights: RequestPipeline) -> None:
    granted = tell(rights, "grant")
    rights.later(days=2)
    tell(rights, "withdraw", occurred_at=granted + timedelta(minutes=1))
    assert allowed(rights, granted) == (True, True)
    assert allowed(rights, granted + timedelta(days=1)) == (True, False)


def test_a_later_repetition_was_not_known_and_had_not_happened(rights: RequestPipeline) -> None:
    def visit() -> datetime:
        message = rights.pipeline.message(page(anonymousId="d1"), source=CALIFORNIA, has_gpc=True)
        rights.pipeline.ingest.process([message])
        rights.later(hours=1)
        return rights.pipeline.clock.now() - timedelta(minutes=30)

    first, _ = visit(), visit()
    for basis in AsOfBasis:
        assert all("repeated_at" not in record for record in asked(rights, first, basis, DEVICE).records)
    now = rights.pipeline.clock.now()
    assert any("repeated_at" in record for record in asked(rights, now, AsOfBasis.RECORDED, DEVICE).records)


def test_before_a_merge_each_side_had_its_own_records(rights: RequestPipeline) -> None:
    rights.pipeline.send(page(anonymousId="d1", context=consent_context(analytics=True)), source=SHOP)
    rights.pipeline.send(page(userId="u1", context=consent_context(analytics=True)), source=SHOP)
    apart = rights.pipeline.clock.now()
    rights.later(hours=1)
    rights.pipeline.send(page(anonymousId="d1", userId="u1", context=consent_context(analytics=True)), source=SHOP)
    merged = rights.pipeline.clock.now()
    rights.later(hours=1)
    unmerge(rights.context, Identifier(*USER), Identifier(*DEVICE), dry_run=False)
    rights.later(hours=1)
    recorded = [len(asked(rights, at, AsOfBasis.RECORDED, USER).records) for at in (apart, merged)]
    assert recorded == [1, 2]
    assert len(asked(rights, rights.pipeline.clock.now(), AsOfBasis.RECORDED, USER).records) == 1
    assert len(asked(rights, merged, AsOfBasis.OCCURRED, USER).records) == 1, "they are known to be two people"


def test_the_policy_of_then_decides(rights: RequestPipeline) -> None:
    analytics = documents_of(shipped())["purposes.yaml"]["purposes"]["analytics"]
    model = dict.fromkeys(analytics["model"], "opt_out")
    with_opt_out = changed(shipped(), "purposes.yaml", purposes={"analytics": {**analytics, "model": model}})
    rights.pipeline.send(page(userId="u1", context=consent_context(personalization=True)), source=SHOP)
    strictly = rights.pipeline.clock.now()
    rights.later(hours=1)
    rights.context = apply_policy(rights.context, with_opt_out).context
    freely = rights.pipeline.clock.now()
    rights.later(hours=1)
    rights.context = apply_policy(rights.context, shipped()).context
    rights.later(hours=1)
    assert allowed(rights, strictly, USER, "analytics") == (False, False)
    assert allowed(rights, freely, USER, "analytics") == (True, True)
    assert allowed(rights, rights.pipeline.clock.now(), USER, "analytics") == (False, False)


@pytest.mark.parametrize("begins_with_it", [True, False])
def test_an_answer_says_that_the_mapping_of_then_is_not_on_record(
    rights: RequestPipeline, *, begins_with_it: bool
) -> None:
    before = tell(rights, "grant")
    migrated_at = rights.pipeline.clock.now()
    versions = (1, 18) if begins_with_it else (18,)
    with rights.context.database.transaction() as tx:
        facts = [{"kind": "schema.migrated", "actor": "system", "version": version} for version in versions]
        fact_store.append_many(tx, facts, migrated_at)
    rights.later(hours=1)
    since = asked(rights, before, AsOfBasis.RECORDED).mapping_on_record_since
    assert since == (None if begins_with_it else migrated_at)
    assert asked(rights, rights.pipeline.clock.now(), AsOfBasis.RECORDED).mapping_on_record_since is None


def test_a_corrected_age_that_was_deleted_since_makes_an_answer_incomplete(rights: RequestPipeline) -> None:
    rights.pipeline.send(
        identify(userId="u1", traits={"email": "ada@example.com"}, context=consent_context(email_marketing=True)),
        source=SHOP,
    )
    now = rights.pipeline.clock.now()
    details = requests.RequestDetails(values={"age": 36})
    request = requests.open_request(
        rights.context, kind="rectification", regime="gdpr", identifiers=[ADA_EMAIL], now=now, details=details
    )
    requests.verify(rights.context, request.request_id, now)
    requests.run(rights.context, request.request_id, now)
    rights.later(days=1)
    then = rights.pipeline.clock.now()
    assert asked(rights, then, AsOfBasis.RECORDED).incomplete == ()
    rights.later(days=1)
    with rights.context.database.transaction() as tx:
        generation_store.lock_exclusive(tx)
        assert behavior_sweep_store.delete_expired_traits(tx, rights.pipeline.clock.now(), 100)
    assert MARKETING in asked(rights, then, AsOfBasis.RECORDED).incomplete


def test_a_policy_that_this_version_cannot_read_is_reported_as_such(rights: RequestPipeline) -> None:
    then = rights.pipeline.clock.now()
    with rights.context.database.transaction() as tx:
        policy_store.add_policy(tx, b"\x01" * 32, {"purposes.yaml": {"of_another_version": True}}, now=then)
    rights.later(hours=1)
    for question in (
        lambda: asked(rights, then, AsOfBasis.RECORDED),
        lambda: policy_history.readable_policy_at(rights.context, then),
    ):
        with pytest.raises(Fault) as caught:
            question()
        assert caught.value.code == "policy_outdated"
        assert "cannot read the policy that was in force then" in (caught.value.detail or "")
