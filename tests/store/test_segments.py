"""Definitions, membership, previews and explanations on PostgreSQL."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from cdp.consent.store import projection as projection_store
from cdp.kit.db import Database, Transaction
from cdp.query.language import ast
from cdp.query.language.catalogue import Catalogue
from cdp.query.language.explain import purposes_of
from cdp.query.postgres.compile import CompiledSegment, compile_segment, sql_text
from cdp.query.reference.history import EventRecord, PermittedSpan, Profile
from cdp.query.reference.interpret import members
from cdp.segments.model import Draft, Segment, SegmentKey
from cdp.segments.store import definitions as definition_store
from cdp.segments.store import due as due_store
from cdp.segments.store import evaluation as evaluation_store
from cdp.segments.store import members as member_store
from cdp.segments.store import of_profile as profile_membership_store
from cdp.segments.store.ending import end_all
from cdp.segments.store.texts import segment_texts
from tests.support.segment_histories import NOW, ORDER, OTHER, PURPOSE, VIEW, Population, condition_of, load, policy

pytestmark = pytest.mark.postgres

POLICY = policy()
CATALOGUE = Catalogue(POLICY)
LATER = NOW + timedelta(hours=1)
BUYERS = f'did("{ORDER}", within 30 days)'


def ordered(days_ago: float, *purposes: str) -> EventRecord:
    at = NOW - timedelta(days=days_ago)
    bits = frozenset(purposes or (PURPOSE, OTHER))
    return EventRecord(ORDER, at, bits, {"revenue": 100}, f"00000000-0000-0000-0000-{int(days_ago * 1000):012d}")


def person(number: int, *events: EventRecord, **permitted: PermittedSpan) -> Profile:
    return Profile(
        number, permitted or {PURPOSE: PermittedSpan()}, {PURPOSE: {"age": 20 + number}}, events, bytes([number] * 16)
    )


def people(*profiles: Profile) -> Population:
    return Population(profiles, {profile.profile_id: (profile.profile_id + 1000,) for profile in profiles})


CROWD = people(
    *(person(number, ordered(number)) for number in range(1, 7)),
    person(7, ordered(60)),
    person(8),
    person(9, ordered(1), analytics=PermittedSpan()),
    person(10, ordered(1, OTHER)),
)


def draft(key: str = "buyers", purpose: str = PURPOSE, name: str = "Buyers") -> Draft:
    return Draft(SegmentKey(key), name, purpose, "marketer", "who bought")


def save(tx: Transaction, where: str, definition: Draft | None = None, now: datetime = NOW) -> Segment:
    return definition_store.save(
        tx, definition or draft(), condition_of(where), fingerprint=POLICY.fingerprint, now=now
    )


def compiled(
    tx: Transaction, where: str, now: datetime = NOW, purpose: str = PURPOSE, only: Sequence[int] | None = None
) -> CompiledSegment:
    catalogue = definition_store.catalogue_of(tx, POLICY)
    condition = condition_of(where)
    ground = definition_store.interned_ids_of(tx, condition, catalogue)
    return compile_segment(condition, catalogue, ground, purpose=purpose, now=now, only=only)


def refresh(
    tx: Transaction, segment: Segment, now: datetime = NOW, only: Sequence[int] | None = None
) -> tuple[int, int]:
    assert definition_store.lock(tx, segment.key)
    catalogue = definition_store.catalogue_of(tx, POLICY)
    purposes = purposes_of(condition_of(segment.where), segment.purpose, catalogue)
    found = member_store.refresh(
        tx, segment, compiled(tx, segment.where, now, segment.purpose, only), purposes=purposes, now=now, only=only
    )
    return found.entered, found.exited


def listed(tx: Transaction, segment: Segment, now: datetime = NOW) -> list[int]:
    catalogue = definition_store.catalogue_of(tx, POLICY)
    purposes = purposes_of(condition_of(segment.where), segment.purpose, catalogue)
    page = member_store.members(tx, segment, purposes, now=now, after=None, limit=100)
    return [int(member.reader_pseudonym.removeprefix("reader-")) for member in page.members]


def changes(tx: Transaction) -> list[tuple[int, str]]:
    rows = tx.execute("SELECT profile_id, change FROM segments.membership_change ORDER BY change_id")
    return [(profile_id, change) for profile_id, change in rows]


@pytest.fixture
def crowd(database: Database) -> Database:
    load(database, [CROWD], CATALOGUE)
    return database


# --- definitions ----------------------------------------------------------------------------------


def test_a_definition_keeps_its_canonical_text_and_meaning(database: Database) -> None:
    with database.transaction() as tx:
        saved = save(tx, f'did( "{ORDER}" ,within 30 day )')
        assert saved.where == BUYERS
        assert (saved.version, saved.owner, saved.refreshed_at) == (1, "marketer", None)
        assert definition_store.find(tx, "buyers") == saved
        assert definition_store.all_segments(tx) == [saved]
        assert definition_store.catalogue_of(tx, POLICY).segments["buyers"].condition == condition_of(BUYERS)


def test_only_a_new_meaning_or_purpose_makes_a_version(database: Database) -> None:
    with database.transaction() as tx:
        save(tx, BUYERS)
        renamed = save(tx, BUYERS, replace(draft(name="People who bought"), author="somebody else"), LATER)
        assert (renamed.name, renamed.version, renamed.owner, renamed.created_at) == (
            "People who bought",
            1,
            "marketer",
            NOW,
        )
        assert save(tx, f'did("{ORDER}", within 14 days)', now=LATER).version == 2
        assert save(tx, f'did("{ORDER}", within 14 days)', draft(purpose=OTHER), LATER).version == 3
        found = definition_store.versions(tx, "buyers")
        assert [(version.version, version.where, version.purpose) for version in found] == [
            (3, f'did("{ORDER}", within 14 days)', OTHER),
            (2, f'did("{ORDER}", within 14 days)', PURPOSE),
            (1, BUYERS, PURPOSE),
        ]
        assert {version.policy_fingerprint for version in found} == {POLICY.fingerprint}


def test_the_end_of_a_segment_is_an_exit_of_its_members_and_leaves_the_past(crowd: Database) -> None:
    with crowd.transaction() as tx:
        refresh(tx, save(tx, BUYERS))
        assert (end_all(tx, "buyers", LATER), end_all(tx, "buyers", LATER)) == (6, 0)
        assert definition_store.end_segment(tx, "buyers", LATER)
        assert not definition_store.end_segment(tx, "buyers", LATER)
        assert (definition_store.find(tx, "buyers"), definition_store.lock(tx, "buyers")) == (None, False)
        assert definition_store.all_segments(tx) == []
        assert "buyers" not in definition_store.catalogue_of(tx, POLICY).segments
        assert due_store.unplanned(tx, LATER) == []
        assert tx.execute("SELECT count(*) FROM segments.membership") == [(0,)]
        assert [change for _, change in changes(tx)] == ["entered"] * 6 + ["exited"] * 6
        assert segment_texts(tx, ["buyers"]) == {("buyers", 1): BUYERS}


def test_a_segment_that_comes_back_is_another_version_of_the_same_key(crowd: Database) -> None:
    with crowd.transaction() as tx:
        save(tx, BUYERS)
        definition_store.end_segment(tx, "buyers", LATER)
        again = save(tx, BUYERS, replace(draft(), author="policy"), LATER)
        assert (again.version, again.owner, again.created_at, again.refreshed_at) == (2, "policy", LATER, None)
        assert refresh(tx, again) == (6, 0)


# --- membership -----------------------------------------------------------------------------------


def test_refreshing_lets_in_and_out_and_notes_it_once(crowd: Database) -> None:
    with crowd.transaction() as tx:
        segment = save(tx, BUYERS)
        assert refresh(tx, segment) == (6, 0)
        assert refresh(tx, segment) == (0, 0)
        assert listed(tx, segment) == [1, 2, 3, 4, 5, 6]
        later = NOW + timedelta(days=26)
        assert refresh(tx, segment, later) == (0, 3)
        assert listed(tx, segment, later) == [1, 2, 3]
        noted = changes(tx)
        assert sorted(noted[:6]) == [(number, "entered") for number in range(1, 7)]
        assert sorted(noted[6:]) == [(4, "exited"), (5, "exited"), (6, "exited")]


def test_members_of_a_new_version_keep_their_since(crowd: Database) -> None:
    with crowd.transaction() as tx:
        refresh(tx, save(tx, BUYERS))
        changed_ = save(tx, f'did("{ORDER}", within 5 days)', now=LATER)
        assert refresh(tx, changed_, LATER) == (0, 2)
        rows = tx.execute("SELECT profile_id, version, since FROM segments.membership ORDER BY profile_id")
        assert rows == [(number, 2, NOW) for number in range(1, 5)]


def test_refreshing_some_profiles_leaves_the_others(crowd: Database) -> None:
    with crowd.transaction() as tx:
        segment = save(tx, BUYERS)
        refresh(tx, segment)
        tx.execute("DELETE FROM behavior.event WHERE anchor_id IN (1001, 1002)")
        assert refresh(tx, segment, only=[2, 3, 8]) == (0, 1)
        assert listed(tx, segment) == [1, 3, 4, 5, 6]


def test_a_withdrawal_hides_a_member_at_once(crowd: Database) -> None:
    with crowd.transaction() as tx:
        segment = save(tx, BUYERS)
        refresh(tx, segment)
        tx.execute("DELETE FROM consent.permitted WHERE profile_id = 2")
        tx.execute("UPDATE consent.permitted SET until = %(now)s WHERE profile_id = 3", {"now": NOW})
        assert listed(tx, segment) == [1, 4, 5, 6]
        assert refresh(tx, segment) == (0, 2)


def test_a_permission_given_again_does_not_bring_the_member_back(crowd: Database) -> None:
    """The stored membership rests on what was withdrawn; nothing that happened before the new grant counts."""
    again = NOW + timedelta(hours=1)
    later = NOW + timedelta(hours=2)
    with crowd.transaction() as tx:
        segment = save(tx, BUYERS)
        refresh(tx, segment)
        tx.execute("UPDATE consent.permitted SET since = %(again)s WHERE profile_id = 2", {"again": again})
        assert listed(tx, segment, later) == [1, 3, 4, 5, 6]
        assert refresh(tx, segment, later) == (0, 1)
        assert refresh(tx, segment, later) == (0, 0)
        assert changes(tx)[-1] == (2, "exited")


def test_a_member_by_another_segment_needs_its_purpose_too(crowd: Database) -> None:
    """Asking for a segment of another purpose: a withdrawal of either hides the member at once."""
    with crowd.transaction() as tx:
        for number in range(1, 7):
            tx.execute(
                "INSERT INTO consent.permitted (profile_id, purpose, since, reader_pseudonym) "
                "VALUES (%(id)s, 'analytics', '-infinity', %(reader)s)",
                {"id": number, "reader": f"other-{number}"},
            )
        save(tx, BUYERS, draft("analysed", OTHER))
        segment = save(tx, 'in segment "analysed"', draft("both"))
        assert refresh(tx, segment) == (6, 0)
        tx.execute("DELETE FROM consent.permitted WHERE profile_id = 4 AND purpose = 'analytics'")
        assert listed(tx, segment) == [1, 2, 3, 5, 6]


def test_pages_follow_each_other_without_gap_or_repeat(crowd: Database) -> None:
    with crowd.transaction() as tx:
        segment = save(tx, BUYERS)
        refresh(tx, segment)
        seen: list[str] = []
        after: str | None = None
        for _ in range(10):
            page = member_store.members(tx, segment, [PURPOSE], now=NOW, after=after, limit=4)
            seen += [member.reader_pseudonym for member in page.members]
            after = page.after
            if after is None:
                break
        assert seen == sorted(set(seen))
        assert len(seen) == member_store.size_of(tx, segment, [PURPOSE], now=NOW) == 6


def test_a_single_member_is_counted_and_listed(crowd: Database) -> None:
    """A minimum would stop nobody who may list and filter."""
    with crowd.transaction() as tx:
        segment = save(tx, f'did("{ORDER}", within 2 days)')
        assert refresh(tx, segment)[0] == 1
        assert member_store.size_of(tx, segment, [PURPOSE], now=NOW) == 1
        assert listed(tx, segment) == [1]


def test_an_erased_person_leaves_no_row(crowd: Database) -> None:
    """Every personal column of the component is deleted with the person, as the dictionary declares; an index makes it cheap."""
    with crowd.transaction() as tx:
        refresh(tx, save(tx, BUYERS))
        for table in ("segments.membership", "segments.membership_change"):
            plan = tx.raw.execute(f"EXPLAIN DELETE FROM {table} WHERE profile_id = 2").fetchall()
            assert any("profile_id = 2" in row[0] for row in plan)


# --- preview and explanation ----------------------------------------------------------------------


def test_a_number_of_events_none_of_which_counts_is_not_known(crowd: Database) -> None:
    """Profile 7 ordered, but not within the window: the other count reads that order, so there is a row with a 0."""
    where = f'known count("{ORDER}", within 30 days) and count("{ORDER}") >= 0'
    with crowd.transaction(read_only=True) as tx:
        found = {profile_id for (profile_id,) in tx.all(compiled(tx, where).members)}
    assert found == set(members(condition_of(where), CROWD.profiles, catalogue=CATALOGUE, purpose=PURPOSE, now=NOW))
    assert 6 in found
    assert 7 not in found


def test_preview_counts_parts_and_says_why_others_are_left_out(crowd: Database) -> None:
    where = f'{BUYERS} and trait.age <= 24 and not did("{VIEW}")'
    with crowd.transaction() as tx:
        tx.execute(
            "INSERT INTO consent.refused (profile_id, purpose, reason) VALUES (9, %(p)s, 'withdrawn')", {"p": PURPOSE}
        )
        for number in (20, 21, 22, 23, 24):
            tx.execute(
                "INSERT INTO identity.profile (profile_id, origin_sequence, created_at) VALUES (%(id)s, %(id)s, %(now)s)",
                {"id": number, "now": NOW},
            )
        tx.execute("UPDATE consent.permitted SET until = %(now)s WHERE profile_id = 10", {"now": NOW})
        found = evaluation_store.preview(tx, compiled(tx, where), CATALOGUE, purpose=PURPOSE, now=NOW)
    assert [step.text for step in found.conditions] == [BUYERS, "trait.age <= 24", f'not did("{VIEW}")']
    assert found.permitted == 8
    assert [(step.alone, step.together) for step in found.conditions] == [(6, 6), (4, 4), (8, 4)]
    assert (found.size, found.share) == (4, 0.5)
    assert found.refused_by_reason == {"withdrawn": 1, "expired": 1, "no_grant": 5}


def test_one_person_more_is_one_more(crowd: Database) -> None:
    """Sizes are the numbers of people, not numbers near them."""
    with crowd.transaction() as tx:
        sizes = [
            evaluation_store.preview(
                tx, compiled(tx, f"trait.age <= {20 + number}"), CATALOGUE, purpose=PURPOSE, now=NOW
            ).size
            for number in range(9)
        ]
    assert sizes == list(range(9))


def test_a_sample_is_of_members(crowd: Database) -> None:
    with crowd.transaction() as tx:
        assert evaluation_store.sample(tx, compiled(tx, BUYERS), 3) == tuple(
            f"reader-{number:020d}" for number in (1, 2, 3)
        )


def test_verdicts_of_one_profile(crowd: Database) -> None:
    with crowd.transaction() as tx:
        statements = compiled(tx, f'{BUYERS} and trait.country = "DE" and trait.age < 20', only=[3, 9])
        assert evaluation_store.verdicts(tx, statements) == {3: (True, None, False)}
        assert member_store.profile_under(tx, PURPOSE, f"reader-{3:020d}") == 3
        assert member_store.profile_under(tx, PURPOSE, f"reader-{9:020d}") is None


def test_the_plan_is_shown_and_nothing_is_run(crowd: Database) -> None:
    with crowd.transaction() as tx:
        plan = evaluation_store.plan_of(tx, compiled(tx, BUYERS).members)
    assert "permitted_email_marketing" in plan
    assert "actual" not in plan
    assert "rows=" not in plan


def test_the_written_out_sql_runs_and_gives_the_members(crowd: Database) -> None:
    where = f'{BUYERS} and trait.age >= 18 and sample 50% by "50%" and computed.fading_trials < 9'
    with crowd.transaction() as tx:
        statements = compiled(tx, where)
        written = {row[0] for row in tx.raw.execute(sql_text(statements.members))}
        assert written == {row[0] for row in tx.all(statements.members)}
    interpreted = members(condition_of(where), CROWD.profiles, purpose=PURPOSE, catalogue=CATALOGUE, now=NOW)
    assert written == interpreted


def test_a_purpose_without_bit_has_nobody(database: Database) -> None:
    """A policy that is not yet applied cannot be evaluated; one that is starts empty."""
    with database.transaction() as tx:
        projection_store.prepare_purposes(tx, list(POLICY.purposes), NOW)
        assert tx.all(compiled(tx, BUYERS).members) == []


def test_ground_knows_other_segments_names(crowd: Database) -> None:
    with crowd.transaction() as tx:
        save(tx, BUYERS, draft("inner"))
        condition = condition_of('in segment "inner"')
        assert isinstance(condition, ast.InSegment)
        ground = definition_store.interned_ids_of(tx, condition, definition_store.catalogue_of(tx, POLICY))
        assert ("event", ORDER) in ground.terms


def test_memberships_by_person(crowd: Database) -> None:
    with crowd.transaction() as tx:
        refresh(tx, save(tx, BUYERS))
        assert profile_membership_store.memberships_of(tx, [1, 7]) == {1: ["buyers"]}
