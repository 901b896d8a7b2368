"""Importing a file: every row once, whatever happens in between."""

import signal
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cdp.accounting.model import Outcome
from cdp.flows.consent.lookup import Consents, look_up
from cdp.flows.imports import messages as imports
from cdp.flows.imports.mapping import load_mapping
from cdp.flows.imports.messages import Progress, Tally, import_file
from cdp.flows.imports.trial import try_file
from cdp.flows.ingest.batch import Ingest
from cdp.flows.operations.sources import create_source, disable_source, list_sources, replace_write_key
from cdp.kit.db import Database, Transaction
from cdp.kit.errors import Fault
from cdp.operations.store import import_jobs as import_job_store
from cdp.rights.replay_file import OptOut
from tests.support.people import NOON
from tests.support.pipeline import Pipeline, open_pipeline
from tests.support.policies import ROOT, shipped
from tests.support.waits import until_disconnected

pytestmark = pytest.mark.postgres

MAPPING = """
event: Order Completed
message_id: {template: "o-{order}"}
identifiers: {user_id: customer, email: mail}
timestamp: {column: at}
properties: {revenue: {column: amount, type: number}}
consents: {email_marketing: {column: letters}}
"""
HEADER = "customer,mail,order,amount,at,letters"


@pytest.fixture
def pipeline(database: Database, tmp_path: Path) -> Pipeline:
    return open_pipeline(database, shipped(), tmp_path)


def written(folder: Path, *rows: str, mapping: str = MAPPING) -> tuple[Path, Any]:
    file, rules = folder / "orders.csv", folder / "mapping.yaml"
    file.write_text("\n".join((HEADER, *rows, "")), encoding="utf-8")
    rules.write_text(mapping, encoding="utf-8")
    return file, load_mapping(rules)


def orders(count: int) -> list[str]:
    return [f"c{n % 50},c{n % 50}@example.com,{n},{n % 7 + 1},2026-05-{n % 28 + 1:02d}," for n in range(1, count + 1)]


def revenue(pipeline: Pipeline) -> float:
    return float(pipeline.one("SELECT coalesce(sum((plain->>'revenue')::numeric), 0) FROM behavior.event"))


def accounted(pipeline: Pipeline) -> dict[str, int]:
    with pipeline.context.database.transaction(read_only=True) as tx:
        rows = tx.execute(
            "SELECT trim(state || ' ' || reason), sum(messages)::int FROM accounting.accounting GROUP BY 1"
        )
    return {str(row[0]): int(row[1]) for row in rows}


def test_rows_land_and_what_cannot_be_read_is_named(pipeline: Pipeline, tmp_path: Path) -> None:
    file, mapping = written(
        tmp_path,
        "c1,c1@example.com,1,10.5,2026-05-01,yes",
        "c1,c1@example.com,2,ten,2026-05-02,",
        "c2,c2@example.com,3,5,2026-05-03,no",
        "c3,only,four",
        "c2,c2@example.com,3,5,2026-05-03,",
    )
    seen: list[Progress] = []
    done = import_file(pipeline.context, file, mapping, watch=seen.append)
    assert done.tally.states == {"stored": 2, "invalid": 2, "duplicate": 1}
    assert done.tally.rows == {"invalid: number_malformed": [2], "invalid: row_malformed": [4]}
    assert accounted(pipeline) == {
        "stored": 2,
        "invalid number_malformed": 1,
        "invalid row_malformed": 1,
        "duplicate": 1,
    }
    assert revenue(pipeline) == 15.5
    assert (seen[-1].rows, seen[-1].bytes_read) == (5, file.stat().st_size)
    assert pipeline.partition() == {
        frozenset({("user_id", each), ("email", f"{each}@example.com")}) for each in ("c1", "c2")
    }


def test_imported_consent_has_the_authority_of_an_import(pipeline: Pipeline, tmp_path: Path) -> None:
    file, mapping = written(tmp_path, "c1,c1@example.com,1,10,2026-05-01,yes", "c2,c2@example.com,2,10,2026-05-01,no")
    import_file(pipeline.context, file, mapping)
    with pipeline.context.database.transaction(read_only=True) as tx:
        acts = tx.execute("SELECT DISTINCT act, authority, purpose FROM consent.record ORDER BY act")
        assert acts == [("grant", "imported", "email_marketing"), ("refuse", "imported", "email_marketing")]
        assert tx.execute("SELECT count(*) FROM consent.permitted WHERE purpose = 'email_marketing'") == [(1,)]


