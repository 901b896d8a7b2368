"""The evaluators agree: random programs over random histories in a real PostgreSQL.

The interpreter defines the meaning of the language; the SQL must select the same members, and the same true, false and
unknown for each part. At the end every node and every operator must have been generated.
"""

import os
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, event, given, settings

from cdp.kit.db import Database
from cdp.query.language import ast
from cdp.query.language.check import check
from cdp.query.language.printer import write
from cdp.query.postgres.compile import CompiledSegment, InternedIds, compile_segment
from cdp.query.reference.history import Profile
from cdp.query.reference.interpret import members, truth
from tests.support.segment_histories import (
    NOW,
    ORDER,
    PURPOSE,
    TRIAL,
    VIEW,
    catalogue,
    condition_of,
    load,
    random_population,
)
from tests.support.segment_strategies import families, programs

pytestmark = pytest.mark.postgres

CATALOGUE = catalogue()
LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
POPULATIONS = [random_population(seed, 60) for seed in range(12 if LONG else 4)]
PROFILES: dict[int, Profile] = {
    profile.profile_id: profile for population in POPULATIONS for profile in population.profiles
}
EXAMPLES = 2000 if LONG else 120
FAMILY_EXAMPLES = 100 if LONG else 7
NOT_YET = {ast.Percentile, ast.ZScore, ast.Quantile}
"""Nodes that the checks reject, so that no program can contain them."""


class Recorder:
    """What was generated."""

    def __init__(self) -> None:
        self.nodes: Counter[type[ast.Node]] = Counter()
        self.operators: Counter[tuple[type[ast.Node], ast.Operator]] = Counter()
        self.outcomes: Counter[bool | None] = Counter()

    def record(self, program: ast.Condition) -> None:
        for node in ast.walk(program):
            self.nodes[type(node)] += 1
            if isinstance(node, ast.Compare):
                self.operators[type(node.literal), node.operator] += 1


@pytest.fixture
def ids(database: Database) -> InternedIds:
    masks = load(database, POPULATIONS, CATALOGUE)
    with database.transaction() as tx:
        rows = tx.execute("SELECT vocabulary, term, term_id FROM behavior.term")
    return InternedIds(masks, {(vocabulary, text): number for vocabulary, text, number in rows})


def compiled(
    program: ast.Condition, ids: InternedIds, now: datetime = NOW, only: list[int] | None = None
) -> CompiledSegment:
    return compile_segment(program, CATALOGUE, ids, purpose=PURPOSE, now=now, only=only)


def expected_truths(parts: tuple[ast.Condition, ...], ids: Iterator[int]) -> dict[int, tuple[bool | None, ...]]:
    return {
        profile_id: tuple(
            truth(part, PROFILES[profile_id], purpose=PURPOSE, catalogue=CATALOGUE, now=NOW) for part in parts
        )
        for profile_id in ids
    }


def agreeing(database: Database, ids: InternedIds, recorder: Recorder, program: ast.Condition) -> None:
    """Assert that both evaluators agree about every profile."""
    assert check(program, CATALOGUE, PURPOSE) == ()
    recorder.record(program)
    statements = compiled(program, ids)
    with database.transaction(read_only=True) as tx:
        found = {row[0] for row in tx.all(statements.members)}
        verdicts = {row[0]: tuple(row[1:]) for row in tx.all(statements.verdicts)}
    interpreted = members(program, PROFILES.values(), purpose=PURPOSE, catalogue=CATALOGUE, now=NOW)
    event(f"members: {min(len(interpreted), 1)}")
    assert found == interpreted, write(program)
    expected = expected_truths(statements.parts, iter(verdicts))
    assert verdicts == expected, write(program)
    recorder.outcomes.update(value for truths in expected.values() for value in truths)


def test_sql_and_interpreter_agree(database: Database, ids: InternedIds) -> None:
    recorder = Recorder()
    families_ = families()
    plan = [(family, FAMILY_EXAMPLES) for family in families_.values()] + [(programs(), EXAMPLES)]
    for family, examples in plan:

        @settings(max_examples=examples, deadline=None, derandomize=not LONG, suppress_health_check=list(HealthCheck))
        @given(family)
        def agree(program: ast.Condition) -> None:
            agreeing(database, ids, recorder, program)

        agree()
    missing = set(ast.NODES) - set(recorder.nodes) - NOT_YET
    assert not missing, f"no program held {sorted(node.__name__ for node in missing)}"
    required: set[tuple[type[ast.Node], ast.Operator]]
    required = {(kind, operator) for kind in (ast.Number, ast.Day) for operator in ast.Operator}
    required |= {(kind, operator) for kind in (ast.Text, ast.Flag) for operator in (ast.Operator.EQ, ast.Operator.NE)}
    assert required <= set(recorder.operators)
    assert set(recorder.outcomes) == {True, False, None}


def test_only_some_profiles(database: Database, ids: InternedIds) -> None:
    """Limited to some profiles, a program has the same result for each as without the limit."""
    some = sorted(PROFILES)[::3]

    @settings(max_examples=30, deadline=None, derandomize=not LONG, suppress_health_check=list(HealthCheck))
    @given(programs())
    def agree(program: ast.Condition) -> None:
        with database.transaction(read_only=True) as tx:
            limited = {row[0] for row in tx.all(compiled(program, ids, only=some).members)}
        assert limited == members(
            program, [PROFILES[profile_id] for profile_id in some], purpose=PURPOSE, catalogue=CATALOGUE, now=NOW
        ), write(program)

    agree()


def test_the_funnel_counts_what_the_verdicts_say(database: Database, ids: InternedIds) -> None:
    program = condition_of(
        f'trait.age >= 18 and not did("{VIEW}", within 30 days) and count("{TRIAL}") >= 1 and computed.trials < 3'
    )
    statements = compiled(program, ids)
    with database.transaction(read_only=True) as tx:
        permitted, *counts = tx.all(statements.funnel)[0]
        verdicts = [row[1:] for row in tx.all(statements.verdicts)]
    assert permitted == len(verdicts)
    for at in range(4):
        assert counts[2 * at] == sum(row[at] is True for row in verdicts)
        assert counts[2 * at + 1] == sum(all(value is True for value in row[: at + 1]) for row in verdicts)


def test_an_earlier_instant_sees_no_later_event(database: Database, ids: InternedIds) -> None:
    """Evaluation as of an instant: nothing that happened afterwards counts."""
    before = NOW - timedelta(days=10)
    program = condition_of(f'count("{TRIAL}", within 30 days) >= 1 and not did("{ORDER}")')
    with database.transaction(read_only=True) as tx:
        found = {row[0] for row in tx.all(compiled(program, ids, before).members)}
    assert found == members(program, PROFILES.values(), purpose=PURPOSE, catalogue=CATALOGUE, now=before)
