"""Small files that people who import lists and orders reported, with what must come of them."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from cdp.flows.consent.lookup import look_up
from cdp.flows.imports.links import ImportedLinks, import_link_file
from cdp.flows.imports.mapping import load_mapping
from cdp.flows.imports.messages import Imported, import_file
from cdp.flows.imports.trial import try_file
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from tests.support.pipeline import Pipeline, open_pipeline
from tests.support.policies import ROOT, permit_all, shipped

pytestmark = pytest.mark.postgres

CASES: Final = ROOT / "tests" / "data" / "cases"
NOVEMBER: Final = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.fixture
def pipeline(database: Database, tmp_path: Path) -> Pipeline:
    return open_pipeline(database, permit_all(), tmp_path, NOVEMBER)


@pytest.fixture
def shop(database: Database, tmp_path: Path) -> Pipeline:
    """Under the shipped policies."""
    return open_pipeline(database, shipped(), tmp_path, NOVEMBER)


def imported(pipeline: Pipeline, case: str, name: str) -> Imported:
    return import_file(pipeline.context, CASES / case / name, load_mapping(CASES / case / "mapping.yaml"))


def links(pipeline: Pipeline, case: str, name: str) -> ImportedLinks:
    return import_link_file(pipeline.context, CASES / case / name, load_mapping(CASES / case / "mapping.yaml"))


def orders(pipeline: Pipeline) -> list[tuple[Any, ...]]:
    with pipeline.context.database.transaction(read_only=True) as tx:
        return list(
            tx.execute("SELECT occurred_at, (plain->>'revenue')::float FROM behavior.event ORDER BY occurred_at")
        )


def mail_consent(pipeline: Pipeline, mail: str) -> Any:
    return look_up(pipeline.context, ("email", mail), NOVEMBER, actor="operator")


def test_the_second_row_of_an_order_is_no_order_of_today(pipeline: Pipeline) -> None:
    done = imported(pipeline, "orders-with-line-rows", "orders.csv")
    assert done.tally.rows == {"invalid: instant_missing": [2]}
    assert orders(pipeline) == [
        (datetime(2026, 10, 2, 7, 59, tzinfo=UTC), 90.0),
        (datetime(2026, 10, 12, 7, 59, tzinfo=UTC), 15.0),
    ]


def test_an_order_that_was_never_paid_is_refused_for_its_empty_time(pipeline: Pipeline) -> None:
    case = CASES / "empty-time-in-a-history"
    tried = try_file(permit_all(), case / "orders.csv", load_mapping(case / "mapping.yaml"), now=NOVEMBER)
    done = imported(pipeline, "empty-time-in-a-history", "orders.csv")
    assert tried.tally.rows == done.tally.rows == {"invalid: instant_missing": [2]}
    assert orders(pipeline) == [(datetime(2025, 10, 20, 8, tzinfo=UTC), 20.0)]


def test_what_cannot_be_a_telephone_number_joins_nobody(pipeline: Pipeline) -> None:
    imported(pipeline, "numbers-that-are-no-telephone-numbers", "people.csv")
    assert pipeline.partition() == {frozenset({("email", f"p{n}@x.example")}) for n in range(1, 7)}
    with pipeline.context.database.transaction(read_only=True) as tx:
        counted = tx.execute("SELECT kind, messages FROM accounting.notice WHERE subject = 'phone' ORDER BY kind")
    assert counted == [("blocked_identifier", 2), ("malformed_identifier", 4)]


def test_a_cell_is_the_address_that_it_means_or_no_address(pipeline: Pipeline) -> None:
    imported(pipeline, "not-one-address", "people.csv")
    named = {value for person in pipeline.partition() for _, value in person}
    assert named <= {"bo@x.example", "cy@x.example"}


def test_a_point_is_no_decimal_point_where_the_comma_is(pipeline: Pipeline) -> None:
    done = imported(pipeline, "thousands-with-a-decimal-comma", "orders.csv")
    assert done.tally.rows == {"invalid: number_malformed": [1, 2, 4, 5]}
    assert [revenue for _, revenue in orders(pipeline)] == [12.5]


def test_a_first_line_that_names_the_separator_is_no_header(pipeline: Pipeline) -> None:
    imported(pipeline, "first-line-that-names-the-separator", "people.csv")
    assert pipeline.partition() == {frozenset({("email", "q1@x.example")})}


def test_a_file_in_utf_16_is_named(pipeline: Pipeline) -> None:
    with pytest.raises(Fault, match="other_encoding") as refused:
        imported(pipeline, "utf-16", "people.csv")
    assert "UTF-16" in refused.value.title
    assert "encoding: utf-16" in refused.value.detail


def test_a_list_without_a_column_of_answers(shop: Pipeline) -> None:
    imported(shop, "list-without-an-answer-column", "unsubscribed.csv")
    (record,) = mail_consent(shop, "una@x.example").records
    assert (record["act"], record["authority"]) == ("refuse", "imported")
    assert record["occurred_at"].startswith("2026-10-29T10:00:00")


def test_a_yes_without_a_date_does_not_lift_a_no(shop: Pipeline) -> None:
    imported(shop, "yes-without-a-date", "unsubscribed.csv")
    done = imported(shop, "yes-without-a-date", "subscribed.csv")
    assert done.tally.rows["noted: consent_undated"] == [1]
    assert not mail_consent(shop, "mia@x.example").verdicts["email_marketing"].allowed


def test_a_customer_number_that_became_a_fraction_is_that_number(pipeline: Pipeline) -> None:
    imported(pipeline, "a-customer-number-that-became-a-fraction", "people.jsonl")
    assert pipeline.partition() == {
        frozenset({("user_id", "12347"), ("email", "f4@x.example"), ("email", "f5@x.example")})
    }


def test_a_time_that_a_spreadsheet_rounded_is_refused(pipeline: Pipeline) -> None:
    done = imported(pipeline, "a-time-rounded-by-a-spreadsheet", "orders.csv")
    assert done.tally.rows == {"invalid: instant_malformed": [1]}
    assert orders(pipeline) == []


def test_a_consent_counts_from_its_time_whatever_is_kept_of_its_row(shop: Pipeline) -> None:
    done = imported(shop, "consents-older-than-their-message-class", "list.csv")
    assert done.tally.rows.get("invalid: expired") == [2]
    verdict = mail_consent(shop, "ony@x.example").verdicts["email_marketing"]
    assert (verdict.allowed, verdict.since) == (True, datetime(2026, 3, 1, 10, tzinfo=UTC))
    assert not mail_consent(shop, "ona@x.example").verdicts["email_marketing"].allowed


@pytest.mark.parametrize(("name", "rows"), [("links.csv", 10), ("links9.csv", 9)])
def test_words_for_nothing_link_nobody(pipeline: Pipeline, name: str, rows: int) -> None:
    done = links(pipeline, "placeholders-in-a-link-table", name)
    assert done.tally.states == {"invalid": rows}
    assert pipeline.partition() == set()
