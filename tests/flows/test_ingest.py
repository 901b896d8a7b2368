"""What becomes of messages in the ingest journey, on a real database."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cdp.accounting.model import Outcome, State
from cdp.kit.db import Database
from cdp.rights.replay_file import OptOut
from cdp.rights.store.suppressions import suppress_purposes
from cdp.sources.store.sources import add_source
from cdp.vault.pseudonym import SUPPRESSION
from tests.support import messages
from tests.support.messages import consent_context, track
from tests.support.people import NOON, SHOP, WEB
from tests.support.pipeline import Pipeline, open_pipeline
from tests.support.policies import permit_all, shipped

pytestmark = pytest.mark.postgres
STORED = Outcome(State.STORED)


@pytest.fixture
def pipeline(database: Database, tmp_path: Path) -> Pipeline:
    return open_pipeline(database, permit_all(), tmp_path)


def test_a_message_makes_a_profile_and_an_event(pipeline: Pipeline) -> None:
    assert pipeline.send(track(userId="u1", anonymousId="a1")) == [STORED]
    assert pipeline.partition() == {frozenset({("user_id", "u1"), ("anonymous_id", "a1")})}
    assert pipeline.one("SELECT count(*) FROM behavior.event") == 1
    assert pipeline.one("SELECT sum(messages)::int FROM accounting.accounting WHERE state = 'stored'") == 1


def test_the_same_message_counts_once_in_a_batch_and_later(pipeline: Pipeline) -> None:
    first, other = track(userId="u1", messageId="m"), track(userId="u2", messageId="m")
    assert [each.state for each in pipeline.send(first, other)] == [State.STORED, State.DUPLICATE]
    assert [each.state for each in pipeline.send(first)] == [State.DUPLICATE]
    assert pipeline.partition() == {frozenset({("user_id", "u1")})}
    assert pipeline.one("SELECT sum(messages)::int FROM accounting.notice WHERE kind = 'duplicate_other_body'") == 1


def test_messages_of_one_batch_build_on_each_other(pipeline: Pipeline) -> None:
    pipeline.send(track(anonymousId="a1"), track(userId="u1", anonymousId="a1"), track(userId="u1", anonymousId="a2"))
    assert pipeline.partition() == {frozenset({("user_id", "u1"), ("anonymous_id", "a1"), ("anonymous_id", "a2")})}
    assert pipeline.one("SELECT count(*) FROM identity.profile") == 1


def test_profiles_merge_across_batches_and_the_older_survives(pipeline: Pipeline) -> None:
    pipeline.send(track(anonymousId="a1"))
    (older,) = pipeline.people()
    pipeline.send(track(anonymousId="a2"))
    pipeline.send(track(userId="u1", anonymousId="a2"))
    pipeline.send(track(userId="u1", anonymousId="a1"))
    assert set(pipeline.people()) == {older}
    assert pipeline.one("SELECT count(DISTINCT profile_id) FROM identity.canonical") == 1
    assert pipeline.one("SELECT count(*) FROM identity.profile WHERE merged_into IS NOT NULL") == 1
    assert pipeline.one("SELECT count(*) FROM consent.permitted") == pipeline.one(
        "SELECT count(*) FROM consent.permitted WHERE profile_id IN (SELECT profile_id FROM identity.canonical)"
    )


@pytest.mark.parametrize("is_one_batch", [True, False])
def test_a_shared_tablet_keeps_people_apart_also_for_what_came_before(pipeline: Pipeline, is_one_batch: bool) -> None:
    messages = [
        track(anonymousId="kiosk"),
        track(userId="p1", anonymousId="kiosk"),
        track(anonymousId="kiosk"),
        track(userId="p2", anonymousId="kiosk"),
        track(anonymousId="kiosk"),
    ]
    outcomes = pipeline.send(*messages) if is_one_batch else pipeline.send_each(messages)
    assert outcomes == [STORED] * 5
    alone = {frozenset({("user_id", "p1")}), frozenset({("user_id", "p2")}), frozenset({("anonymous_id", "kiosk")})}
    assert pipeline.partition() == alone
    assert pipeline.one("SELECT count(*) FROM identity.identifier WHERE is_shared") == 1
    assert sorted(
        row
        for (row,) in _rows(
            pipeline,
            "SELECT count(*)::int FROM behavior.event JOIN identity.canonical USING (anchor_id) GROUP BY profile_id",
        )
    ) == [1, 1, 3]
    assert pipeline.one("SELECT count(*) FROM identity.evidence WHERE kind = 'shared'") == 1


def test_placeholders_are_blocked_and_counted(pipeline: Pipeline) -> None:
    outcomes = pipeline.send(track(userId="null"), track(userId="NULL", anonymousId="a1"), track())
    assert [each.state for each in outcomes] == [State.BLOCKED, State.STORED, State.INVALID]
    assert pipeline.partition() == {frozenset({("anonymous_id", "a1")})}


def test_what_is_older_than_its_retention_is_refused(pipeline: Pipeline) -> None:
    assert pipeline.send(track(userId="u1", timestamp="1970-01-01T00:00:00+00:00")) == [
        Outcome(State.INVALID, "expired")
    ]


def test_the_number_of_statements_does_not_grow_with_the_batch(pipeline: Pipeline) -> None:
    counts = []
    pipeline.send(track(userId="first"))
    for size in (10, 200):
        bodies = [track(userId=f"u{size}-{n}", anonymousId=f"a{size}-{n}") for n in range(size)]
        pipeline.send(*bodies)
        before = _statements(pipeline)
        pipeline.send(*[track(userId=f"u{size}-{n}", anonymousId=f"b{size}-{n}") for n in range(size)])
        counts.append(_statements(pipeline) - before)
    assert counts[0] == counts[1] > 0


class TestUnderTheShippedPolicies:
    """Absent is not granted."""

    @pytest.fixture
    def strict(self, database: Database, tmp_path: Path) -> Pipeline:
        return open_pipeline(database, shipped(), tmp_path)

    def test_without_consent_nothing_is_stored_and_nothing_learned(self, strict: Pipeline) -> None:
        (outcome,) = strict.send(track(anonymousId="a1"), source=WEB)
        assert outcome == Outcome(State.NOT_PERMITTED, "no_grant")
        for table in (
            "identity.identifier",
            "identity.anchor",
            "identity.profile",
            "behavior.event",
            "vault.subject_key",
        ):
            assert strict.one(f"SELECT count(*) FROM {table}") == 0, table

    def test_a_granting_message_is_stored_for_what_it_grants(self, strict: Pipeline) -> None:
        assert strict.send(_with_choices(anonymousId="a1", analytics=True), source=WEB) == [STORED]
        assert strict.send(track(anonymousId="a1"), source=WEB) == [STORED]
        assert strict.one("SELECT count(DISTINCT bits) FROM behavior.event") == 1

    def test_a_no_is_kept_although_its_message_is_refused(self, strict: Pipeline) -> None:
        (outcome,) = strict.send(_with_choices(anonymousId="a1", analytics=False), source=WEB)
        assert outcome == Outcome(State.NOT_PERMITTED, "refused")
        assert strict.one("SELECT count(*) FROM consent.record WHERE act = 'refuse'") == 1
        assert strict.one("SELECT count(*) FROM identity.profile") == 0
        strict.send(_with_choices(userId="u1", analytics=True), source=SHOP)
        (outcome,) = strict.send(track(userId="u1", anonymousId="a1"), source=SHOP)
        assert outcome == Outcome(State.NOT_PERMITTED, "refused")

    def test_a_refusal_wins_when_two_profiles_merge(self, strict: Pipeline) -> None:
        strict.send(_with_choices(userId="u1", analytics=True, personalization=True))
        strict.send(_with_choices(anonymousId="a1", analytics=False, personalization=True), source=WEB)
        assert strict.send(track(userId="u1", anonymousId="a1")) == [STORED]
        assert len(strict.people()) == 1
        assert strict.one("SELECT count(*) FROM consent.permitted WHERE purpose = 'analytics'") == 0
        assert strict.one("SELECT count(*) FROM consent.permitted WHERE purpose = 'personalization'") == 1

    def test_an_order_is_covered_by_the_contract_only_on_a_servers_word(self, strict: Pipeline) -> None:
        order = track("Order Completed", userId="u1", properties={"revenue": 10})
        assert strict.send(order, source=WEB)[0].state is State.NOT_PERMITTED
        assert strict.send(order, source=SHOP) == [STORED]


def _with_choices(*, userId: str | None = None, anonymousId: str | None = None, **choices: bool) -> dict[str, Any]:  # noqa: N803 - the wire's names
    ids: Mapping[str, Any] = {
        key: value for key, value in (("userId", userId), ("anonymousId", anonymousId)) if value is not None
    }
    return track(**ids, context=consent_context(**choices))


def _rows(pipeline: Pipeline, query: str) -> list[tuple[Any, ...]]:
    with pipeline.context.database.transaction(read_only=True) as tx:
        return tx.execute(query)


def _statements(pipeline: Pipeline) -> int:
    return pipeline.context.database.statements


def test_a_signals_no_is_in_the_replay_file_before_the_answer(database: Database, tmp_path: Path) -> None:
    pipeline = open_pipeline(database, shipped(), tmp_path)
    pipeline.send(_with_choices(anonymousId="a1", analytics=False), source=WEB)
    (written,) = [numbered.line for numbered in pipeline.context.replay.lines_after(0)]
    assert isinstance(written, OptOut)
    assert (written.purpose, written.act, written.signal) == ("analytics", "refuse", "segment")


def test_a_no_kept_by_pseudonym_alone_counts_when_its_identifier_appears(database: Database, tmp_path: Path) -> None:
    pipeline = open_pipeline(database, shipped(), tmp_path)
    (hidden,) = pipeline.context.vault.hashes.pseudonyms(SUPPRESSION, [("anonymous_id", "a1")])
    with database.transaction() as tx:
        suppress_purposes(tx, [(hidden, "analytics")], NOON)
    (outcome,) = pipeline.send(_with_choices(anonymousId="a1", analytics=True), source=WEB)
    assert outcome == Outcome(State.NOT_PERMITTED, "refused")
    pipeline.send(_with_choices(anonymousId="a1", personalization=True), source=WEB)
    assert pipeline.one("SELECT count(*) FROM consent.permitted WHERE purpose = 'personalization'") == 1
    assert pipeline.one("SELECT count(*) FROM consent.permitted WHERE purpose = 'analytics'") == 0
    assert pipeline.one("SELECT count(*) FROM consent.record WHERE act = 'refuse'") == 1


CALIFORNIA = replace(WEB, jurisdiction="us-ca")


def page(**fields: Any) -> dict[str, Any]:
    return {**messages.page(name="Home", anonymousId="a1"), **fields}


class TestNoIsNeverLost:
    """A no counts whatever becomes of its message, and the strictest jurisdiction whoever speaks next."""

    @pytest.fixture
    def coast(self, database: Database, tmp_path: Path) -> Pipeline:
        """Where silence permits advertising."""
        pipeline = open_pipeline(database, shipped(), tmp_path)
        with database.transaction() as tx:
            add_source(tx, CALIFORNIA, b"web", now=NOON)
            add_source(tx, SHOP, b"shop", now=NOON)
        pipeline.send(page(messageId="first"), source=CALIFORNIA)
        assert "advertising" in self.permitted(pipeline)
        return pipeline

    def permitted(self, pipeline: Pipeline) -> set[str]:
        return {row[0] for row in _rows(pipeline, "SELECT purpose FROM consent.permitted")}

    @pytest.mark.parametrize(
        "body",
        [page(timestamp="2010-01-01T00:00:00+00:00"), page(messageId="first"), page(messageId="first", name="Other")],
        ids=["expired", "duplicate", "other body"],
    )
    def test_in_a_message_that_is_not_stored(self, coast: Pipeline, body: dict[str, Any]) -> None:
        (outcome,) = coast.send(body, source=CALIFORNIA, has_gpc=True)
        assert outcome.state in {State.INVALID, State.DUPLICATE}
        assert "advertising" not in self.permitted(coast)
        assert coast.one("SELECT count(*) FROM behavior.event") == 1

    def test_in_the_second_copy_within_a_batch(self, coast: Pipeline) -> None:
        plain, refusing = page(messageId="m"), page(messageId="m")
        messages = [
            coast.message(plain, source=CALIFORNIA),
            coast.message(refusing, source=CALIFORNIA, has_gpc=True),
        ]
        # Who speaks of consent is heard first, so the other one is the copy.
        assert [each.state for each in coast.ingest.process(messages)] == [State.DUPLICATE, State.STORED]
        assert "advertising" not in self.permitted(coast)

    def test_a_stricter_source_on_a_known_anchor_is_decided_about(self, coast: Pipeline) -> None:
        (outcome,) = coast.send(page(), source=SHOP)
        assert outcome == Outcome(State.NOT_PERMITTED, "no_grant")
