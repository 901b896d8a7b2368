"""Link tables: set-based where no rule can break, otherwise by the rules; always the result of single steps."""

from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from cdp.flows.identity.explain import TableRow, explain
from cdp.flows.identity.link_table.table import Row, import_links
from cdp.flows.identity.unmerge import unmerge
from cdp.flows.ingest.plan import compile_ingest_plan
from cdp.flows.ingest.signals import KEPT
from cdp.identity.components import components
from cdp.identity.model import Identifier, ResolutionStep
from cdp.identity.rules import Rules
from cdp.identity.run import replay
from cdp.kit.db import Database
from cdp.policy.model import Policy
from cdp.rights.store.suppressions import release, restrict, suppress_purposes
from cdp.vault.pseudonym import SUPPRESSION
from tests.generative.test_identity_batches import check_broken, check_map
from tests.support.messages import track
from tests.support.people import NOON, SHOP, WEB
from tests.support.pipeline import Pipeline, open_pipeline
from tests.support.policies import changed, permit_all, segment_unify, shipped
from tests.support.requests import RequestPipeline

pytestmark = pytest.mark.postgres


@pytest.fixture
def pipeline(database: Database, tmp_path: Path) -> Pipeline:
    return open_pipeline(database, permit_all(), tmp_path)


def table(seed: int, rows: int, people: int) -> list[Row]:
    random = Random(seed)

    def side() -> tuple[str, str]:
        kind = random.choice(("user_id", "email", "anonymous_id", "anonymous_id"))
        number = random.randrange(people)
        return kind, f"p{number}@example.com" if kind == "email" else f"{kind[0]}{number}"

    return [(*side(), *side()) for _ in range(rows)]


def model_of(policy: Policy, rows: list[Row]) -> set[frozenset[tuple[str, str]]]:
    """The sequential model: each row as one step."""
    plan = compile_ingest_plan(policy)
    numbers: dict[Identifier, int] = {}
    steps = []
    for at, (one_type, one, other_type, other) in enumerate(rows, 1):
        pair = [plan.reader.read(one_type, one), plan.reader.read(other_type, other)]
        if pair[0] == pair[1]:
            continue
        pair.sort(key=lambda identifier: plan.rules.priority(identifier.type))  # type: ignore[union-attr]
        members = tuple(numbers.setdefault(identifier, len(numbers) + 1) for identifier in pair)  # type: ignore[arg-type]
        steps.append(ResolutionStep(at, -at, members, NOON))
    named = {number: name for name, number in numbers.items()}
    run = replay(Rules(policy.identifiers), {number: name.type for number, name in named.items()}, steps)
    return {frozenset(named[member] for member in group.members) for group in run.world.groups.values()}


@pytest.mark.parametrize("policy", [permit_all(), segment_unify()], ids=["shared", "first_owner"])
@pytest.mark.parametrize(("seed", "people"), [(1, 200), (2, 12), (3, 40)])
def test_a_table_results_in_the_partition_of_its_rows_one_by_one(
    policy: Policy, seed: int, people: int, database: Database, tmp_path: Path
) -> None:
    pipeline = open_pipeline(database, policy, tmp_path)
    rows = table(seed, 80, people)
    linked = import_links(pipeline.context, SHOP, rows)
    assert pipeline.partition() == model_of(policy, rows)
    assert linked.plain + linked.bounded > 0
    check_map(pipeline)


def test_a_table_links_profiles_that_exist_already(pipeline: Pipeline) -> None:
    pipeline.send(track(userId="u1"), track(anonymousId="a1"))
    (older,) = (profile for profile, owned in pipeline.people().items() if "user_id" in owned)
    import_links(
        pipeline.context,
        SHOP,
        [("anonymous_id", "a1", "email", "p@example.com"), ("email", "p@example.com", "user_id", "u1")],
    )
    (only,) = pipeline.people()
    assert only == older
    assert pipeline.one("SELECT count(DISTINCT profile_id) FROM identity.canonical") == 1
    check_map(pipeline)
    explanation = explain(pipeline.context, Identifier("anonymous_id", "a1"), Identifier("user_id", "u1"))
    assert [(link.one.value, link.other.value) for link in explanation.path] == [
        ("a1", "p@example.com"),
        ("p@example.com", "u1"),
    ]


