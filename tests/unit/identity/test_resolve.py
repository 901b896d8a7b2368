"""Each step of docs/explanation/identity.md, "The five steps of resolution", over a world in memory."""

from collections.abc import Mapping
from datetime import timedelta

import pytest

from cdp.identity.model import ResolutionStep, Rule
from cdp.identity.resolve import World
from cdp.identity.rules import Rules
from cdp.identity.run import Run, replay
from cdp.policy.identifiers import Blocked, Bounds, Identifiers, IdentifierType, Limit, NormalizerKind, OnConflict
from tests.support.people import NEW_YEAR

NAMES = ("u1", "u2", "u3", "e1", "e2", "e3", "e4", "e5", "e6", "e7", "a1", "a2", "a3", "d1", "h1")
IDS = {name: place + 1 for place, name in enumerate(NAMES)}
TYPES = {"u": "user_id", "e": "email", "a": "anonymous_id", "d": "ios.id", "h": "household_id"}


def policy(
    *, on_conflict: OnConflict = OnConflict.SHARED, email_limit: Limit | None = None, bounds: Bounds | None = None
) -> Identifiers:
    types = {
        "user_id": IdentifierType(
            key="user_id",
            normalizer=NormalizerKind.ID,
            priority=1,
            unique=True,
            person_level=True,
            limit=Limit(count=1),
        ),
        "email": IdentifierType(
            key="email",
            normalizer=NormalizerKind.EMAIL,
            priority=2,
            person_level=True,
            on_conflict=on_conflict,
            limit=email_limit or Limit(count=5),
        ),
        "anonymous_id": IdentifierType(
            key="anonymous_id", normalizer=NormalizerKind.ID, priority=3, device=True, on_conflict=on_conflict
        ),
        "ios.id": IdentifierType(
            key="ios.id", normalizer=NormalizerKind.ID, priority=4, device=True, on_conflict=on_conflict
        ),
        "household_id": IdentifierType(key="household_id", normalizer=NormalizerKind.ID, priority=9, merges=False),
    }
    return Identifiers(blocked=Blocked(), types=types, bounds=bounds or Bounds())


def play(*messages: str, rules: Identifiers | None = None, never: Mapping[int, set[int]] | None = None) -> Run:
    """Replay messages that list names, strongest first; they are numbered from 1 and one day apart."""
    steps = [
        ResolutionStep(at, at, tuple(IDS[name] for name in message.split()), NEW_YEAR + timedelta(days=at))
        for at, message in enumerate(messages, 1)
    ]
    types = {number: TYPES[name[0]] for name, number in IDS.items()}
    return replay(Rules(rules or policy()), types, steps, never=never)


def partition(run: Run) -> set[frozenset[str]]:
    names = {number: name for name, number in IDS.items()}
    return {frozenset(names[member] for member in group.members) for group in run.world.groups.values()}


def named(*groups: str) -> set[frozenset[str]]:
    return {frozenset(group.split()) for group in groups}


def test_an_unknown_identifier_creates_a_profile() -> None:
    assert partition(play("a1")) == named("a1")


def test_unseen_identifiers_join_the_one_owner() -> None:
    assert partition(play("a1", "u1 a1", "u1 e1")) == named("u1 a1 e1")


def test_several_owners_merge_and_the_older_survives() -> None:
    run = play("a1", "e1 a2", "e1 a1")
    assert partition(run) == named("a1 a2 e1")
    assert set(run.world.groups) == {1}
    assert run.world.groups[1].merges == 1
    assert run.world.current(2) == 1


def test_two_unique_ids_are_never_linked() -> None:
    run = play("u1 a1", "u2 a2", "u1 u2")
    assert partition(run) == named("u1 a1", "u2 a2")
    assert run.accepted[-1].refusals[0].rule is Rule.UNIQUE
    assert run.world.accepted_placement[3] == 1


def test_a_weak_identifier_with_two_unique_ids_is_shared_also_for_earlier_messages() -> None:
    run = play("a1", "u1 a1", "u2 a1")
    assert partition(run) == named("a1", "u1", "u2")
    assert run.shared == {IDS["a1"]}
    assert run.world.accepted_placement == {1: 1, 2: 2, 3: 3}


