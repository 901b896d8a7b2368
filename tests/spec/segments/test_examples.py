"""Every example of the manual, asked of the interpreter and of PostgreSQL; every refusal, character by character."""

import pytest

from cdp.kit.db import Database
from cdp.query.language.catalogue import Catalogue, Definition
from cdp.query.language.check import understand
from cdp.query.language.jsonform import from_json, to_json
from cdp.query.language.parse import parse
from cdp.query.language.printer import write
from cdp.query.language.rejection import Rejection
from cdp.query.manual.chapters import CHAPTERS, Example, Wrong
from cdp.query.manual.people import NOW, OTHER, PEOPLE, PURPOSE
from cdp.query.postgres.compile import Ground, compile_segment
from cdp.query.reference.interpret import members
from tests.support.policies import shipped
from tests.support.segment_histories import World, load, meaning

BUYERS = meaning('did("Order Completed")')
CATALOGUE = Catalogue(shipped(), {"buyers": Definition(PURPOSE, BUYERS), "watched_buyers": Definition(OTHER, BUYERS)})
EXAMPLES = [example for chapter in CHAPTERS for example in chapter.examples]
WRONG = [wrong for chapter in CHAPTERS for wrong in chapter.wrong]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.program)
def test_the_interpreter_says_so(example: Example) -> None:
    condition = understand(example.program, CATALOGUE, PURPOSE, now=NOW)
    assert not isinstance(condition, tuple), [each.message for each in condition]
    found = members(condition, PEOPLE, purpose=PURPOSE, catalogue=CATALOGUE, now=NOW)
    assert found == set(example.members)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.program)
def test_text_and_json_lose_nothing(example: Example) -> None:
    condition = meaning(example.program)
    assert parse(write(condition)) == condition
    assert from_json(to_json(condition)) == condition


@pytest.mark.postgres
def test_postgresql_says_so(database: Database) -> None:
    people = World(PEOPLE, {profile.profile_id: (profile.profile_id + 100,) for profile in PEOPLE})
    masks = load(database, [people], CATALOGUE)
    with database.transaction(read_only=True) as tx:
        terms = {(row[0], row[1]): row[2] for row in tx.execute("SELECT vocabulary, term, term_id FROM behavior.term")}
        for example in EXAMPLES:
            statements = compile_segment(
                meaning(example.program), CATALOGUE, Ground(masks, terms), purpose=PURPOSE, now=NOW
            )
            found = {row[0] for row in tx.all(statements.members)}
            assert found == set(example.members), example.program


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.program)
def test_a_refusal_points_at_the_character(wrong: Wrong) -> None:
    found = understand(wrong.program, CATALOGUE, PURPOSE, now=NOW)
    assert isinstance(found, tuple)
    at = wrong.program.index(wrong.marked) if wrong.marked else len(wrong.program)
    assert found[0] == Rejection(at, wrong.message, wrong.hint)