def test_a_link_of_a_table_can_be_undone(pipeline: Pipeline) -> None:
    import_links(
        pipeline.context,
        SHOP,
        [("user_id", "u1", "email", "p@example.com"), ("email", "p@example.com", "anonymous_id", "a1")],
    )
    unmerge(pipeline.context, Identifier("user_id", "u1"), Identifier("anonymous_id", "a1"), dry_run=False)
    groups = pipeline.partition()
    assert frozenset({("user_id", "u1"), ("email", "p@example.com")}) in groups
    check_broken(pipeline)


def test_a_table_without_permission_is_not_stored(database: Database, tmp_path: Path) -> None:
    pipeline = open_pipeline(database, shipped(), tmp_path)
    linked = import_links(pipeline.context, WEB, [("anonymous_id", "a1", "email", "p@example.com")])
    assert linked.states == {"not_permitted": 1}
    assert pipeline.one("SELECT count(*) FROM identity.identifier") == 0
    linked = import_links(
        pipeline.context,
        SHOP,
        [("user_id", "u1", "email", "p@example.com"), ("user_id", "null", "email", "x@example.com")],
    )
    assert linked.states == {"stored": 1, "invalid": 1}
    assert pipeline.one("SELECT count(*) FROM consent.permitted WHERE purpose = 'service'") == 1


def test_components_agree_with_repeated_unions() -> None:
    random = Random(7)
    for _ in range(50):
        nodes = random.randint(2, 40)
        edges = [(random.randrange(nodes), random.randrange(nodes)) for _ in range(random.randint(1, 40))]
        edges = [edge for edge in edges if edge[0] != edge[1]]
        groups: list[set[int]] = []
        for one, other in edges:
            joined = {one, other}.union(*(group for group in groups if group & {one, other}))
            groups = [group for group in groups if not group & joined] + [joined]
        joined_pairs = [(random.randrange(nodes), random.randrange(nodes)) for _ in range(random.randint(0, 3))]
        for pair in joined_pairs:
            joined = set(pair).union(*(group for group in groups if group & set(pair)))
            groups = [group for group in groups if not group & joined] + [joined]
        touched = {node for edge in edges for node in edge}
        found = components(nodes, [one for one, _ in edges], [other for _, other in edges], joined=joined_pairs)
        assert {frozenset(component.members) for component in found} == {
            frozenset(group & touched) for group in groups if group & touched
        }
        assert [component.edges[0] for component in found] == sorted(component.edges[0] for component in found)
        assert sorted(at for component in found for at in component.edges) == list(range(len(edges)))
        for component in found:
            assert list(component.edges) == sorted(component.edges)
            assert {node for at in component.edges for node in edges[at]} == set(component.members)


def test_groups_that_belong_to_one_profile_are_judged_together(pipeline: Pipeline) -> None:
    """A person may have five addresses: each group alone stays within this limit, both together exceed it."""
    first = [("user_id", "u1", "email", f"p{at}@example.com") for at in range(3)]
    import_links(pipeline.context, SHOP, first)
    rows: list[Row] = [
        ("email", "p0@example.com", "email", "q0@example.com"),
        ("email", "p1@example.com", "email", "q1@example.com"),
        ("email", "q0@example.com", "email", "q2@example.com"),
        ("email", "q1@example.com", "email", "q3@example.com"),
    ]
    linked = import_links(pipeline.context, SHOP, rows)
    assert (linked.plain, linked.bounded) == (0, 1)
    assert pipeline.one("SELECT count(*) FROM identity.evidence WHERE kind = 'refusal' AND rule = 'limit:email'") == 1
    (person,) = (owned for owned in pipeline.people().values() if "user_id" in owned)
    assert len(person["email"]) == 5
    check_map(pipeline)