def test_what_was_linked_only_through_a_shared_identifier_is_separated() -> None:
    run = play("e1 a1", "u1 a1", "u2 a1")
    assert partition(run) == named("e1", "u1", "u2")


def test_what_was_linked_otherwise_too_stays_together() -> None:
    run = play("e1 a1", "u1 e1", "u2 a1")
    assert partition(run) == named("u1 e1", "u2")


def test_anonymous_messages_on_a_shared_identifier_go_to_its_own_profile() -> None:
    run = play("u1 a1", "u2 a1", "a1", "a1")
    assert partition(run) == named("u1", "u2", "a1")
    assert run.world.accepted_placement[3] == run.world.accepted_placement[4] == 3


def test_first_owner_keeps_the_identifier_with_the_first() -> None:
    run = play("a1", "u1 a1", "u2 a1", "a1", rules=policy(on_conflict=OnConflict.FIRST_OWNER))
    assert partition(run) == named("u1 a1", "u2")
    assert run.world.accepted_placement[4] == 1
    assert not run.shared


def test_an_unconflicted_weak_identifier_is_kept_when_a_stronger_one_is_dropped() -> None:
    run = play("u1 e1", "u2 e1 a3", rules=policy(on_conflict=OnConflict.FIRST_OWNER))
    assert partition(run) == named("u1 e1", "u2 a3")


def test_a_conflict_without_a_unique_id_in_the_message_is_only_refused() -> None:
    run = play("u1 e1", "u2 a2", "e1 a2")
    assert partition(run) == named("u1 e1", "u2 a2")
    assert not run.shared
    assert run.world.accepted_placement[3] == 1


def test_a_limit_keeps_the_sixth_address_out() -> None:
    run = play(*(f"u1 e{number}" for number in range(1, 7)))
    assert partition(run) == named("u1 e1 e2 e3 e4 e5")
    assert run.accepted[-1].refusals[0].rule is Rule.LIMIT


def test_a_limit_with_a_window_counts_only_recent_links_and_is_not_settled() -> None:
    rules = policy(email_limit=Limit(count=1, within_days=2))
    run = play("u1 e1", "u1 e2", "u1", "u1", "u1 e3", rules=rules)
    assert partition(run) == named("u1 e1 e3")
    assert 2 in run.world.accepted_placement
    assert 2 not in run.world.placement


def test_a_household_never_links_profiles() -> None:
    run = play("u1 h1", "u2 h1", "h1")
    assert partition(run) == named("u1", "u2", "h1")
    assert not run.shared


def test_a_separated_pair_stays_apart_whatever_bridges_it() -> None:
    never = {IDS["e1"]: {IDS["a1"]}, IDS["a1"]: {IDS["e1"]}}
    run = play("e1", "a1 d1", "e1 d1", "e1 a1", rules=policy(), never=never)
    assert partition(run) == named("e1", "a1 d1")
    assert {refusal.rule for proposal in run.accepted for refusal in proposal.refusals} == {Rule.NEVER}


@pytest.mark.parametrize(
    ("bounds", "messages"),
    [
        (Bounds(identifiers_per_profile=3), ("u1 e1 a1", "u1 a2")),
        (Bounds(merges_per_profile=1), ("u1", "a1", "u1 a1", "a2", "u1 a2")),
        (Bounds(anchors_per_profile=2), ("u1", "u1 a1", "a2", "u1 a2")),
    ],
)
def test_beyond_a_bound_the_profile_is_quarantined_and_not_merged(bounds: Bounds, messages: tuple[str, ...]) -> None:
    run = play(*messages, rules=policy(bounds=bounds))
    (quarantined,) = [group for group in run.world.groups.values() if group.is_quarantined]
    assert IDS["a2"] not in quarantined.members
    assert run.accepted[-1].refusals[0].rule is Rule.BOUND


def test_a_proposal_changes_nothing() -> None:
    world: World = play("u1 a1").world
    before = {origin: dict(group.members) for origin, group in world.groups.items()}
    world.propose(ResolutionStep(9, 9, (IDS["u2"], IDS["a1"]), NEW_YEAR))
    assert {origin: dict(group.members) for origin, group in world.groups.items()} == before
