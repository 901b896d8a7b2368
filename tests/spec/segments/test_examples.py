"""Every example of the manual, evaluated by the interpreter and by PostgreSQL; every rejection with its position."""

import pytest

from cdp.kit.db import Database
from cdp.query.language.catalogue import Catalogue, Definition
from cdp.query.language.check import parse_and_check
from cdp.query.language.jsonform import from_json, to_json
from cdp.query.language.parse import parse
from cdp.query.language.printer import write
from cdp.query.language.rejection import Rejection
from cdp.query.manual.chapters import CHAPTERS, Example, Wrong
from cdp.query.manual.people import NOW, OTHER, PEOPLE, PURPOSE
from cdp.query.postgres.compile import InternedIds, compile_segment
from cdp.query.reference.interpret import members
from tests.support.policies import combining, shipped
from tests.support.segment_histories import Population, condition_of, load

BUYERS = condition_of('did("Order Completed")')
POLICY = combining(shipped(), PURPOSE, OTHER)
CATALOGUE = Catalogue(POLICY, {"buyers": Definition(PURPOSE, BUYERS), "watched_buyers": Definition(OTHER, BUYERS)})
EXAMPLES = [example for chapter in CHAPTERS for example in chapter.examples]
WRONG = [wrong for chapter in CHAPTERS for wrong in chapter.wrong]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.program)
def test_the_interpreter_finds_the_members(example: Example) -> None:
    condition = parse_and_check(example.program, CATALOGUE, PURPOSE, now=NOW)
    assert not isinstance(condition, tuple), [rejection.message for rejection in condition]
    found = members(condition, PEOPLE, purpose=PURPOSE, catalogue=CATALOGUE, now=NOW)
    assert found == set(example.members)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.program)
def test_text_and_json_lose_nothing(example: Example) -> None:
    condition = condition_of(example.program)
    assert parse(write(condition)) == condition
    assert from_json(to_json(condition)) == condition


@pytest.mark.postgres
def test_postgresql_finds_the_members(database: Database) -> None:
    people = Population(PEOPLE, {profile.profile_id: (profile.profile_id + 100,) for profile in PEOPLE})
    masks = load(database, [people], CATALOGUE)
    with database.transaction(read_only=True) as tx:
        rows = tx.execute("SELECT vocabulary, term, term_id FROM behavior.term")
        terms = {(vocabulary, text): term_id for vocabulary, text, term_id in rows}
        for example in EXAMPLES:
            statements = compile_segment(
                condition_of(example.program), CATALOGUE, InternedIds(masks, terms), purpose=PURPOSE, now=NOW
            )
            found = {profile_id for (profile_id,) in tx.all(statements.members)}
            assert found == set(example.members), example.program


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.program)
def test_a_rejection_points_at_the_character(wrong: Wrong) -> None:
    found = parse_and_check(wrong.program, CATALOGUE, PURPOSE, now=NOW)
    assert isinstance(found, tuple)
    at = wrong.program.index(wrong.marked) if wrong.marked else len(wrong.program)
    assert found[0] == Rejection(at, wrong.message, wrong.hint)