def test_without_a_contract_or_consent_rows_are_not_stored(pipeline: Pipeline, tmp_path: Path) -> None:
    file, mapping = written(tmp_path, *orders(3), mapping=MAPPING.replace("Order Completed", "Product Viewed"))
    done = import_file(pipeline.context, file, mapping)
    assert done.tally.states == {"not_permitted": 3}
    assert pipeline.one("SELECT count(*) FROM identity.profile") == 0


def test_the_source_is_made_once_and_a_named_one_must_exist(pipeline: Pipeline, tmp_path: Path) -> None:
    file, mapping = written(tmp_path, *orders(2))
    import_file(pipeline.context, file, mapping)
    import_file(pipeline.context, file, mapping)
    assert [each.source.name for each in list_sources(pipeline.context)] == ["import"]
    with pytest.raises(Fault, match="unknown_source"):
        import_file(pipeline.context, file, mapping, source_name="backend")
    create_source(pipeline.context, "backend")
    assert import_file(pipeline.context, file, mapping, source_name="backend").source == "backend"
    disable_source(pipeline.context, "backend")
    with pytest.raises(Fault) as refused:
        replace_write_key(pipeline.context, "backend")
    assert refused.value.code == "unknown_source"
    assert "disabled" in refused.value.detail


def test_importing_again_counts_nothing_twice(pipeline: Pipeline, tmp_path: Path) -> None:
    file, mapping = written(tmp_path, *orders(30))
    import_file(pipeline.context, file, mapping)
    before = revenue(pipeline)
    assert import_file(pipeline.context, file, mapping).tally.states == {"duplicate": 30}
    assert revenue(pipeline) == before


LIST = """
type: identify
identifiers: {email: mail}
timestamp: {column: at}
consents: {email_marketing: {column: letters}}
"""
LIST_HEADER = "mail,letters,at"


def import_list(pipeline: Pipeline, folder: Path, *rows: str, mapping: str = LIST) -> Tally:
    """Import a list of addresses with answers."""
    file, rules = folder / "list.csv", folder / "list.yaml"
    file.write_text("\n".join((LIST_HEADER, *rows, "")), encoding="utf-8")
    rules.write_text(mapping, encoding="utf-8")
    return import_file(pipeline.context, file, load_mapping(rules)).tally


def consents_of(pipeline: Pipeline, mail: str) -> Consents:
    return look_up(pipeline.context, ("email", mail), pipeline.clock.now(), actor="operator")


@pytest.mark.parametrize(
    "mapping", [LIST, LIST.replace("timestamp: {column: at}\n", "")], ids=["an empty cell", "no column"]
)
def test_a_consent_without_a_date_lifts_no_refusal(pipeline: Pipeline, tmp_path: Path, mapping: str) -> None:
    import_list(pipeline, tmp_path, "mia@x.example,no,2026-05-29 10:00:00")
    tally = import_list(pipeline, tmp_path, "mia@x.example,yes,", mapping=mapping)
    assert not consents_of(pipeline, "mia@x.example").verdicts["email_marketing"].allowed
    assert tally.rows["noted: consent_undated"] == [1]
    tally = import_list(pipeline, tmp_path, "mia@x.example,yes,2026-05-30 10:00:00")
    assert consents_of(pipeline, "mia@x.example").verdicts["email_marketing"].allowed
    assert "noted: consent_undated" not in tally.rows


