"""The states of the rows of a link table: a row that a rule refused is not called stored, and all rows are counted."""

from datetime import timedelta
from pathlib import Path

import pytest

from cdp.flows.identity.link_table.table import Row, import_links
from cdp.flows.imports.links import import_link_file
from cdp.flows.imports.mapping import load_mapping
from cdp.flows.operations.accounting import count_messages
from cdp.kit.db import Database
from tests.support.people import NOON, SHOP
from tests.support.pipeline import Pipeline, open_pipeline
from tests.support.policies import changed, permit_all

pytestmark = pytest.mark.postgres

HOUR = timedelta(hours=1)


@pytest.fixture
def pipeline(database: Database, tmp_path: Path) -> Pipeline:
    return open_pipeline(database, permit_all(), tmp_path)


LIMIT: list[Row] = [("user_id", "u1", "email", f"p{number}@example.com") for number in range(6)]
SHARED: list[Row] = [("user_id", "u1", "anonymous_id", "tablet"), ("user_id", "u2", "anonymous_id", "tablet")]
UNIQUE: list[Row] = [("user_id", "u1", "user_id", "u2")]


@pytest.mark.parametrize(
    ("rows", "states", "reasons", "listed"),
    [
        (LIMIT, {"stored": 5, "refused": 1}, {"refused: limit": 1}, {"refused: limit": [6]}),
        (SHARED, {"refused": 2}, {"refused: shared": 2}, {"refused: shared": [1, 2]}),
        (UNIQUE, {"refused": 1}, {"refused: unique": 1}, {"refused: unique": [1]}),
        (
            [*LIMIT, LIMIT[5], *SHARED],
            {"stored": 5, "refused": 3, "duplicate": 1},
            {"refused: limit": 1, "refused: shared": 2},
            {"refused: limit": [6], "refused: shared": [8, 9]},
        ),
    ],
    ids=["limit", "shared", "unique", "several, one twice"],
)
def test_a_row_that_a_rule_refused_is_counted_as_refused_by_that_rule(
    pipeline: Pipeline,
    *,
    rows: list[Row],
    states: dict[str, int],
    reasons: dict[str, int],
    listed: dict[str, list[int]],
) -> None:
    pipeline.register()
    linked = import_links(pipeline.context, SHOP, rows)
    assert dict(linked.states) == states
    assert dict(linked.reasons) == reasons
    assert {reason: list(numbers) for reason, numbers in linked.rows.items()} == listed
    found = count_messages(pipeline.context, NOON - HOUR, NOON + HOUR, actor="operator")
    assert (found.received, found.by_state) == (len(rows), states)
    with_evidence = pipeline.one("SELECT count(DISTINCT sequence) FROM identity.evidence WHERE kind = 'refusal'")
    assert with_evidence == states["refused"], "each refused row left its refusal"
    again = import_links(pipeline.context, SHOP, rows)
    assert dict(again.states) == {"duplicate": len(rows)}


def test_a_row_beyond_a_bound_is_refused(database: Database, tmp_path: Path) -> None:
    policy = changed(permit_all(), "identifiers.yaml", bounds={"identifiers_per_profile": 4})
    pipeline = open_pipeline(database, policy, tmp_path)
    rows: list[Row] = [("user_id", "u1", "anonymous_id", f"a{number}") for number in range(5)]
    linked = import_links(pipeline.context, SHOP, rows)
    assert (dict(linked.states), dict(linked.reasons)) == ({"stored": 3, "refused": 2}, {"refused: bound": 2})


def test_a_file_of_links_reports_refused_rows_over_all_its_runs(pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.register()
    path = tmp_path / "links.csv"
    path.write_text("customer,email\n" + "".join(f"{one},{other}\n" for _, one, _, other in LIMIT) + "u9,\n")
    mapping = tmp_path / "links.yaml"
    mapping.write_text("links: [{type: user_id, column: customer}, {type: email, column: email}]")
    done = import_link_file(pipeline.context, path, load_mapping(mapping), source_name="shop")
    assert (done.rows, dict(done.tally.states)) == (7, {"stored": 5, "refused": 1, "invalid": 1})
    assert sum(done.tally.states.values()) == done.rows
    assert done.tally.reasons["refused: limit"] == 1
    assert done.tally.rows["refused: limit"] == [6]
