"""Consents that come with messages are in the log: one entry for a batch, which commits to each act of it."""

import ast
from pathlib import Path
from typing import Any, LiteralString

import pytest

from cdp.flows.audit.act_check import check_acts
from cdp.flows.consent.acts import ConsentStatement, record
from cdp.kit.db import Database
from tests.support.messages import consent_context, page
from tests.support.people import ADA_EMAIL, CALIFORNIA, WEB
from tests.support.policies import shipped
from tests.support.requests import RequestPipeline, open_request_pipeline
from tests.support.source_tree import service

pytestmark = pytest.mark.postgres

GRANTED = consent_context(analytics=True, email_marketing=False)


@pytest.fixture
def rights(database: Database, tmp_path: Path) -> RequestPipeline:
    return open_request_pipeline(database, shipped(), tmp_path)


def entries(rights: RequestPipeline) -> list[dict[str, Any]]:
    with rights.context.database.transaction(read_only=True) as tx:
        rows = tx.execute("SELECT body FROM audit.fact WHERE kind LIKE 'consent.%%' ORDER BY entry_id", {})
    return [body for (body,) in rows]


def wrong(rights: RequestPipeline) -> str | None:
    with rights.context.database.transaction(read_only=True) as tx:
        return check_acts(tx).wrong


def tamper(rights: RequestPipeline, statement: LiteralString) -> None:
    with rights.context.database.transaction() as tx:
        tx.execute(statement)


def test_the_acts_of_a_batch_are_one_entry(rights: RequestPipeline) -> None:
    rights.pipeline.send(*[page(anonymousId=f"a{number}", context=GRANTED) for number in range(3)], source=WEB)
    (entry,) = entries(rights)
    assert (entry["kind"], entry["actor"], entry["count"]) == ("consent.batch", "source", 6)
    assert entry["tally"] == {"analytics.grant": 3, "email_marketing.refuse": 3}
    assert rights.pipeline.one("SELECT count(*) FROM consent.record") == 6
    assert wrong(rights) is None


def test_the_entry_costs_the_same_number_of_statements_for_any_number_of_acts(rights: RequestPipeline) -> None:
    def statements(count: int, name: str) -> int:
        before = rights.context.database.statements
        rights.pipeline.send(*[page(anonymousId=f"{name}{n}", context=GRANTED) for n in range(count)], source=WEB)
        return rights.context.database.statements - before

    statements(1, "first")
    one = statements(1, "one")
    assert statements(40, "many") <= one


def test_a_repeated_refusal_is_a_row_of_its_own_and_logged(rights: RequestPipeline) -> None:
    for minute in range(3):
        message = page(anonymousId="a1", context=GRANTED)
        rights.pipeline.ingest.process([rights.pipeline.message(message, source=CALIFORNIA, has_gpc=True)])
        rights.later(minutes=minute + 1)
    repetitions = rights.pipeline.one("SELECT count(DISTINCT repeated_at) FROM consent.repetition")
    assert repetitions == 2
    assert len(entries(rights)) == 3
    assert wrong(rights) is None


@pytest.mark.parametrize("table", ["record", "repetition"])
def test_a_row_of_the_ledger_cannot_be_updated(rights: RequestPipeline, table: str) -> None:
    rights.pipeline.send(page(anonymousId="a1", context=GRANTED), source=WEB)
    rights.later(minutes=1)
    rights.pipeline.send(page(anonymousId="a1", context=GRANTED), source=WEB)
    with pytest.raises(Exception, match="append-only"):
        tamper(rights, "UPDATE consent.record SET recorded_at = now()" if table == "record" else _UPDATE_REPETITION)


_UPDATE_REPETITION: LiteralString = "UPDATE consent.repetition SET recorded_at = now()"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE consent.record SET act = 'refuse', valid_until = NULL WHERE act = 'grant'",
        "UPDATE consent.record SET occurred_at = occurred_at - interval '1 year'",
        "UPDATE consent.record SET identifier_id = identifier_id + 1",
        "UPDATE consent.record SET salt = sha256(salt)",
    ],
)
def test_an_act_that_was_altered_is_found(rights: RequestPipeline, statement: LiteralString) -> None:
    record(rights.context, ConsentStatement(ADA_EMAIL, "analytics", "grant"))
    rights.later(minutes=1)
    rights.pipeline.send(page(anonymousId="a1", context=GRANTED), source=WEB)
    assert wrong(rights) is None
    tamper(rights, "ALTER TABLE consent.record DISABLE TRIGGER append_only")
    tamper(rights, statement)
    assert wrong(rights) is not None


def test_an_act_without_an_entry_is_found(rights: RequestPipeline) -> None:
    rights.pipeline.send(page(anonymousId="a1", context=GRANTED), source=WEB)
    rights.later(minutes=1)
    rights.pipeline.send(page(anonymousId="a2", context=GRANTED), source=WEB)
    tamper(rights, "DELETE FROM audit.fact WHERE entry_id = (SELECT max(entry_id) FROM audit.fact WHERE body ? 'acts')")
    assert wrong(rights) == "Not what was logged: 2 acts."


def test_an_erasure_leaves_the_entry_and_nothing_that_it_committed_to(rights: RequestPipeline) -> None:
    rights.pipeline.send(page(anonymousId="a1", context=GRANTED), page(anonymousId="a2", context=GRANTED), source=WEB)
    rights.erase(("anonymous_id", "a1"))
    batches = [entry for entry in entries(rights) if entry["kind"] == "consent.batch"]
    assert [entry["count"] for entry in batches] == [4]
    assert rights.pipeline.one("SELECT count(*) FROM consent.record") == 2
    assert wrong(rights) is None


def test_only_one_step_appends_to_the_ledger() -> None:
    """The step that writes the entry is the only one that may append: a second caller would leave acts out of the log."""
    callers = {
        source.path
        for source in service()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute)
        and node.attr in ("append", "append_repetitions")
        and isinstance(node.value, ast.Name)
        and node.value.id == "record_store"
    }
    assert callers == {"cdp/flows/consent/recording.py"}