def test_profiles_that_a_table_links_transitively_become_one(pipeline: Pipeline) -> None:
    for number in range(3):
        pipeline.send(track(anonymousId=f"a{number}"))
    rows: list[Row] = [
        ("anonymous_id", "a0", "email", "p0@example.com"),
        ("email", "p0@example.com", "anonymous_id", "a2"),
        ("anonymous_id", "a1", "email", "p1@example.com"),
        ("email", "p1@example.com", "anonymous_id", "a2"),
    ]
    oldest = min(pipeline.people(), key=lambda profile_id: origin_of(pipeline, profile_id))
    import_links(pipeline.context, SHOP, rows)
    assert list(pipeline.people()) == [oldest]
    merges = evidence_of(pipeline, "merge")
    assert [(row, rule) for row, rule, *_ in merges] == [(2, "link_table"), (4, "link_table")]
    retired = {other for *_, other in merges}
    assert len(retired) == 2
    assert oldest not in retired
    assert {
        pipeline.one(f"SELECT merged_into FROM identity.profile WHERE profile_id = {profile_id}")
        for profile_id in retired
    } == {oldest}
    check_map(pipeline)


def test_every_row_leaves_evidence_even_if_it_was_refused(pipeline: Pipeline) -> None:
    pipeline.register()
    rows: list[Row] = [
        ("user_id", "u1", "anonymous_id", "tablet"),
        ("user_id", "u2", "anonymous_id", "tablet"),
        ("user_id", "u3", "email", "p@example.com"),
        ("email", "p@example.com", "user_id", "u3"),
    ]
    import_links(pipeline.context, SHOP, rows)
    assert [(row, rule) for row, rule, *_ in evidence_of(pipeline, "link")] == [(3, "link_table")]
    assert [(row, rule) for row, rule, *_ in evidence_of(pipeline, "refusal")] == [
        (1, "shared:anonymous_id"),
        (2, "shared:anonymous_id"),
    ]
    assert [rule for _, rule, *_ in evidence_of(pipeline, "shared")] == ["unique"]
    assert pipeline.one("SELECT count(DISTINCT policy_fingerprint) FROM identity.evidence") == 1
    explanation = explain(pipeline.context, Identifier("user_id", "u1"), Identifier("anonymous_id", "tablet"))
    (refusal,) = explanation.refusals
    assert refusal.row == TableRow("shop", None, 1)
    assert refusal.policy == pipeline.context.policy.fingerprint


def test_a_profile_beyond_a_bound_is_quarantined_with_its_evidence(database: Database, tmp_path: Path) -> None:
    policy = changed(permit_all(), "identifiers.yaml", bounds={"identifiers_per_profile": 4})
    pipeline = open_pipeline(database, policy, tmp_path)
    import_links(pipeline.context, SHOP, [("user_id", "u1", "anonymous_id", f"a{number}") for number in range(5)])
    assert [(row, rule) for row, rule, *_ in evidence_of(pipeline, "quarantine")] == [
        (4, "bound:identifiers_per_profile"),
        (5, "bound:identifiers_per_profile"),
    ]
    assert pipeline.one("SELECT count(*) FROM identity.profile WHERE is_quarantined") == 1
    check_map(pipeline)


@pytest.mark.parametrize("part_rows", [1, 3, 1_000])
def test_a_part_needs_the_same_number_of_statements_whatever_its_size(part_rows: int, pipeline: Pipeline) -> None:
    def statements(stem: str, groups: int) -> int:
        before = pipeline.context.database.statements
        rows: list[Row] = [("user_id", f"{stem}{at}", "anonymous_id", f"{stem}-{at}") for at in range(groups)]
        import_links(pipeline.context, SHOP, rows, part_rows=part_rows)
        return pipeline.context.database.statements - before

    nothing, one, three = (statements(stem, parts * part_rows) for stem, parts in (("u", 0), ("v", 1), ("w", 3)))
    assert three - nothing == 3 * (one - nothing)
    assert one - nothing < 40


