"""The shape of the SQL: what the author cannot leave out, and what keeps it fast."""

import pytest
from hypothesis import given, settings

from cdp.query.language import ast
from cdp.query.postgres.compile import InternedIds, compile_segment, sql_text
from tests.support.segment_histories import LINES, NOW, ORDER, OTHER, PURPOSE, TRIAL, VIEW, catalogue, condition_of
from tests.support.segment_strategies import programs

CATALOGUE = catalogue()
GROUND = InternedIds({PURPOSE: 4, OTHER: 8}, {("event", ORDER): 11, ("event", VIEW): 12})


def members(text: str, purpose: str = PURPOSE) -> str:
    return sql_text(compile_segment(condition_of(text), CATALOGUE, GROUND, purpose=purpose, now=NOW).members)


@settings(max_examples=150, deadline=None)
@given(programs())
def test_every_event_is_read_for_a_purpose_permitted_and_retained(program: ast.Condition) -> None:
    statements = compile_segment(program, CATALOGUE, GROUND, purpose=PURPOSE, now=NOW)
    for statement in (statements.members, statements.verdicts, statements.funnel, statements.pseudonyms(3)):
        sql = sql_text(statement)
        reads = sql.count("behavior.event AS event")
        assert sql.count("event.occurred_at >= people_") == reads
        assert sql.count("event.bits & ") == reads
        assert sql.count("event.retention_class = ") == reads
        assert sql.count("event.occurred_at <= ") >= reads
        assert "FROM consent.permitted_email_marketing AS permitted" in sql
        assert "consent.permitted AS" not in sql
        assert sql.count("behavior.bucket AS bucket") == sql.count("CAST(timezone('UTC', people_")
        assert "vault." not in sql
        assert "identity.identifier" not in sql


def test_another_segment_is_read_for_its_own_purpose() -> None:
    sql = members('in segment "visitors"')
    assert "FROM consent.permitted_email_marketing AS permitted" in sql
    assert "FROM consent.permitted_analytics AS permitted" in sql
    assert "event.bits & 8" in sql
    assert "event.bits & 4" not in sql


def test_a_purpose_that_the_store_does_not_know_yet_is_read_through_the_whole_table_and_finds_nobody() -> None:
    unknown = InternedIds({}, GROUND.terms)
    sql = sql_text(
        compile_segment(condition_of("trait.age >= 18"), CATALOGUE, unknown, purpose=PURPOSE, now=NOW).members
    )
    assert "FROM consent.permitted AS permitted" in sql
    assert "permitted.purpose = 'email_marketing'" in sql


def test_the_events_of_one_name_are_read_once() -> None:
    sql = members(
        f'count("{ORDER}", within 365 days) >= 3 and sum("{ORDER}".revenue where category = "shoes", within 90 days) > 5 '
        f'and not did("{ORDER}", within 60 days)'
    )
    assert sql.count("behavior.event AS event") == 1
    assert sql.count("FILTER (WHERE") == 2


@pytest.mark.parametrize(
    ("text", "is_alone"),
    [
        (f'count("{ORDER}") >= 3', True),
        (f'count("{ORDER}") >= 3 and not did("{VIEW}")', True),
        (f'average("{ORDER}".revenue) > 5 or max("{ORDER}".revenue) > 7', True),
        (f'count("{ORDER}") < 3', False),
        (f'not count("{ORDER}") >= 3', False),
        (f'exists count("{ORDER}")', False),
        (f'count("{ORDER}") >= 3 or did("{VIEW}")', False),
        (f'count("{ORDER}") >= 3 and trait.age > 18', False),
    ],
)
def test_the_projection_is_read_once_where_events_alone_can_answer(text: str, is_alone: bool) -> None:
    """Otherwise frames are materialized, so that no worker of a parallel join aggregates the events again."""
    sql = members(text)
    last = sql.rsplit("\n SELECT ", 1)[1]
    assert ("people_1" not in last.split("WHERE")[0]) is is_alone
    assert ("AS MATERIALIZED" in sql) is not is_alone


def test_values_of_the_author_are_bound_never_written() -> None:
    evil = "x'; DROP TABLE behavior.event; --"
    condition = ast.Sample(condition_of('sample 10% by "x"').percent, evil)
    statement = compile_segment(condition, CATALOGUE, GROUND, purpose=PURPOSE, now=NOW).members
    assert evil not in str(statement)
    assert evil.encode().hex() in statement.compile().params.values()


@pytest.mark.parametrize(
    ("where", "reads_entries"),
    [
        ('channel = "web"', False),
        ('(channel = "web" and amount = 3)', False),
        ('(channel = "web" and amount >= 3)', True),
        ('(channel = "web" and channel = "app")', True),
    ],
)
def test_a_list_is_asked_for_equal_values_before_its_entries_are_read(where: str, reads_entries: bool) -> None:
    text = members(f'did("{TRIAL}" where any {LINES} where {where})')
    assert ("jsonb_array_elements" in text) is reads_entries
    asked = text.index('{"lines": [{"channel"')
    assert not reads_entries or asked < text.index("jsonb_array_elements")


def test_every_entry_is_read_where_unknown_is_not_false() -> None:
    text = members(f'did("{TRIAL}" where not (any {LINES} where channel = "web"))')
    assert '{"lines": [{' not in text
    assert "bool_or" in text