def test_a_refusal_that_becomes_known_later_outweighs_a_consent_without_a_date(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    import_list(pipeline, tmp_path, "mia@x.example,yes,")
    assert consents_of(pipeline, "mia@x.example").verdicts["email_marketing"].allowed
    import_list(pipeline, tmp_path, "mia@x.example,no,2025-01-01 10:00:00")
    assert not consents_of(pipeline, "mia@x.example").verdicts["email_marketing"].allowed


def test_a_consent_keeps_its_time_and_validity_though_the_event_of_its_row_is_not_kept(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    tally = import_list(
        pipeline, tmp_path, "ony@x.example,yes,2025-06-01 10:00:00", "ona@x.example,no,2025-06-01 10:00:00"
    )
    assert tally.states == {"stored": 1, "invalid": 1}
    verdict = consents_of(pipeline, "ony@x.example").verdicts["email_marketing"]
    given = datetime(2025, 6, 1, 10, tzinfo=UTC)
    assert (verdict.allowed, verdict.since, verdict.until) == (True, given, given + timedelta(days=730))
    assert [each["act"] for each in consents_of(pipeline, "ona@x.example").records] == ["refuse"]
    assert pipeline.one("SELECT count(*) FROM consent.permitted WHERE purpose = 'email_marketing'") == 1
    assert pipeline.one("SELECT count(*) FROM behavior.event") == 0
    again = import_list(
        pipeline, tmp_path, "ony@x.example,yes,2025-06-01 10:00:00", "ona@x.example,no,2025-06-01 10:00:00"
    )
    assert again.states == {"duplicate": 1, "invalid": 1}


def test_a_consent_that_has_expired_meanwhile_permits_nothing(pipeline: Pipeline, tmp_path: Path) -> None:
    tally = import_list(pipeline, tmp_path, "ony@x.example,yes,2023-06-01 10:00:00")
    assert tally.states == {"not_permitted": 1}
    assert not consents_of(pipeline, "ony@x.example").verdicts["email_marketing"].allowed


def test_an_imported_refusal_is_in_the_replay_file_before_its_chunk_counts(pipeline: Pipeline, tmp_path: Path) -> None:
    import_list(pipeline, tmp_path, "mia@x.example,no,2026-05-29 10:00:00")
    (written,) = [numbered.line for numbered in pipeline.context.replay.lines_after(0)]
    assert isinstance(written, OptOut)
    assert (written.purpose, written.act) == ("email_marketing", "refuse")


def test_every_row_can_give_the_same_answer(pipeline: Pipeline, tmp_path: Path) -> None:
    mapping = LIST.replace("{column: letters}", '{value: "no"}')
    import_list(pipeline, tmp_path, "una@x.example,,2026-05-29 10:00:00", mapping=mapping)
    (found,) = consents_of(pipeline, "una@x.example").records
    assert (found["act"], found["authority"], found["rule"]) == ("refuse", "imported", "import.value")
    assert found["occurred_at"].startswith("2026-05-29T10:00:00")


class Away(Exception):
    """Stands for whatever ends a process."""


def interrupted(
    pipeline: Pipeline, file: Path, mapping: Any, error: BaseException, *, at_rows: int, chunk_rows: int
) -> None:
    def stop(progress: Progress) -> None:
        if progress.rows >= at_rows:
            raise error

    with pytest.raises(type(error)):
        import_file(pipeline.context, file, mapping, chunk_rows=chunk_rows, watch=stop)


def test_an_interrupted_import_goes_on_after_its_last_row(pipeline: Pipeline, tmp_path: Path) -> None:
    file, mapping = written(tmp_path, *orders(100))
    interrupted(pipeline, file, mapping, Away(), at_rows=40, chunk_rows=20)
    with pytest.raises(Fault, match="import_unfinished") as refused:
        import_file(pipeline.context, file, mapping)
    assert "40 rows" in refused.value.detail
    assert "another process" in refused.value.detail
    done = import_file(pipeline.context, file, mapping, resume=True)
    assert (done.rows, done.resumed_after, done.tally.states) == (100, 40, {"stored": 100})
    assert accounted(pipeline) == {"stored": 100}
    with pytest.raises(Fault, match="nothing_to_resume"):
        import_file(pipeline.context, file, mapping, resume=True)


def test_a_database_that_goes_away_is_told_with_the_rows_that_landed(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, mapping = written(tmp_path, *orders(60))
    take = Ingest.process

    def failing(self: Ingest, messages: Sequence[Any], **values: Any) -> list[Outcome]:
        if pipeline.one("SELECT coalesce(max(rows_done), 0) FROM operations.import_job") >= 40:
            raise Fault("database_unavailable", "away", "PostgreSQL answered nothing.", status=503)
        return take(self, messages, **values)

    monkeypatch.setattr(Ingest, "process", failing)
    with pytest.raises(Fault, match="import_interrupted") as refused:
        import_file(pipeline.context, file, mapping, chunk_rows=20)
    assert "Rows 1 to 40 were processed" in refused.value.detail
    monkeypatch.undo()
    assert import_file(pipeline.context, file, mapping, resume=True).tally.states == {"stored": 60}
    assert accounted(pipeline) == {"stored": 60}


def test_a_chunk_and_its_progress_land_together_or_not_at_all(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, mapping = written(tmp_path, *orders(10))

    def broken(_tx: Transaction, _before: object, _after: object) -> bool:
        raise Fault("database_unavailable", "away", status=503)

    monkeypatch.setattr(import_job_store, "advance_import_job", broken)
    with pytest.raises(Fault, match="import_interrupted"):
        import_file(pipeline.context, file, mapping)
    assert (revenue(pipeline), accounted(pipeline)) == (0, {})


def test_two_imports_of_one_file_cannot_both_move_on(pipeline: Pipeline, tmp_path: Path) -> None:
    file, mapping = written(tmp_path, *orders(40))
    interrupted(pipeline, file, mapping, Away(), at_rows=20, chunk_rows=20)

    def other_one(_progress: Progress) -> None:
        with pipeline.context.database.transaction() as tx:
            tx.execute("UPDATE operations.import_job SET rows_done = rows_done + 1")

    with pytest.raises(Fault, match="import_elsewhere"):
        import_file(pipeline.context, file, mapping, resume=True, chunk_rows=10, watch=other_one)
    assert accounted(pipeline) == {"stored": 30}


def test_one_row_that_cannot_be_processed_does_not_stop_the_others(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, mapping = written(tmp_path, *orders(8))
    take = Ingest.process

    def choking(self: Ingest, messages: Sequence[Any], **values: Any) -> list[Outcome]:
        if any(getattr(each, "message_id", "") == "o-5" for each in messages):
            raise ValueError
        return take(self, messages, **values)

    monkeypatch.setattr(Ingest, "process", choking)
    done = import_file(pipeline.context, file, mapping)
    assert done.tally.states == {"stored": 7, "invalid": 1}
    assert done.tally.rows == {"invalid: unprocessable": [5]}


def test_a_dry_run_writes_nothing(pipeline: Pipeline, tmp_path: Path) -> None:
    file, mapping = written(tmp_path, *orders(5), "c1,c1@example.com,6,ten,2026-05-01,")
    done = try_file(shipped(), file, mapping, now=NOON)
    assert (done.rows, done.tally.states) == (6, {"stored": 5, "invalid": 1})
    assert (accounted(pipeline), list_sources(pipeline.context)) == ({}, [])


KILLED = """
import os, signal, sys, threading
from datetime import datetime
from pathlib import Path
from cdp.flows.operations.startup import open_context
from cdp.flows.imports.mapping import load_mapping
from cdp.flows.imports.messages import import_file
from cdp.kit.clock import TestClock, parse_instant
from cdp.kit.db import Database
from cdp.policy.load import load_policy
url, folder, now, policies = sys.argv[1:]
folder = Path(folder)
context = open_context(Database(url, application_name="killed"), load_policy(Path(policies)), TestClock(parse_instant(now)), home=folder)

def watch(progress):
    # die a moment after the five hundredth row
    if progress.rows == 500:
        threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGKILL)).start()

import_file(context, folder / "orders.csv", load_mapping(folder / "mapping.yaml"), chunk_rows=50, watch=watch)
"""


def test_an_import_that_was_killed_lands_every_row_once(pipeline: Pipeline, database_url: str, tmp_path: Path) -> None:
    file, mapping = written(tmp_path, *orders(3_000))
    command = [sys.executable, "-c", KILLED, database_url, str(tmp_path), NOON.isoformat(), str(ROOT / "policies")]
    assert subprocess.run(command, cwd=ROOT).returncode == -signal.SIGKILL
    until_disconnected(pipeline.context.database, "killed")
    done = import_file(pipeline.context, file, mapping, resume=True, chunk_rows=imports.CHUNK_ROWS)
    assert 500 <= done.resumed_after < 3_000
    assert done.tally.states == {"stored": 3_000}
    assert accounted(pipeline) == {"stored": 3_000}
    assert revenue(pipeline) == sum(n % 7 + 1 for n in range(1, 3_001))
