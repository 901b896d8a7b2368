"""Days are those of the policy's time zone, also where a day has 23, 24½ or 25 hours, or begins at one o'clock.

Days are computed here a third time, from the local date of each instant, because both evaluators use the catalogue for
the beginning of a day.
"""

import operator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from cdp.kit.db import Database
from cdp.query.language import ast
from cdp.query.language.catalogue import Catalogue
from cdp.query.postgres.compile import InternedIds, compile_segment
from cdp.query.reference.history import EventRecord, PermittedSpan, Profile
from cdp.query.reference.interpret import members
from tests.support.policies import changed
from tests.support.segment_histories import NOW, PURPOSE, VIEW, Population, load, policy

pytestmark = pytest.mark.postgres

SHIFTS = {
    "Europe/Berlin": (date(2026, 3, 29), date(2025, 10, 26)),
    "America/Havana": (date(2026, 3, 8), date(2025, 11, 2)),  # midnight does not exist, midnight comes twice
    "Australia/Lord_Howe": (date(2026, 4, 5), date(2025, 10, 5)),  # half an hour
    "Pacific/Kiritimati": (date(2026, 1, 1),),  # 14 hours ahead of UTC, no summer time
}
RELATIONS = {
    ast.Operator.EQ: operator.eq,
    ast.Operator.NE: operator.ne,
    ast.Operator.LT: operator.lt,
    ast.Operator.LE: operator.le,
    ast.Operator.GT: operator.gt,
    ast.Operator.GE: operator.ge,
}


def instants_around(day: date, zone: ZoneInfo) -> list[datetime]:
    """Every half hour of three local days, and the microseconds beside."""
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=zone).astimezone(UTC)
    halves = [noon + timedelta(minutes=30 * step) for step in range(-80, 81)]
    return [instant + timedelta(microseconds=beside) for instant in halves for beside in (-1, 0)]


def people(zone_name: str) -> dict[int, datetime]:
    """One profile for each instant, who did one thing then."""
    zone = ZoneInfo(zone_name)
    instants = [instant for day in SHIFTS[zone_name] for instant in instants_around(day, zone)]
    return {number: instant for number, instant in enumerate(instants, 1) if NOW - timedelta(days=390) < instant <= NOW}


def programs(day: date) -> list[tuple[ast.Condition, str]]:
    """Everything in which the language names days, with the relation of local dates that it must be."""
    seen, literal = ast.Events(VIEW, None, None), ast.Day(day)
    found: list[tuple[ast.Condition, str]] = [
        (ast.Compare(ast.First(seen), relation, literal), relation.name) for relation in ast.Operator
    ]
    following = ast.Day(day + timedelta(days=1))
    return [
        *found,
        (ast.OneOf(ast.Last(seen), (literal,)), "EQ"),
        (ast.Between(ast.Last(seen), literal, following), "two"),
        (ast.Did(ast.Events(VIEW, None, ast.During(literal, following))), "two"),
        (
            ast.Compare(ast.Count(ast.Events(VIEW, None, ast.During(literal, literal)), None), ast.Operator.GE, ONE),
            "EQ",
        ),
    ]


ONE = ast.Number(Decimal(1))


def expected(kind: str, day: date, local: dict[int, date]) -> set[int]:
    if kind == "two":
        return {number for number, local_day in local.items() if day <= local_day <= day + timedelta(days=1)}
    return {number for number, local_day in local.items() if RELATIONS[ast.Operator[kind]](local_day, day)}


@pytest.mark.parametrize("zone_name", SHIFTS)
def test_days_are_local_days_in_both_evaluators(database: Database, zone_name: str) -> None:
    catalogue = Catalogue(changed(policy(), "jurisdictions.yaml", time_zone=zone_name))
    happened = people(zone_name)
    profiles = tuple(
        Profile(
            number,
            {PURPOSE: PermittedSpan(None, None)},
            {PURPOSE: {}},
            (EventRecord(VIEW, at, frozenset({PURPOSE}), {"price": 5}, str(UUID(int=number))),),
        )
        for number, at in happened.items()
    )
    masks = load(
        database, [Population(profiles, {profile.profile_id: (profile.profile_id,) for profile in profiles})], catalogue
    )
    local = {number: at.astimezone(ZoneInfo(zone_name)).date() for number, at in happened.items()}
    with database.transaction(read_only=True) as tx:
        rows = tx.execute("SELECT vocabulary, term, term_id FROM behavior.term")
        ground = InternedIds(masks, {(vocabulary, text): number for vocabulary, text, number in rows})
        for shift in SHIFTS[zone_name]:
            for day in (shift + timedelta(days=beside) for beside in (-1, 0, 1)):
                for program, kind in programs(day):
                    right = expected(kind, day, local)
                    assert 0 < len(right) < len(local)
                    assert members(program, profiles, purpose=PURPOSE, catalogue=catalogue, now=NOW) == right, program
                    statement = compile_segment(program, catalogue, ground, purpose=PURPOSE, now=NOW).members
                    assert {row[0] for row in tx.all(statement)} == right, program
