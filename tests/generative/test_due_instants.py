"""Until the computed instant, time alone changes no membership: random programs over random histories.

The interpreter evaluates each profile at instants before the computed one, close to it and in between; PostgreSQL
computes the instants.
"""

import os
from collections import Counter
from datetime import datetime, timedelta
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings

from cdp.kit.db import Database
from cdp.query.language import ast
from cdp.query.language.printer import write
from cdp.query.postgres.compile import InternedIds
from cdp.query.postgres.due import next_instants
from cdp.query.reference.history import Profile
from cdp.query.reference.interpret import is_in
from tests.support.segment_histories import NOW, PURPOSE, catalogue, condition_of, load, random_population
from tests.support.segment_strategies import families, programs

pytestmark = pytest.mark.postgres

CATALOGUE = catalogue()
LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
POPULATION = random_population(7, 60)
PROFILES: dict[int, Profile] = {profile.profile_id: profile for profile in POPULATION.profiles}
HORIZON = NOW + timedelta(days=40)
ROUNDING = timedelta(milliseconds=2)
"""A decayed value is looked at again within this time of an instant that was rounded."""


@pytest.fixture
def ids(database: Database) -> InternedIds:
    masks = load(database, [POPULATION], CATALOGUE)
    with database.transaction() as tx:
        rows = tx.execute("SELECT vocabulary, term, term_id FROM behavior.term")
    return InternedIds(masks, {(vocabulary, text): number for vocabulary, text, number in rows})


def instants(
    database: Database, ids: InternedIds, program: ast.Condition, now: datetime = NOW, until: datetime = HORIZON
) -> dict[int, datetime]:
    statement = next_instants(program, CATALOGUE, ids, purpose=PURPOSE, now=now, until=until)
    with database.transaction(read_only=True) as tx:
        return dict(tx.all(statement))


def is_member(program: ast.Condition, profile: Profile, now: datetime) -> bool:
    return is_in(program, profile, purpose=PURPOSE, catalogue=CATALOGUE, now=now)


def test_nothing_changes_before_the_instant(database: Database, ids: InternedIds) -> None:
    seen: Counter[str] = Counter()
    rng = Random(1)

    def looked_at(program: ast.Condition) -> None:
        found = instants(database, ids, program)
        assert all(NOW < at <= HORIZON for at in found.values())
        for profile_id, profile in PROFILES.items():
            end = found.get(profile_id, HORIZON)
            before = is_member(program, profile, NOW)
            length = end - NOW
            moments = [end - ROUNDING, NOW + length * 0.999, NOW + length * rng.random(), NOW + length * 0.01]
            for moment in moments:
                if NOW < moment < end:
                    assert is_member(program, profile, moment) is before, (write(program), profile, moment, end)
            if profile_id in found:
                is_changed = is_member(program, profile, end + ROUNDING) is not before
                seen["changes" if is_changed else "stays"] += 1

    for family in (*families().values(), programs()):

        @settings(
            max_examples=200 if LONG else 12,
            deadline=None,
            derandomize=not LONG,
            suppress_health_check=list(HealthCheck),
        )
        @given(family)
        def agree(program: ast.Condition) -> None:
            looked_at(program)

        agree()
    assert seen["changes"] > 100


@pytest.mark.parametrize(
    "text",
    [
        'did("Trial", within 90 minutes)',
        'days_since_last("Trial") >= 3',
        "trait.createdAt within 30 days",
        'did("Trial" where any lines where ready within 1 day)',
        'did("Trial" where not (any lines where (gift = true and ready within 30 days)))',
        'sum("Trial".score, half_life 3 days) > 1',
    ],
)
def test_following_the_instants_finds_every_change(database: Database, ids: InternedIds, text: str) -> None:
    """From instant to instant, a person is where the interpreter says at every minute in between."""
    program = condition_of(text)
    now, known = NOW, {key: is_member(program, profile, NOW) for key, profile in PROFILES.items()}
    until = NOW + timedelta(days=2)
    due = instants(database, ids, program, until=until)
    while due:
        now = min(due.values())
        for key in [key for key, at in due.items() if at <= now]:
            known[key] = is_member(program, PROFILES[key], now)
        again = instants(database, ids, program, now=now, until=until)
        due = {key: at for key, at in again.items() if key in PROFILES}
    assert known == {key: is_member(program, profile, until) for key, profile in PROFILES.items()}
