"""How far a request reaches, in small worlds: letters are identifiers, numbers anchors, profiles are hundreds."""

from collections.abc import Iterable
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from cdp.identity.reach import Held, Owned, Reach, Surroundings, reach


def world(
    owners: dict[int, int | None],
    anchors: dict[int, tuple[int, set[int], bool]],
    *,
    shared: Iterable[int] = (),
    crowded: Iterable[int] = (),
    lonely: Iterable[int] = (),
) -> Surroundings:
    return Surroundings(
        {one: Owned("email", owner, one in shared) for one, owner in owners.items()},
        {one: Held(profile, frozenset(members), vouched) for one, (profile, members, vouched) in anchors.items()},
        frozenset(crowded),
        frozenset(lonely),
    )


def test_vouched_anchors_are_followed_as_far_as_they_go() -> None:
    found = reach([1], world({1: 100, 2: 100, 3: 100}, {10: (100, {1, 2}, True), 11: (100, {2, 3}, True)}))
    assert found == Reach(frozenset({1, 2, 3}), frozenset({10, 11}), frozenset({100}), frozenset())


def test_a_browsers_word_is_not_followed_but_its_anchor_goes() -> None:
    found = reach([1], world({1: 100, 2: 100}, {10: (100, {1, 2}, False), 11: (100, {2}, False)}))
    assert (found.identifiers, found.anchors) == ({1}, {10})
    assert (found.profiles, found.left_over, found.waiting) == (set(), {100}, {2})


def test_one_vouched_assertion_is_enough() -> None:
    found = reach([1], world({1: 100, 2: 100}, {10: (100, {1, 2}, False), 11: (100, {1, 2}, True)}))
    assert found.identifiers == {1, 2}


def test_a_link_table_of_a_server_source_joins_like_its_messages() -> None:
    around = world({1: 100, 2: 100, 3: 100, 4: 100}, {10: (100, {1}, True), 12: (100, {2}, False)})
    edges = (Held(100, frozenset({1, 2}), is_vouched=True), Held(100, frozenset({2, 3}), is_vouched=False))
    found = reach([1], replace(around, edges=edges))
    assert (found.identifiers, found.anchors, found.waiting) == ({1, 2}, {10, 12}, {3, 4})


def test_a_refused_link_is_no_link() -> None:
    other = world({1: 100, 2: 200}, {10: (100, {1}, True), 20: (200, {1, 2}, True)})
    found = reach([1], other)
    assert (found.identifiers, found.anchors, found.profiles) == ({1}, {10}, {100})


def test_a_shared_identifier_joins_nobody_and_reaches_only_its_own_profile() -> None:
    around = world(
        {1: 100, 2: 200, 9: 900},
        {10: (100, {1, 9}, True), 20: (200, {2, 9}, True), 90: (900, {9}, True)},
        shared=[9],
    )
    assert reach([1], around).anchors == {10}
    mine = reach([9], around)
    assert (mine.identifiers, mine.anchors, mine.shared) == (set(), {90}, {9})
    assert mine.profiles == set()


def test_a_crowded_profile_gives_up_only_what_names_nobody_else() -> None:
    around = world(
        {1: 100, 2: 100}, {10: (100, {1}, True), 11: (100, {1, 2}, True), 12: (100, {2}, True)}, crowded=[100]
    )
    found = reach([1], around)
    assert (found.identifiers, found.anchors, found.waiting) == ({1}, {10}, {2})
    assert (found.left_over, found.crowded) == ({100}, {100})


def test_what_nobody_else_carries_goes_along() -> None:
    around = world({1: 100, 2: None}, {10: (100, {1, 2}, True)}, lonely=[2])
    found = reach([1], around)
    assert (found.identifiers, found.orphans, found.waiting) == ({1}, {2}, set())


def test_nobody_known_is_reached_by_an_unknown_identifier() -> None:
    assert reach([7], world({}, {})) == Reach(frozenset(), frozenset(), frozenset(), frozenset())


@st.composite
def worlds(draw: st.DrawFn) -> Surroundings:
    profiles = [100, 200]
    owners = {one: draw(st.sampled_from([*profiles, None])) for one in range(1, 7)}
    anchors = {}
    for anchor in range(10, 10 + draw(st.integers(0, 6))):
        members = draw(st.sets(st.integers(1, 6), min_size=1, max_size=3))
        anchors[anchor] = (draw(st.sampled_from(profiles)), members, draw(st.booleans()))
    subset = st.sets(st.integers(1, 6))
    return world(
        owners, anchors, shared=draw(subset), crowded=draw(st.sets(st.sampled_from(profiles))), lonely=draw(subset)
    )


@given(worlds(), st.sets(st.integers(1, 8), min_size=1, max_size=3))
def test_a_reach_never_crosses_profiles_nor_shared_identifiers(around: Surroundings, verified: set[int]) -> None:
    found = reach(verified, around)
    assert not any(around.identifiers[one].is_shared for one in found.identifiers)
    homes = {around.identifiers[one].profile_id for one in verified if one in around.identifiers}
    assert {around.identifiers[one].profile_id for one in found.identifiers} <= homes
    assert {around.anchors[one].profile_id for one in found.anchors} <= homes
    assert not found.identifiers & found.waiting
    assert not found.profiles & found.left_over
    kept = {each.profile_id for one, each in around.anchors.items() if one not in found.anchors}
    assert not found.profiles & kept


@given(worlds(), st.sets(st.integers(1, 6), min_size=1, max_size=2), st.sets(st.integers(1, 6), max_size=2))
def test_naming_more_reaches_no_less(around: Surroundings, verified: set[int], more: set[int]) -> None:
    few, many = reach(verified, around), reach(verified | more, around)
    assert few.identifiers <= many.identifiers
    assert few.anchors <= many.anchors
