"""Link tables processed in parts of any size: one transaction, many, and the sequential model have the same result."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cdp.flows.identifiers import open_identifiers
from cdp.flows.identity.link_table.table import Row, import_links
from cdp.kit.db import Database
from cdp.sources.model import Source
from tests.flows.test_link_table import model_of
from tests.generative.test_identity_batches import IMPORTED, POLICIES, Sent, check_map, empty, message
from tests.support.budget import IS_LONG, examples
from tests.support.people import SHOP, WEB
from tests.support.pipeline import Pipeline, open_pipeline

pytestmark = pytest.mark.postgres

WHOLE = 1_000_000
TYPES = {"user_id": ("u", 4), "email": ("p", 6), "anonymous_id": ("a", 6), "household_id": ("h", 2)}

BUDGET = settings(
    max_examples=examples(12),
    deadline=None,
    derandomize=not IS_LONG,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@st.composite
def side(draw: st.DrawFn) -> tuple[str, str]:
    """An identifier of the few that messages use, or another one."""
    type_ = draw(st.sampled_from(sorted(TYPES)))
    stem, count = TYPES[type_]
    name = f"{stem}{draw(st.integers(1, count * draw(st.sampled_from([1, 4]))))}"
    return type_, f"{name}@example.com" if type_ == "email" else name


@st.composite
def rows(draw: st.DrawFn) -> list[Row]:
    """A table in which some rows are repeated, and some are not links."""
    pairs: list[Row] = [
        (*one, *other) for one, other in draw(st.lists(st.tuples(side(), side()), min_size=1, max_size=14))
    ]
    for again in draw(st.lists(st.sampled_from(pairs), max_size=2)):
        pairs.insert(draw(st.integers(pairs.index(again) + 1, len(pairs))), again)
    return pairs


@st.composite
def before(draw: st.DrawFn) -> list[Sent]:
    """Messages that are sent before the table, by a browser or by the shop."""
    source = st.sampled_from(draw(st.sampled_from([[SHOP], [WEB, SHOP]])))
    messages = [(body, draw(source)) for body in draw(st.lists(message(), max_size=6))]
    for at, (body, _) in enumerate(messages):
        body["messageId"] = f"m-{at:03d}"
    return messages


@BUDGET
@pytest.mark.parametrize("name", POLICIES)
@given(table=rows(), part_rows=st.integers(1, 8))
def test_a_table_of_new_identifiers_has_the_same_result_in_parts_as_at_once(
    name: str, table: list[Row], part_rows: int, database: Database, tmp_path: Path
) -> None:
    policy = POLICIES[name]
    found = []
    for size in (WHOLE, part_rows):
        empty(database)
        pipeline = open_pipeline(database, policy, tmp_path)
        linked = import_links(pipeline.context, SHOP, table, part_rows=size)
        assert pipeline.partition() == model_of(policy, table)
        check_map(pipeline)
        check_evidence(pipeline)
        found.append((linked, evidence(pipeline), verdicts(pipeline), recorded(pipeline)))
    assert found[0] == found[1]


@BUDGET
@pytest.mark.parametrize("name", POLICIES)
@given(messages=before(), table=rows(), part_rows=st.integers(1, 8), source=st.sampled_from([SHOP, IMPORTED]))
def test_a_table_about_stored_profiles_has_the_result_of_its_recorded_steps(
    name: str,
    messages: list[Sent],
    table: list[Row],
    part_rows: int,
    source: Source,
    database: Database,
    tmp_path: Path,
) -> None:
    found = []
    for size in (WHOLE, part_rows):
        empty(database)
        pipeline = open_pipeline(database, POLICIES[name], tmp_path)
        for body, sender in messages:
            pipeline.send(body, source=sender)
        linked = import_links(pipeline.context, source, table, part_rows=size)
        check_map(pipeline)
        check_evidence(pipeline)
        found.append((linked.states, pipeline.partition(), verdicts(pipeline), {row[2:] for row in recorded(pipeline)}))
        again = import_links(pipeline.context, source, table, part_rows=size)
        assert set(again.states) <= {"duplicate", "invalid"}
        assert again.states.get("invalid") == linked.states.get("invalid")
    assert found[0] == found[1]


@BUDGET
@given(messages=before(), table=rows(), part_rows=st.integers(1, 4))
def test_messages_between_the_parts_are_seen_by_the_next_one(
    messages: list[Sent], table: list[Row], part_rows: int, database: Database, tmp_path: Path
) -> None:
    empty(database)
    pipeline = open_pipeline(database, POLICIES["shared"], tmp_path)
    waiting = iter(messages)

    def between(what: str, _done: int, _all: int) -> None:
        sent = next(waiting, None)
        if what == "linking" and sent is not None:
            pipeline.send(sent[0], source=sent[1])

    linked = import_links(pipeline.context, SHOP, table, part_rows=part_rows, progress=between)
    assert sum(linked.states.values()) == len(table)
    check_map(pipeline)
    check_evidence(pipeline)


def check_evidence(pipeline: Pipeline) -> None:
    """Every recorded row has evidence of a link or of a refusal, under the policy in force, at its own time."""
    without = pipeline.one(
        """
        SELECT count(*) FROM identity.edge AS e
        WHERE NOT EXISTS (
            SELECT FROM identity.evidence AS v
            WHERE v.sequence = e.sequence AND v.at = e.received_at AND v.kind IN ('link', 'refusal', 'quarantine')
              AND v.identifier_id IN (e.identifier_id, e.other_identifier_id)
              AND v.policy_fingerprint = (SELECT fingerprint FROM operations.applied_policy ORDER BY applied_policy_id DESC LIMIT 1)
              AND (v.kind <> 'link' OR v.rule = 'link_table'))
        """
    )
    assert without == 0
    lost = pipeline.one(
        """
        SELECT count(*) FROM identity.evidence AS v
        LEFT JOIN identity.profile AS p USING (profile_id)
        LEFT JOIN identity.profile AS other ON other.profile_id = v.other_profile_id
        WHERE p.profile_id IS NULL OR (v.kind = 'merge' AND v.rule = 'link_table' AND other.merged_into IS NULL)
        """
    )
    assert lost == 0


def evidence(pipeline: Pipeline) -> Counter[tuple[Any, ...]]:
    """The evidence by row, kind, rule, and values of the identifiers."""
    return _named(
        pipeline,
        """
        SELECT e.row_number, v.kind, v.rule, v.identifier_id, v.other_identifier_id
        FROM identity.evidence AS v JOIN identity.edge AS e USING (sequence)
        """,
    )


def recorded(pipeline: Pipeline) -> Counter[tuple[Any, ...]]:
    """The recorded steps of tables: their order, their rows, and the values of the identifiers."""
    return _named(
        pipeline,
        """
        SELECT sequence - min(sequence) OVER (), row_number, 'edge', identifier_id, other_identifier_id
        FROM identity.edge
        """,
    )


def verdicts(pipeline: Pipeline) -> set[tuple[frozenset[tuple[str, str]], str]]:
    """Who is permitted for what."""
    with pipeline.context.database.transaction(read_only=True) as tx:
        permitted = tx.execute("SELECT profile_id, purpose FROM consent.permitted")
    people = {
        profile: frozenset((type_, value) for type_, values in each.items() for value in values)
        for profile, each in pipeline.people().items()
    }
    return {(people[profile], purpose) for profile, purpose in permitted}


def _named(pipeline: Pipeline, query: str) -> Counter[tuple[Any, ...]]:
    with pipeline.context.database.transaction(read_only=True) as tx:
        found = tx.execute(query)
        opened = open_identifiers(tx, pipeline.context.vault, {each for row in found for each in row[3:5]})
    values = {number: (each.type, each.value) for number, each in opened.items()}
    return Counter((*row[:3], values[row[3]], values.get(row[4])) for row in found)
