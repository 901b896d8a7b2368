"""Importing a file of links: part by part, resumable, and the same file again changes nothing."""

import gzip
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cdp.cli.explain_view import path_lines
from cdp.flows.consent.verdicts import facts_of
from cdp.flows.identity.explain import TableRow, explain
from cdp.flows.imports.links import ImportedLinks, import_link_file, try_link_file
from cdp.flows.imports.mapping import load_mapping
from cdp.flows.operations.policy import apply_policy
from cdp.flows.operations.sources import create_source
from cdp.identity.model import Identifier
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from cdp.sources.model import SourceKind
from tests.generative.test_identity_batches import check_map
from tests.support.messages import track
from tests.support.pipeline import Pipeline, open_pipeline
from tests.support.policies import changed, permit_all, shipped
from tests.support.waits import until_disconnected

pytestmark = pytest.mark.postgres

DEVICES = "links: [{type: user_id, column: customer}, {type: anonymous_id, column: device}]"
MAILS = "links:\n  - {type: email, column: old}\n  - {type: email, column: new}\n"


@pytest.fixture
def pipeline(database: Database, tmp_path: Path) -> Pipeline:
    return open_pipeline(database, permit_all(), tmp_path)


def given(folder: Path, text: str, *, mapping: str = DEVICES, name: str = "links.csv") -> tuple[Path, Any]:
    file, rules = folder / name, folder / "mapping.yaml"
    file.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    rules.write_text(mapping, encoding="utf-8")
    return file, load_mapping(rules)


def contents(pipeline: Pipeline) -> list[Any]:
    """Everything that an import of links writes, but the log and the accounting."""
    tables = (
        "identity.identifier",
        "identity.profile",
        "identity.link",
        "identity.edge",
        "identity.evidence",
        "consent.permitted",
    )
    with pipeline.context.database.transaction(read_only=True) as tx:
        return [sorted(map(repr, tx.execute(f"SELECT * FROM {table}"))) for table in tables]


def test_rows_join_people_and_say_what_became_of_them(pipeline: Pipeline, tmp_path: Path) -> None:
    file = given(tmp_path, "customer,device\nu1,a1\nu1,a2\nu2,a3\n,a4\nu1,a1\n")
    done = import_link_file(pipeline.context, *file)
    assert pipeline.partition() == {
        frozenset({("user_id", "u1"), ("anonymous_id", "a1"), ("anonymous_id", "a2")}),
        frozenset({("user_id", "u2"), ("anonymous_id", "a3")}),
    }
    assert (done.rows, done.identifiers, done.groups, done.profiles, done.by_rules) == (5, 5, 2, 2, 0)
    assert done.tally.states == {"stored": 3, "duplicate": 1, "invalid": 1}
    assert done.tally.rows == {"invalid: no_identifier": [4]}
    check_map(pipeline)


def test_the_same_file_again_changes_nothing(pipeline: Pipeline, tmp_path: Path) -> None:
    # u1 and u2 are two people on one device: the rule of unique types is met again in every run.
    file = given(tmp_path, "customer,device\nu1,a1\nu2,a1\nu2,a2\nu3,a3\n")
    import_link_file(pipeline.context, *file)
    before = contents(pipeline)
    done = import_link_file(pipeline.context, *file)
    assert done.tally.states == {"duplicate": 4}
    assert contents(pipeline) == before
    file[0].write_text("customer,device\nu1,a1\nu3,a4\n")
    assert import_link_file(pipeline.context, *file).tally.states == {"stored": 1, "duplicate": 1}
    assert frozenset({("user_id", "u3"), ("anonymous_id", "a3"), ("anonymous_id", "a4")}) in pipeline.partition()
    check_map(pipeline)


def test_both_sides_may_be_of_one_type_and_paths_of_json_lines(pipeline: Pipeline, tmp_path: Path) -> None:
    file = given(
        tmp_path,
        '{"was": {"mail": "Ada@Example.com"}, "is": "ada@example.org"}\n{"was": {"mail": "n/a"}, "is": "x@example.org"}\nno\n',
        mapping="absent: ['', n/a]\nlinks: [{type: email, column: was.mail}, {type: email, column: is}]",
        name="links.jsonl.gz",
    )
    done = import_link_file(pipeline.context, *file)
    assert pipeline.partition() == {frozenset({("email", "ada@example.com"), ("email", "ada@example.org")})}
    assert done.tally.rows == {"invalid: no_identifier": [2], "invalid: row_malformed": [3]}


def test_a_link_of_a_file_is_explained_without_a_message(pipeline: Pipeline, tmp_path: Path) -> None:
    done = import_link_file(pipeline.context, *given(tmp_path, "customer,device\nu1,a1\n"))
    told = explain(pipeline.context, Identifier("user_id", "u1"), Identifier("anonymous_id", "a1"))
    (link,) = told.path
    assert (link.rule, link.message_id, link.policy) == ("link_table", None, pipeline.context.policy.fingerprint)
    assert link.row == TableRow("import", done.job, 1)
    (line,) = (each for each in path_lines(told.path) if "named both" in each)
    assert f"row 1 of link table {done.job} from import, of 2026-06-01 12:00:00 UTC named both" in line