def test_suppressed_people_are_not_linked_and_others_are(pipeline: Pipeline, tmp_path: Path) -> None:
    rights = RequestPipeline(pipeline, pipeline.context, tmp_path)
    pipeline.register()
    pipeline.send(track(userId="u1"))
    pipeline.send(track(userId="u2", traits={"email": "ada@example.com"}))
    rights.erase(("user_id", "u1"))
    rights.erase(("user_id", "u2"), ("email", "ada@example.com"))
    rows: list[Row] = [
        ("user_id", "u1", "anonymous_id", "a1"),
        ("user_id", "u1", "anonymous_id", "a1"),
        ("anonymous_id", "a1", "email", "p@example.com"),
        ("anonymous_id", "Ada@example.com", "anonymous_id", "a1"),
    ]
    assert import_links(pipeline.context, SHOP, rows).states == {"suppressed": 3, "stored": 1}
    assert pipeline.partition() == {frozenset({("anonymous_id", "a1"), ("email", "p@example.com")})}
    check_map(pipeline)


def test_a_refusal_of_which_only_the_pseudonym_is_left_applies_to_the_person_of_a_table(pipeline: Pipeline) -> None:
    hidden = pipeline.context.vault.hashes.pseudonym(SUPPRESSION, "email", "p@example.com")
    with pipeline.context.database.transaction() as tx:
        suppress_purposes(tx, [(hidden, "analytics")], NOON)
    rows: list[Row] = [("user_id", "u1", "email", "p@example.com"), ("user_id", "u2", "anonymous_id", "a2")]
    assert import_links(pipeline.context, SHOP, rows).states == {"stored": 2}
    assert pipeline.one("SELECT count(*) FROM consent.permitted WHERE purpose = 'analytics'") == 1
    assert pipeline.one("SELECT reason FROM consent.refused WHERE purpose = 'analytics'") == "refused"
    assert pipeline.one("SELECT signal FROM consent.record WHERE act = 'refuse'") == KEPT
    import_links(pipeline.context, SHOP, [("user_id", "u1", "anonymous_id", "a1")])
    assert pipeline.one("SELECT count(*) FROM consent.record") == 1
    assert pipeline.one("SELECT count(*) FROM consent.permitted WHERE purpose = 'analytics'") == 1


def test_a_restriction_of_which_only_the_pseudonym_is_left_stays_one_and_ends_with_it(pipeline: Pipeline) -> None:
    """As of an objection that is weighed, in a database restored from before its person: a table must not make it a refusal."""
    hidden = pipeline.context.vault.hashes.pseudonym(SUPPRESSION, "email", "p@example.com")
    with pipeline.context.database.transaction() as tx:
        restrict(tx, [(hidden, "analytics")], NOON)
    rows: list[Row] = [("user_id", "u1", "email", "p@example.com"), ("user_id", "u2", "anonymous_id", "a2")]
    assert import_links(pipeline.context, SHOP, rows).states == {"stored": 2}
    assert pipeline.one("SELECT reason FROM consent.refused WHERE purpose = 'analytics'") == "restricted"
    assert pipeline.one("SELECT act FROM consent.record WHERE signal = 'kept_by_pseudonym'") == "restrict"
    with pipeline.context.database.transaction() as tx:
        release(tx, [(hidden, "analytics")], NOON + timedelta(minutes=1))
    pipeline.clock.instant += timedelta(minutes=2)
    import_links(pipeline.context, SHOP, [("email", "p@example.com", "anonymous_id", "a1")])
    assert pipeline.one("SELECT count(*) FROM consent.permitted WHERE purpose = 'analytics'") == 2


def origin_of(pipeline: Pipeline, profile_id: int) -> int:
    return int(pipeline.one(f"SELECT origin_sequence FROM identity.profile WHERE profile_id = {profile_id}"))


def evidence_of(pipeline: Pipeline, kind: str) -> list[tuple[Any, ...]]:
    """Row, rule, profile and other profile of the evidence that link tables recorded."""
    with pipeline.context.database.transaction(read_only=True) as tx:
        return tx.execute(
            """
            SELECT e.row_number, v.rule, v.profile_id, v.other_profile_id
            FROM identity.evidence AS v JOIN identity.edge AS e USING (sequence)
            WHERE v.kind = %(kind)s
            ORDER BY e.row_number
            """,
            {"kind": kind},
        )
