"""Rows of one order as one message, and consents with a time and an end of their own, through the store."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cdp.flows.consent.lookup import look_up
from cdp.flows.imports.mapping import load_mapping
from cdp.flows.imports.messages import Imported, Progress, import_file
from cdp.kit.db import Database
from tests.support.pipeline import Pipeline, open_pipeline
from tests.support.policies import shipped

pytestmark = pytest.mark.postgres

ORDERS = """
event: Order Completed
group_by: Name
message_id: {template: "order-{Name}"}
timestamp: {column: Created at}
identifiers: {user_id: Customer}
properties: {order_id: Name, revenue: {column: Total, type: number}, currency: Currency}
products: {sku: Sku, quantity: {column: Quantity, type: integer}}
"""
LIST = """
type: identify
identifiers: {email: mail}
consents:
  email_marketing:
    column: letters
    at: {column: at}
    valid_until: {column: ends}
"""


@pytest.fixture
def pipeline(database: Database, tmp_path: Path) -> Pipeline:
    return open_pipeline(database, shipped(), tmp_path)


def load(folder: Path, mapping: str, lines: Sequence[str]) -> tuple[Path, Any]:
    file, rules = folder / "file.csv", folder / "mapping.yaml"
    file.write_text("\n".join((*lines, "")), encoding="utf-8")
    rules.write_text(mapping, encoding="utf-8")
    return file, load_mapping(rules)


def orders(count: int) -> list[str]:
    header = "Name,Customer,Currency,Total,Created at,Sku,Quantity"
    lines = []
    for n in range(1, count + 1):
        first = f"#{n},a{n},EUR,{n},2026-05-01 10:00:00 +0200,S{n},1"
        lines += [first, *(f"#{n},a{n},,,,T{part},2" for part in range(n % 4))]
    return [header, *lines]


def accounted(pipeline: Pipeline) -> dict[str, int]:
    with pipeline.context.database.transaction(read_only=True) as tx:
        rows = tx.execute("SELECT state, sum(messages)::int FROM accounting.accounting GROUP BY 1")
    return {str(state): int(count) for state, count in rows}


def revenue(pipeline: Pipeline) -> float:
    return float(pipeline.one("SELECT coalesce(sum((plain->>'revenue')::numeric), 0) FROM behavior.event"))


def test_each_order_counts_once_and_each_of_its_rows_has_its_outcome(pipeline: Pipeline, tmp_path: Path) -> None:
    file, mapping = load(tmp_path, ORDERS, orders(30))
    done = import_file(pipeline.context, file, mapping, chunk_rows=10)
    assert (done.rows, done.tally.states) == (30 + sum(n % 4 for n in range(1, 31)), {"stored": done.rows})
    assert accounted(pipeline) == {"stored": 30}
    assert revenue(pipeline) == sum(range(1, 31))


def test_an_interrupted_import_goes_on_after_the_last_row_of_an_order(pipeline: Pipeline, tmp_path: Path) -> None:
    class Away(Exception):
        pass

    def stop(progress: Progress) -> None:
        if progress.rows >= 15:
            raise Away

    file, mapping = load(tmp_path, ORDERS, orders(30))
    with pytest.raises(Away):
        import_file(pipeline.context, file, mapping, chunk_rows=7, watch=stop)
    done = import_file(pipeline.context, file, mapping, resume=True, chunk_rows=9)
    assert done.resumed_after >= 15
    assert (accounted(pipeline), done.tally.states) == ({"stored": 30}, {"stored": done.rows})
    assert revenue(pipeline) == sum(range(1, 31))


def test_rows_of_an_order_that_come_apart_are_named(pipeline: Pipeline, tmp_path: Path) -> None:
    lines = orders(3)
    file, mapping = load(tmp_path, ORDERS, [*lines, "#1,a1,EUR,1,2026-05-01 10:00:00 +0200,LATE,1"])
    done = import_file(pipeline.context, file, mapping)
    assert done.tally.states == {"stored": done.rows - 1, "duplicate": 1}
    assert done.tally.rows == {"noted: duplicate_other_body": [done.rows]}
    again = import_file(pipeline.context, file, mapping)
    assert again.tally.states == {"duplicate": done.rows}
    assert again.tally.rows == {"noted: duplicate_other_body": [done.rows]}


def import_list(pipeline: Pipeline, folder: Path, *lines: str) -> Imported:
    file, mapping = load(folder, LIST, ["mail,letters,at,ends", *lines])
    return import_file(pipeline.context, file, mapping)


def verdict(pipeline: Pipeline, mail: str) -> Any:
    found = look_up(pipeline.context, ("email", mail), pipeline.clock.now(), actor="operator")
    return found.verdicts["email_marketing"]


def test_a_consent_has_its_own_time_and_ends_when_its_row_says(pipeline: Pipeline, tmp_path: Path) -> None:
    import_list(
        pipeline, tmp_path, "a@example.com,yes,2026-03-01,2026-09-01", "b@example.com,yes,2026-03-01,2036-01-01"
    )
    found = verdict(pipeline, "a@example.com")
    assert (found.allowed, found.since, found.until) == (
        True,
        datetime(2026, 3, 1, tzinfo=UTC),
        datetime(2026, 9, 1, tzinfo=UTC),
    )
    assert verdict(pipeline, "b@example.com").until == datetime(2028, 2, 29, tzinfo=UTC)
    pipeline.clock.instant = datetime(2026, 9, 2, tzinfo=UTC)
    assert not verdict(pipeline, "a@example.com").allowed


def test_a_later_file_prolongs_a_consent_and_does_not_cut_it_short(pipeline: Pipeline, tmp_path: Path) -> None:
    import_list(pipeline, tmp_path, "a@example.com,yes,2026-03-01,2026-09-01")
    for ends, until in (("2026-12-01", 12), ("2026-08-01", 12)):
        import_list(pipeline, tmp_path, f"a@example.com,yes,2026-04-01,{ends}")
        assert verdict(pipeline, "a@example.com").until == datetime(2026, until, 1, tzinfo=UTC)


def test_a_consent_that_ended_before_the_import_permits_nothing(pipeline: Pipeline, tmp_path: Path) -> None:
    done = import_list(pipeline, tmp_path, "a@example.com,yes,2026-03-01,2026-04-01")
    assert done.tally.states == {"not_permitted": 1}
    assert not verdict(pipeline, "a@example.com").allowed


def test_a_refusal_counts_from_its_own_time(pipeline: Pipeline, tmp_path: Path) -> None:
    import_list(pipeline, tmp_path, "a@example.com,yes,2026-04-01,")
    import_list(pipeline, tmp_path, "a@example.com,no,2026-03-01,")
    assert verdict(pipeline, "a@example.com").allowed
    import_list(pipeline, tmp_path, "a@example.com,no,,")
    assert not verdict(pipeline, "a@example.com").allowed
    import_list(pipeline, tmp_path, "a@example.com,yes,,")
    assert not verdict(pipeline, "a@example.com").allowed


ANSWERS = """
event: Order Completed
group_by: Name
timestamp: {column: Created at}
identifiers: {email: Email, user_id: Customer}
consents: {email_marketing: {column: letters}}
"""


@pytest.mark.parametrize("count", [3, 60, 501], ids=["disagrees", "more people than a message names", "too large"])
def test_a_refusal_counts_for_the_person_of_its_row_where_rows_name_several(
    pipeline: Pipeline, tmp_path: Path, count: int
) -> None:
    """A column that is not the number of an order makes one message of rows of many people."""
    lines = ["Name,Customer,Email,Created at,letters", "GB,,a1@example.com,2026-05-01,yes", "GB,,,2026-05-01,no"]
    lines += [f"GB,,a{n}@example.com,2026-05-01,no" for n in range(2, count)]
    file, mapping = load(tmp_path, ANSWERS, lines)
    done = import_file(pipeline.context, file, mapping)
    assert done.tally.states == {"invalid": count}
    refused = pipeline.one("SELECT count(DISTINCT identifier_id) FROM consent.record WHERE act = 'refuse'")
    assert refused == count - 1, "the row without a person belongs to the one before it"