def test_a_dry_run_counts_and_writes_nothing(pipeline: Pipeline, tmp_path: Path) -> None:
    file = given(tmp_path, "customer,device\nu1,a1\nu1,a2\nu1,a1\nnull,a3\n")
    before = contents(pipeline)
    tried = try_link_file(pipeline.context.policy, *file)
    assert tried.tally.states == {"stored": 2, "duplicate": 1, "invalid": 1}
    assert (tried.identifiers, tried.groups, tried.is_dry_run) == (3, 1, True)
    assert contents(pipeline) == before


def test_the_kind_of_the_source_decides_as_it_does_for_messages(database: Database, tmp_path: Path) -> None:
    pipeline = open_pipeline(database, shipped(), tmp_path)
    create_source(pipeline.context, "tag", kind=SourceKind.BROWSER)
    create_source(pipeline.context, "crm", kind=SourceKind.SERVER)
    file = given(tmp_path, "customer,device\nu1,a1\n")
    assert import_link_file(pipeline.context, *file, source_name="tag").tally.states == {"not_permitted": 1}
    assert import_link_file(pipeline.context, *file, source_name="crm").tally.states == {"stored": 1}
    with pytest.raises(Fault, match="unknown_source"):
        import_link_file(pipeline.context, *file, source_name="nobody")


def test_the_jurisdiction_of_a_table_stays_with_its_people(pipeline: Pipeline, tmp_path: Path) -> None:
    create_source(pipeline.context, "west", kind=SourceKind.SERVER, jurisdiction="us-ca")
    import_link_file(pipeline.context, *given(tmp_path, "customer,device\nu1,a1\n"), source_name="west")
    pipeline.register()
    pipeline.send(track(userId="u1"))
    with pipeline.context.database.transaction(read_only=True) as tx:
        (facts,) = facts_of(tx, pipeline.context.policy, list(pipeline.people()), now=pipeline.clock.now()).values()
    assert facts.jurisdictions == {"us-ca", "eu"}


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ("links: [{type: email, column: old}]", "exactly two sides"),
        ("links: [{type: email, column: a}, {type: email, column: a}]", "the same column"),
        ("links: [{type: email, column: a}, {type: email, columm: b}]", "did you mean `column`?"),
        (f"{MAILS}event: Order Completed", "`event` cannot be used with `links`"),
        ("event: Order Completed", "`identifiers` is missing"),
    ],
)
def test_a_mapping_that_cannot_be_meant_is_refused(tmp_path: Path, mapping: str, said: str) -> None:
    with pytest.raises(Fault) as raised:
        given(tmp_path, "", mapping=mapping)
    assert said in (raised.value.detail or "")
    assert "mapping.yaml" in (raised.value.detail or "")


def test_a_type_or_a_column_that_is_not_there_is_named(pipeline: Pipeline, tmp_path: Path) -> None:
    file = given(tmp_path, "a,b\n1,2\n", mapping="links: [{type: emial, column: a}, {type: email, column: b}]")
    with pytest.raises(Fault, match="unknown_identifier_type") as raised:
        import_link_file(pipeline.context, *file)
    assert "did you mean `email`?" in (raised.value.detail or "")
    with pytest.raises(Fault, match="unknown_column"):
        import_link_file(pipeline.context, *given(tmp_path, "a,b\n1,2\n"))


def test_another_policy_decides_about_people_of_a_table_too(pipeline: Pipeline, tmp_path: Path) -> None:
    """Nobody of them has sent a message yet."""
    import_link_file(pipeline.context, *given(tmp_path, "customer,device\nu1,a1\nu2,a2\n"))
    assert pipeline.one("SELECT count(*) FROM consent.permitted WHERE purpose = 'analytics'") == 2
    asks = {**permit_all().documents["purposes.yaml"]["purposes"]["personalization"], "name": "Everything"}  # type: ignore[index,call-overload,dict-item]
    apply_policy(pipeline.context, changed(permit_all(), "purposes.yaml", purposes={"analytics": asks}))
    assert pipeline.one("SELECT count(*) FROM consent.permitted WHERE purpose = 'analytics'") == 0


TABLE = """customer,device
u1,a1
u1,a2
u2,a3
u2,a3
,a4
u3,a1
u4,a5
u5,a6
u5,a6
u4,a7
"""


class Stopped(Exception):
    """What stops an import between two parts."""


def stopped_after(parts: int) -> Any:
    left = [parts]

    def watch(what: str, _done: int, _all: int) -> None:
        if what == "linking":
            left[0] -= 1
            if not left[0]:
                raise Stopped

    return watch


