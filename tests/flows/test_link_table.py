"""Link tables: set-based where no rule can break, by the rules where one does; always what stepping would give."""

from pathlib import Path
from random import Random
from typing import Any

import pytest

from cdp.flows.identity import explain
from cdp.flows.ingest_work import lay_out
from cdp.flows.link_table import Row, import_links
from cdp.flows.unmerge import unmerge
from cdp.identity.components import components
from cdp.identity.model import Identifier, Step
from cdp.identity.resolve import Rules, replay
from cdp.kit.db import Database
from cdp.policy.model import Policy
from tests.flows.people import NOON, SHOP, WEB, Town, settle
from tests.generative.test_identity_batches import check_broken, check_map
from tests.policies import permit_all, segment_unify, shipped

pytestmark = pytest.mark.postgres


@pytest.fixture
def town(database: Database, tmp_path: Path) -> Town:
    return settle(database, permit_all(), tmp_path)


def table(seed: int, rows: int, people: int) -> list[Row]:
    random = Random(seed)

    def side() -> tuple[str, str]:
        kind = random.choice(("user_id", "email", "anonymous_id", "anonymous_id"))
        number = random.randrange(people)
        return kind, f"p{number}@example.com" if kind == "email" else f"{kind[0]}{number}"

    return [(*side(), *side()) for _ in range(rows)]


def model_of(policy: Policy, rows: list[Row]) -> set[frozenset[tuple[str, str]]]:
    """Each row stepped through, one after another."""
    plan = lay_out(policy)
    numbers: dict[Identifier, int] = {}
    steps = []
    for at, (one_type, one, other_type, other) in enumerate(rows, 1):
        pair = [plan.normaliser.read(one_type, one), plan.normaliser.read(other_type, other)]
        if pair[0] == pair[1]:
            continue
        pair.sort(key=lambda each: plan.rules.priority(each.type))  # type: ignore[union-attr]
        members = tuple(numbers.setdefault(each, len(numbers) + 1) for each in pair)  # type: ignore[arg-type]
        steps.append(Step(at, -at, members, NOON))
    named = {number: name for name, number in numbers.items()}
    run = replay(Rules(policy.identifiers), {number: name.type for number, name in named.items()}, steps)
    return {frozenset(named[each] for each in group.members) for group in run.world.groups.values()}


@pytest.mark.parametrize("policy", [permit_all(), segment_unify()], ids=["shared", "first_owner"])
@pytest.mark.parametrize(("seed", "people"), [(1, 200), (2, 12), (3, 40)])
def test_a_table_ends_where_its_rows_would_end_one_by_one(
    policy: Policy, seed: int, people: int, database: Database, tmp_path: Path
) -> None:
    town = settle(database, policy, tmp_path)
    rows = table(seed, 80, people)
    linked = import_links(town.house, SHOP, rows)
    assert town.partition() == model_of(policy, rows)
    assert linked.plain + linked.bounded > 0
    check_map(town)


def test_a_table_joins_people_who_are_known_already(town: Town) -> None:
    town.send(track(userId="u1"), track(anonymousId="a1"))
    (older,) = (profile for profile, each in town.people().items() if "user_id" in each)
    import_links(
        town.house,
        SHOP,
        [("anonymous_id", "a1", "email", "p@example.com"), ("email", "p@example.com", "user_id", "u1")],
    )
    (only,) = town.people()
    assert only == older
    assert town.one("SELECT count(DISTINCT profile_id) FROM identity.canonical") == 1
    check_map(town)
    told = explain(town.house, Identifier("anonymous_id", "a1"), Identifier("user_id", "u1"))
    assert [(link.one.value, link.other.value) for link in told.path] == [
        ("a1", "p@example.com"),
        ("p@example.com", "u1"),
    ]


def test_a_link_of_a_table_can_be_undone(town: Town) -> None:
    import_links(
        town.house,
        SHOP,
        [("user_id", "u1", "email", "p@example.com"), ("email", "p@example.com", "anonymous_id", "a1")],
    )
    unmerge(town.house, Identifier("user_id", "u1"), Identifier("anonymous_id", "a1"), dry_run=False)
    owned = {frozenset(each) for each in (group for group in town.partition())}
    assert frozenset({("user_id", "u1"), ("email", "p@example.com")}) in owned
    check_broken(town)


def test_a_table_without_permission_teaches_nothing(database: Database, tmp_path: Path) -> None:
    town = settle(database, shipped(), tmp_path)
    linked = import_links(town.house, WEB, [("anonymous_id", "a1", "email", "p@example.com")])
    assert linked.states == {"not_permitted": 1}
    assert town.one("SELECT count(*) FROM identity.identifier") == 0
    linked = import_links(
        town.house, SHOP, [("user_id", "u1", "email", "p@example.com"), ("user_id", "null", "email", "x@example.com")]
    )
    assert linked.states == {"stored": 1, "invalid": 1}
    assert town.one("SELECT count(*) FROM consent.permitted WHERE purpose = 'service'") == 1


def test_components_agree_with_a_walk() -> None:
    random = Random(7)
    for _ in range(50):
        nodes = random.randint(2, 40)
        edges = [(random.randrange(nodes), random.randrange(nodes)) for _ in range(random.randint(1, 40))]
        edges = [edge for edge in edges if edge[0] != edge[1]]
        groups: list[set[int]] = []
        for one, other in edges:
            joined = {one, other}.union(*(each for each in groups if each & {one, other}))
            groups = [each for each in groups if not each & joined] + [joined]
        bonds = [(random.randrange(nodes), random.randrange(nodes)) for _ in range(random.randint(0, 3))]
        for bond in bonds:
            joined = set(bond).union(*(each for each in groups if each & set(bond)))
            groups = [each for each in groups if not each & joined] + [joined]
        touched = {node for edge in edges for node in edge}
        found = components(nodes, [one for one, _ in edges], [other for _, other in edges], bonds)
        assert {frozenset(each.members) for each in found} == {
            frozenset(each & touched) for each in groups if each & touched
        }
        assert [each.edges[0] for each in found] == sorted(each.edges[0] for each in found)
        assert sorted(at for each in found for at in each.edges) == list(range(len(edges)))
        for each in found:
            assert list(each.edges) == sorted(each.edges)
            assert {node for at in each.edges for node in edges[at]} == set(each.members)


def track(**fields: Any) -> dict[str, Any]:
    return {"type": "track", "event": "Product Viewed", **fields}
