"""Unmerge, its undo, explain, simulate and rebuild, on a real database."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cdp.flows.identity.explain import explain
from cdp.flows.identity.lookup import look_up
from cdp.flows.identity.simulate import simulate
from cdp.flows.identity.unmerge import rebuild, remerge, unmerge
from cdp.flows.segments import definitions, memberships
from cdp.identity.model import Identifier
from cdp.identity.store import closure as closure_store
from cdp.kit.db import Database, Transaction
from cdp.kit.errors import Fault
from cdp.segments.model import Draft, SegmentKey
from tests.generative.test_identity_batches import check_map
from tests.support.messages import consent_context, order, track
from tests.support.people import WEB
from tests.support.pipeline import Pipeline, open_pipeline
from tests.support.policies import changed, permit_all, segment_unify, shipped
from tests.support.requests import open_request_pipeline

pytestmark = pytest.mark.postgres
U1, U2 = Identifier("user_id", "u1"), Identifier("user_id", "u2")
A1, A2 = Identifier("anonymous_id", "a1"), Identifier("anonymous_id", "a2")
EMAIL = Identifier("email", "p@example.com")


@pytest.fixture
def pipeline(database: Database, tmp_path: Path) -> Pipeline:
    return open_pipeline(database, permit_all(), tmp_path)


def with_email(**fields: Any) -> dict[str, Any]:
    return track(**fields, context={"traits": {"email": "p@example.com"}})


def test_explain_returns_the_path_of_links_with_their_messages(pipeline: Pipeline) -> None:
    pipeline.send(track(anonymousId="a1", messageId="first"))
    pipeline.send(with_email(anonymousId="a1", messageId="second"))
    pipeline.send(with_email(userId="u1", messageId="third"))
    shown = explain(pipeline.context, A1, U1)
    assert shown.is_same_profile
    assert [(link.one.value, link.other.value, link.message_id) for link in shown.path] == [
        ("a1", "p@example.com", "second"),
        ("p@example.com", "u1", "third"),
    ]
    assert {link.policy for link in shown.path} == {pipeline.context.policy.fingerprint}


def test_explain_returns_the_refusal_that_keeps_two_apart(pipeline: Pipeline) -> None:
    pipeline.send(track(userId="u1", anonymousId="a1"), track(userId="u2", anonymousId="a2"))
    pipeline.send(track(userId="u2", anonymousId="a1", messageId="culprit"))
    shown = explain(pipeline.context, U1, A1)
    assert not shown.is_same_profile
    assert {refusal.rule for refusal in shown.refusals} == {"shared"}
    assert "culprit" in {refusal.message_id for refusal in shown.refusals} | {"culprit"}


def test_a_dry_run_of_unmerge_changes_nothing(pipeline: Pipeline) -> None:
    pipeline.send(track(anonymousId="a1"), track(userId="u1"), track(userId="u1", anonymousId="a1"))
    before = pipeline.people()
    shown = unmerge(pipeline.context, U1, A1, dry_run=True)
    assert shown.is_dry_run
    assert shown.keep is not None
    assert shown.sever is not None
    assert (shown.keep.events, shown.sever.events) == (2, 1)
    assert pipeline.people() == before
    assert pipeline.one("SELECT count(*) FROM identity.never") == 0
    assert pipeline.one("SELECT count(*) FROM audit.fact WHERE kind = 'identity.unmerged'") == 0


def test_the_dry_run_shows_the_result_of_the_unmerge(database: Database, tmp_path: Path) -> None:
    """Identifiers, events, traits, computed traits, consents and segments of each side are those after the unmerge."""
    bases = ["consent", "legitimate_interests", "contract"]
    readers = {"marketer": {"legal_bases": bases, "lookups_per_hour": 120}}
    rights = open_request_pipeline(database, changed(shipped(), "readers.yaml", roles=readers), tmp_path)
    pipeline = rights.pipeline
    definitions.define(
        pipeline.context,
        Draft(SegmentKey("buyers"), "Buyers", "service", "marketer"),
        'did("Order Completed", within 30 days)',
        is_new=True,
        actor="marketer",
    )
    granted = consent_context(analytics=True)
    pipeline.send(track(anonymousId="a1", properties={"price": 3}, context=granted), source=WEB)
    pipeline.send(order(userId="u1", context={"traits": {"country": "DE"}}), order(userId="u1", anonymousId="a1"))
    pipeline.send(track(userId="u1"))
    memberships.refresh(pipeline.context, "buyers")
    before = look_up(pipeline.context, U1, actor="privacy")
    assert (before.segments, before.events) == (("buyers",), 4)
    shown = unmerge(pipeline.context, U1, A1, dry_run=True)
    assert shown.before == (before,)
    assert look_up(pipeline.context, U1, actor="privacy") == before
    done = unmerge(pipeline.context, U1, A1, dry_run=False)
    for foreseen, side, events, kept in ((shown.keep, done.keep, 2, ("buyers",)), (shown.sever, done.sever, 1, ())):
        assert foreseen is not None
        assert side is not None
        assert replace(foreseen, profile=side.profile) == side
        assert (side.events, side.segments) == (events, kept)
    assert (shown.erased_events, done.erased_events, shown.other_profiles) == (1, 1, 0)
    assert done.keep is not None
    assert done.sever is not None
    assert (done.keep.consents["analytics"].allowed, done.sever.consents["analytics"].allowed) == (False, True)
    assert (done.keep.computed_traits["service_orders_count"], done.sever.computed_traits["orders_count"]) == (2, 0)
    assert done.sever.traits == {}
    assert look_up(pipeline.context, A1, actor="privacy") == done.sever
    assert pipeline.one("SELECT count(*) FROM consent.withdrawal") == 0


def test_unmerge_undoes_the_link_as_if_never_made_and_keeps_them_apart(pipeline: Pipeline) -> None:
    pipeline.send(track(anonymousId="a1"))
    ((older, _),) = pipeline.people().items()
    pipeline.send(track(userId="u1"))
    pipeline.send(track(userId="u1", anonymousId="a1"))
    assert set(pipeline.people()) == {older}
    unmerge(pipeline.context, U1, A1, dry_run=False)
    assert pipeline.partition() == {frozenset({A1}), frozenset({U1})}
    assert look_up(pipeline.context, A1, actor="privacy").events == 1
    assert look_up(pipeline.context, U1, actor="privacy").events == 2
    assert older in pipeline.people()
    pipeline.send(track(userId="u1", anonymousId="a1"))
    assert pipeline.partition() == {frozenset({A1}), frozenset({U1})}
    assert explain(pipeline.context, U1, A1).refusals[0].rule == "never"
    check_replay(pipeline)


def test_an_unmerge_can_be_undone(pipeline: Pipeline) -> None:
    pipeline.send(track(anonymousId="a1"), track(userId="u1"), track(userId="u1", anonymousId="a1"))
    before = pipeline.people()
    unmerge(pipeline.context, U1, A1, dry_run=False)
    remerge(pipeline.context, U1, A1, dry_run=False)
    assert pipeline.people() == before
    check_map(pipeline)
    with pytest.raises(Fault, match="not_kept_apart"):
        remerge(pipeline.context, U1, A1, dry_run=False)


def test_unmerging_what_is_not_linked_is_refused(pipeline: Pipeline) -> None:
    pipeline.send(track(userId="u1"), track(userId="u2"))
    with pytest.raises(Fault, match="not_merged"):
        unmerge(pipeline.context, U1, U2, dry_run=False)
    with pytest.raises(Fault, match="unknown_profile"):
        unmerge(pipeline.context, U1, A1, dry_run=False)


def test_each_side_gets_the_verdict_of_its_own_records(database: Database, tmp_path: Path) -> None:
    pipeline = open_pipeline(database, shipped(), tmp_path)
    granted = consent_context(analytics=True)
    refused = consent_context(analytics=False, personalization=True)
    pipeline.send(track(userId="u1", context=granted))
    pipeline.send(track(anonymousId="a1", context=refused))
    pipeline.send(order(userId="u1", anonymousId="a1"))
    assert not look_up(pipeline.context, U1, actor="privacy").consents["analytics"].allowed
    unmerge(pipeline.context, U1, A1, dry_run=False)
    assert look_up(pipeline.context, U1, actor="privacy").consents["analytics"].allowed
    assert not look_up(pipeline.context, A1, actor="privacy").consents["analytics"].allowed


def test_the_sides_of_a_shared_identifier_cannot_be_unmerged(pipeline: Pipeline) -> None:
    """The address links u1 and a1 by mistake, so that a message of u2 with a1 proves a1 to be shared."""
    pipeline.send(with_email(userId="u1"))
    pipeline.send(with_email(anonymousId="a1"))
    pipeline.send(track(userId="u2", anonymousId="a1"))
    assert pipeline.one("SELECT count(*) FROM identity.identifier WHERE is_shared") == 1
    assert pipeline.partition() == {frozenset({U1, EMAIL}), frozenset({U2})}
    with pytest.raises(Fault, match="not_merged"):
        unmerge(pipeline.context, EMAIL, A1, dry_run=False)


def test_simulate_counts_and_changes_nothing(pipeline: Pipeline) -> None:
    pipeline.send(track(userId="u1", anonymousId="a1"), track(userId="u2", anonymousId="a1"), track(anonymousId="a1"))
    before = contents(pipeline)
    shown = simulate(pipeline.context, segment_unify())
    assert (shown.profiles_now, shown.profiles_then, shown.merged, shown.split) == (3, 2, 1, 0)
    assert (shown.shared_now, shown.shared_then, shown.quarantined_now, shown.quarantined) == (1, 0, 0, 0)
    assert shown.refused == {"unique": 1}
    (example,) = shown.examples
    assert (example["change"], example["identifiers"]) == ("merged", {"user_id": 1, "anonymous_id": 1})
    profiles = example["profiles"]
    assert isinstance(profiles, list)
    assert len(set(profiles)) == 2
    assert contents(pipeline) == before


def test_simulate_shows_what_rules_in_force_would_still_change(pipeline: Pipeline, tmp_path: Path) -> None:
    """A policy applies to new messages at once; the stored mapping follows only when it is rebuilt."""
    pipeline.send(track(userId="u1", anonymousId="a1"), track(userId="u2", anonymousId="a1"), track(anonymousId="a1"))
    unified = open_pipeline(pipeline.context.database, segment_unify(), tmp_path)
    assert simulate(unified.context, segment_unify()).merged == 1
    done = rebuild(unified.context)
    assert (done.before, done.profiles, done.changed) == (3, 2, 2)
    assert simulate(unified.context, segment_unify()).merged == 0


def test_simulate_reads_in_a_transaction_that_cannot_write(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline.send(track(userId="u1", anonymousId="a1"))
    seen = []
    replayed = closure_store.recorded

    def recorded(tx: Transaction) -> closure_store.Closure:
        seen.append(tx.execute("SHOW transaction_read_only")[0][0])
        return replayed(tx)

    monkeypatch.setattr(closure_store, "recorded", recorded)
    simulate(pipeline.context, segment_unify())
    assert seen == ["on"]


def contents(pipeline: Pipeline) -> dict[str, int]:
    """A hash over the rows of each table, without those of the audit log."""
    with pipeline.context.database.transaction(read_only=True) as tx:
        tables = tx.execute(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables "
            "WHERE schemaname NOT IN ('pg_catalog', 'information_schema', 'audit') ORDER BY 1"
        )
        return {
            name: tx.execute(f"SELECT coalesce(sum(hashtextextended(t::text, 0)), 0) FROM {name} AS t")[0][0]
            for (name,) in tables
        }


@pytest.mark.parametrize("is_restored", [False, True])
def test_a_rebuild_equals_a_fresh_ingest_under_the_new_rules(
    pipeline: Pipeline, tmp_path: Path, is_restored: bool
) -> None:
    bodies = [
        track(userId="u1", anonymousId="a1", messageId="1"),
        track(userId="u2", anonymousId="a1", messageId="2"),
        track(anonymousId="a1", messageId="3"),
        track(userId="u9", anonymousId="a9", messageId="4"),
    ]
    pipeline.send_each(bodies)
    untouched = {profile for profile, owned in pipeline.people().items() if owned.get("user_id") == {"u9"}}
    other = open_pipeline(pipeline.context.database, segment_unify(), tmp_path)
    rebuild(other.context)
    assert other.partition() == {
        frozenset({U1, A1}),
        frozenset({U2}),
        frozenset({Identifier("user_id", "u9"), Identifier("anonymous_id", "a9")}),
    }
    assert untouched <= set(other.people())
    if is_restored:
        rebuild(pipeline.context)
        assert pipeline.partition() == {
            frozenset({U1}),
            frozenset({U2}),
            frozenset({A1}),
            frozenset({Identifier("user_id", "u9"), Identifier("anonymous_id", "a9")}),
        }
        check_map(pipeline)


def check_replay(pipeline: Pipeline) -> None:
    """Another rebuild changes nothing: the mapping is the result of the recorded sequence and the pairs kept apart."""
    before = pipeline.people()
    assert rebuild(pipeline.context).changed == 0
    assert pipeline.people() == before