def accounted(pipeline: Pipeline) -> dict[str, int]:
    with pipeline.context.database.transaction(read_only=True) as tx:
        return dict(tx.execute("SELECT state, sum(messages)::int FROM accounting.accounting GROUP BY 1"))


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_an_import_that_was_stopped_goes_on_after_its_last_part(parts: int, pipeline: Pipeline, tmp_path: Path) -> None:
    file = given(tmp_path, TABLE)
    with pytest.raises(Stopped):
        import_link_file(pipeline.context, *file, part_rows=1, watch=stopped_after(parts))
    check_map(pipeline)
    landed = pipeline.one("SELECT count(*) FROM identity.edge")
    assert 0 < landed < 7
    with pytest.raises(Fault, match="import_unfinished"):
        import_link_file(pipeline.context, *file, part_rows=1)
    done = import_link_file(pipeline.context, *file, resume=True)
    assert done.resumed_after == landed
    check_whole(pipeline, done)
    with pytest.raises(Fault, match="nothing_to_resume"):
        import_link_file(pipeline.context, *file, resume=True)


def check_whole(pipeline: Pipeline, done: ImportedLinks) -> None:
    """All of `TABLE` landed once, in however many runs."""
    assert done.tally.states == {"stored": 5, "refused": 2, "duplicate": 2, "invalid": 1} == accounted(pipeline)
    assert done.tally.rows == {"invalid: no_identifier": [5], "refused: shared": [1, 6]}
    assert (done.rows, done.identifiers, done.groups) == (10, 11, 4)
    assert pipeline.partition() >= {
        frozenset({("user_id", "u2"), ("anonymous_id", "a3")}),
        frozenset({("user_id", "u4"), ("anonymous_id", "a5"), ("anonymous_id", "a7")}),
        frozenset({("user_id", "u5"), ("anonymous_id", "a6")}),
    }
    assert pipeline.one("SELECT count(*) FROM identity.identifier WHERE is_shared") == 1
    check_map(pipeline)


_RUN = """
import sys
from pathlib import Path
from cdp.flows.operations.startup import open_context
from cdp.flows.imports.links import import_link_file
from cdp.flows.imports.mapping import load_mapping
from cdp.kit.clock import TestClock
from cdp.kit.db import Database
from tests.support.killed import kill_after
from tests.support.people import NOON
from tests.support.policies import permit_all

url, home, left, resume = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "resume"
context = open_context(Database(url, application_name="killed"), permit_all(), TestClock(NOON), home=home)
kill_after(left, ("execute", "copy", "copy_bytes", "committed"))
import_link_file(context, home / "links.csv", load_mapping(home / "mapping.yaml"), resume=resume, part_rows=1)
"""


def test_an_import_that_is_killed_anywhere_leaves_whole_parts_and_goes_on(
    pipeline: Pipeline, database_url: str, tmp_path: Path
) -> None:
    file = given(tmp_path, TABLE)
    root = Path(__file__).parents[2]
    resume = ""
    landed = [0]
    for steps in (30, 45, 60):
        command = [sys.executable, "-c", _RUN, database_url, str(tmp_path), str(steps), resume]
        child = subprocess.run(command, cwd=root, env={**os.environ, "PYTHONPATH": str(root)})
        assert child.returncode == -signal.SIGKILL, "it was over before"
        until_disconnected(pipeline.context.database, "killed")
        check_map(pipeline)
        landed.append(pipeline.one("SELECT count(*) FROM identity.edge"))
        assert pipeline.one("SELECT coalesce(max(rows_done), 0) FROM operations.import_job") == landed[-1]
        resume = "resume"
    assert landed == sorted(landed)
    assert 0 < landed[-1] < 7
    check_whole(pipeline, import_link_file(pipeline.context, *file, resume=True))


def test_a_database_that_goes_away_between_parts_says_how_to_go_on(pipeline: Pipeline, tmp_path: Path) -> None:
    file = given(tmp_path, TABLE)

    def away(what: str, _done: int, _all: int) -> None:
        if what == "linking":
            raise Fault("database_unavailable", "The database is unavailable", status=503)

    with pytest.raises(Fault, match="import_interrupted") as raised:
        import_link_file(pipeline.context, *file, part_rows=1, watch=away)
    assert "Processed: 3 links" in (raised.value.detail or "")
    assert "--resume" in (raised.value.detail or "")
    check_whole(pipeline, import_link_file(pipeline.context, *file, resume=True))


def test_two_runs_of_one_import_cannot_both_go_on(pipeline: Pipeline, tmp_path: Path) -> None:
    file = given(tmp_path, TABLE)
    others: list[ImportedLinks] = []

    def overtaken(what: str, _done: int, _all: int) -> None:
        if what == "linking" and not others:
            others.append(import_link_file(pipeline.context, *file, resume=True, part_rows=1))

    with pytest.raises(Fault, match="import_elsewhere"):
        import_link_file(pipeline.context, *file, part_rows=1, watch=overtaken)
    check_whole(pipeline, others[0])
