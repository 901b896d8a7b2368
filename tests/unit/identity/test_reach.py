"""How far a request reaches, in small worlds: identifiers are 1 to 9, anchors 10 to 90, profiles hundreds."""

from collections.abc import Iterable
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from cdp.identity.reach import MemberSet, Neighborhood, OwnedIdentifier, Reach, reach


def world(
    owners: dict[int, int | None],
    anchors: dict[int, tuple[int, set[int], bool]],
    *,
    shared: Iterable[int] = (),
    ambiguous: Iterable[int] = (),
    unreferenced: Iterable[int] = (),
) -> Neighborhood:
    return Neighborhood(
        {identifier: OwnedIdentifier("email", owner, identifier in shared) for identifier, owner in owners.items()},
        {
            one: MemberSet(profile, frozenset(members), is_server_asserted)
            for one, (profile, members, is_server_asserted) in anchors.items()
        },
        frozenset(ambiguous),
        frozenset(unreferenced),
    )


def ids(*numbers: int) -> frozenset[int]:
    return frozenset(numbers)


def test_server_asserted_anchors_are_followed_as_far_as_they_go() -> None:
    found = reach([1], world({1: 100, 2: 100, 3: 100}, {10: (100, {1, 2}, True), 11: (100, {2, 3}, True)}))
    assert found == Reach(frozenset({1, 2, 3}), frozenset({10, 11}), frozenset({100}), frozenset())


def test_the_anchor_of_a_browser_is_erased_but_not_followed() -> None:
    found = reach([1], world({1: 100, 2: 100}, {10: (100, {1, 2}, False), 11: (100, {2}, False)}))
    assert (found.identifiers, found.anchors) == (ids(1), ids(10))
    assert (found.profiles, found.continuing, found.waiting) == (ids(), ids(100), ids(2))


def test_one_assertion_of_a_server_is_enough() -> None:
    found = reach([1], world({1: 100, 2: 100}, {10: (100, {1, 2}, False), 11: (100, {1, 2}, True)}))
    assert found.identifiers == {1, 2}


def test_a_link_table_of_a_server_source_joins_like_its_messages() -> None:
    neighborhood = world({1: 100, 2: 100, 3: 100, 4: 100}, {10: (100, {1}, True), 12: (100, {2}, False)})
    edges = (
        MemberSet(100, frozenset({1, 2}), is_server_asserted=True),
        MemberSet(100, frozenset({2, 3}), is_server_asserted=False),
    )
    found = reach([1], replace(neighborhood, edges=edges))
    assert (found.identifiers, found.anchors, found.waiting) == (ids(1, 2), ids(10, 12), ids(3, 4))


def test_a_refused_link_does_not_count() -> None:
    neighborhood = world({1: 100, 2: 200}, {10: (100, {1}, True), 20: (200, {1, 2}, True)})
    found = reach([1], neighborhood)
    assert (found.identifiers, found.anchors, found.profiles) == (ids(1), ids(10), ids(100))


def test_a_shared_identifier_joins_nobody_and_reaches_only_its_own_profile() -> None:
    neighborhood = world(
        {1: 100, 2: 200, 9: 900},
        {10: (100, {1, 9}, True), 20: (200, {2, 9}, True), 90: (900, {9}, True)},
        shared=[9],
    )
    assert reach([1], neighborhood).anchors == {10}
    found = reach([9], neighborhood)
    assert (found.identifiers, found.anchors, found.shared) == (ids(), ids(90), ids(9))
    assert found.profiles == set()


def test_who_is_named_with_a_verified_identifier_in_another_profile_waits() -> None:
    owners = world({1: 100, 2: 200, 3: 200, 9: None}, {10: (100, {1}, True)}, shared=[9])
    naming = (MemberSet(200, ids(1, 2), is_server_asserted=True), MemberSet(200, ids(1, 9), is_server_asserted=True))
    found = reach([1], replace(owners, naming=naming))
    assert (found.identifiers, found.waiting) == (ids(1), ids(2))
    assert reach([1], replace(owners, naming=naming), ids(2)).waiting == ids()
    assert reach([1], replace(owners, naming=naming, apart=frozenset({ids(1, 2)}))).waiting == ids()


def test_a_shared_identifier_that_other_profiles_carry_waits_and_reaches_none_of_them() -> None:
    owners = world({2: 200, 9: None}, {}, shared=[9])
    naming = (MemberSet(200, ids(2, 9), is_server_asserted=True),)
    found = reach([9], replace(owners, naming=naming))
    assert (found.identifiers, found.anchors, found.shared, found.waiting) == (ids(), ids(), ids(9), ids(2))
    excluded = reach([9], replace(owners, naming=naming), ids(2))
    assert (excluded.waiting, excluded.is_empty) == (ids(), True)


def test_a_shared_identifier_that_no_message_carries_is_the_persons() -> None:
    assert reach([9], world({9: None}, {}, shared=[9], unreferenced=[9])).identifiers == ids(9)


def test_of_an_ambiguous_profile_only_anchors_that_name_nobody_else_are_reached() -> None:
    neighborhood = world(
        {1: 100, 2: 100}, {10: (100, {1}, True), 11: (100, {1, 2}, True), 12: (100, {2}, True)}, ambiguous=[100]
    )
    found = reach([1], neighborhood)
    assert (found.identifiers, found.anchors, found.waiting) == (ids(1), ids(10), ids(2))
    assert (found.continuing, found.ambiguous) == (ids(100), ids(100))


def test_what_only_the_person_used_is_erased_too() -> None:
    neighborhood = world({1: 100, 2: None}, {10: (100, {1, 2}, True)}, unreferenced=[2])
    found = reach([1], neighborhood)
    assert (found.identifiers, found.orphans, found.waiting) == (ids(1), ids(2), ids())


def test_an_unknown_identifier_reaches_nothing() -> None:
    assert reach([7], world({}, {})) == Reach(frozenset(), frozenset(), frozenset(), frozenset())


@st.composite
def worlds(draw: st.DrawFn) -> Neighborhood:
    profiles = [100, 200]
    owners = {one: draw(st.sampled_from([*profiles, None])) for one in range(1, 7)}
    anchors = {}
    for anchor in range(10, 10 + draw(st.integers(0, 6))):
        members = draw(st.sets(st.integers(1, 6), min_size=1, max_size=3))
        anchors[anchor] = (draw(st.sampled_from(profiles)), members, draw(st.booleans()))
    subset = st.sets(st.integers(1, 6))
    return world(
        owners,
        anchors,
        shared=draw(subset),
        ambiguous=draw(st.sets(st.sampled_from(profiles))),
        unreferenced=draw(subset),
    )


@given(worlds(), st.sets(st.integers(1, 8), min_size=1, max_size=3))
def test_a_reach_never_crosses_profiles_nor_shared_identifiers(neighborhood: Neighborhood, verified: set[int]) -> None:
    found = reach(verified, neighborhood)
    shared = {identifier for identifier in found.identifiers if neighborhood.identifiers[identifier].is_shared}
    assert shared <= neighborhood.unreferenced
    profiles = {
        neighborhood.identifiers[identifier].profile_id
        for identifier in verified
        if identifier in neighborhood.identifiers
    }
    assert {neighborhood.identifiers[identifier].profile_id for identifier in found.identifiers} <= profiles
    assert {neighborhood.anchors[anchor_id].profile_id for anchor_id in found.anchors} <= profiles
    assert not found.identifiers & found.waiting
    assert not found.profiles & found.continuing
    kept = {anchor.profile_id for anchor_id, anchor in neighborhood.anchors.items() if anchor_id not in found.anchors}
    assert not found.profiles & kept


@given(worlds(), st.sets(st.integers(1, 6), min_size=1, max_size=2), st.sets(st.integers(1, 6), max_size=2))
def test_more_verified_identifiers_never_reach_less(
    neighborhood: Neighborhood, verified: set[int], more: set[int]
) -> None:
    few, many = reach(verified, neighborhood), reach(verified | more, neighborhood)
    assert few.identifiers <= many.identifiers
    assert few.anchors <= many.anchors
