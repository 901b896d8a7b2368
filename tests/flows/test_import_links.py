"""Importing a file of links: whole or not at all, and the same file again changes nothing."""

import gzip
from pathlib import Path
from typing import Any

import pytest

from cdp.access.model import SourceKind
from cdp.flows.access import create_source
from cdp.flows.identity import explain
from cdp.flows.import_links import import_link_file, try_link_file
from cdp.flows.import_mapping import load_mapping
from cdp.flows.policy import apply_policy
from cdp.flows.verdicts import facts_of
from cdp.identity.model import Identifier
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from tests.flows.people import Town, settle
from tests.generative.test_identity_batches import check_map
from tests.policies import changed, permit_all, shipped

pytestmark = pytest.mark.postgres

DEVICES = "links: [{type: user_id, column: customer}, {type: anonymous_id, column: device}]"
MAILS = "links:\n  - {type: email, column: old}\n  - {type: email, column: new}\n"


@pytest.fixture
def town(database: Database, tmp_path: Path) -> Town:
    return settle(database, permit_all(), tmp_path)


def given(folder: Path, text: str, *, mapping: str = DEVICES, name: str = "links.csv") -> tuple[Path, Any]:
    file, rules = folder / name, folder / "mapping.yaml"
    file.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    rules.write_text(mapping, encoding="utf-8")
    return file, load_mapping(rules)


def contents(town: Town) -> list[Any]:
    """Everything that an import of links writes, but the log and the accounting."""
    tables = ("identity.identifier", "identity.profile", "identity.link", "identity.edge", "consent.permitted")
    with town.house.database.transaction(read_only=True) as tx:
        return [sorted(map(repr, tx.bulk(f"SELECT * FROM {table}"))) for table in tables]  # type: ignore[arg-type]


def test_rows_join_people_and_say_what_became_of_them(town: Town, tmp_path: Path) -> None:
    file = given(tmp_path, "customer,device\nu1,a1\nu1,a2\nu2,a3\n,a4\nu1,a1\n")
    done = import_link_file(town.house, *file)
    assert town.partition() == {
        frozenset({("user_id", "u1"), ("anonymous_id", "a1"), ("anonymous_id", "a2")}),
        frozenset({("user_id", "u2"), ("anonymous_id", "a3")}),
    }
    assert (done.rows, done.identifiers, done.groups, done.profiles, done.by_rules) == (5, 5, 2, 2, 0)
    assert done.tally.states == {"stored": 3, "duplicate": 1, "invalid": 1}
    assert done.tally.rows == {"invalid: no_identifier": [4]}
    check_map(town)


def test_the_same_file_again_changes_nothing(town: Town, tmp_path: Path) -> None:
    # u1 and u2 are two people on one device: the rule of unique types is met again in every run.
    file = given(tmp_path, "customer,device\nu1,a1\nu2,a1\nu2,a2\nu3,a3\n")
    import_link_file(town.house, *file)
    before = contents(town)
    done = import_link_file(town.house, *file)
    assert done.tally.states == {"duplicate": 4}
    assert contents(town) == before
    file[0].write_text("customer,device\nu1,a1\nu3,a4\n")
    assert import_link_file(town.house, *file).tally.states == {"stored": 1, "duplicate": 1}
    assert frozenset({("user_id", "u3"), ("anonymous_id", "a3"), ("anonymous_id", "a4")}) in town.partition()
    check_map(town)


def test_both_sides_may_be_of_one_type_and_paths_of_json_lines(town: Town, tmp_path: Path) -> None:
    file = given(
        tmp_path,
        '{"was": {"mail": "Ada@Example.com"}, "is": "ada@example.org"}\n{"was": {"mail": "n/a"}, "is": "x@example.org"}\nno\n',
        mapping="absent: ['', n/a]\nlinks: [{type: email, column: was.mail}, {type: email, column: is}]",
        name="links.jsonl.gz",
    )
    done = import_link_file(town.house, *file)
    assert town.partition() == {frozenset({("email", "ada@example.com"), ("email", "ada@example.org")})}
    assert done.tally.rows == {"invalid: no_identifier": [2], "invalid: row_malformed": [3]}


def test_a_link_of_a_file_is_explained_without_a_message(town: Town, tmp_path: Path) -> None:
    import_link_file(town.house, *given(tmp_path, "customer,device\nu1,a1\n"))
    told = explain(town.house, Identifier("user_id", "u1"), Identifier("anonymous_id", "a1"))
    (link,) = told.path
    assert (link.message_id, link.policy) == (None, town.house.policy.fingerprint)


def test_a_dry_run_counts_and_writes_nothing(town: Town, tmp_path: Path) -> None:
    file = given(tmp_path, "customer,device\nu1,a1\nu1,a2\nu1,a1\nnull,a3\n")
    before = contents(town)
    tried = try_link_file(town.house.policy, *file)
    assert tried.tally.states == {"stored": 2, "duplicate": 1, "invalid": 1}
    assert (tried.identifiers, tried.groups, tried.is_dry_run) == (3, 1, True)
    assert contents(town) == before


def test_the_kind_of_the_source_decides_as_it_does_for_messages(database: Database, tmp_path: Path) -> None:
    town = settle(database, shipped(), tmp_path)
    create_source(town.house, "tag", kind=SourceKind.BROWSER)
    create_source(town.house, "crm", kind=SourceKind.SERVER)
    file = given(tmp_path, "customer,device\nu1,a1\n")
    assert import_link_file(town.house, *file, source_name="tag").tally.states == {"not_permitted": 1}
    assert import_link_file(town.house, *file, source_name="crm").tally.states == {"stored": 1}
    with pytest.raises(Fault, match="unknown_source"):
        import_link_file(town.house, *file, source_name="nobody")


def test_the_jurisdiction_of_a_table_stays_with_its_people(town: Town, tmp_path: Path) -> None:
    create_source(town.house, "west", kind=SourceKind.SERVER, jurisdiction="us-ca")
    import_link_file(town.house, *given(tmp_path, "customer,device\nu1,a1\n"), source_name="west")
    town.register()
    town.send({"type": "track", "event": "Product Viewed", "userId": "u1"})
    with town.house.database.transaction(read_only=True) as tx:
        (facts,) = facts_of(tx, town.house.policy, list(town.people())).values()
    assert facts.jurisdictions == {"us-ca", "eu"}


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ("links: [{type: email, column: old}]", "exactly two sides"),
        ("links: [{type: email, column: a}, {type: email, column: a}]", "the same column"),
        ("links: [{type: email, column: a}, {type: email, columm: b}]", "did you mean `column`?"),
        (f"{MAILS}event: Order Completed", "`event` has no meaning beside `links`"),
        ("event: Order Completed", "`identifiers` is missing"),
    ],
)
def test_a_mapping_that_cannot_be_meant_is_refused(tmp_path: Path, mapping: str, said: str) -> None:
    with pytest.raises(Fault) as raised:
        given(tmp_path, "", mapping=mapping)
    assert said in (raised.value.detail or "")
    assert "mapping.yaml" in (raised.value.detail or "")


def test_a_type_or_a_column_that_is_not_there_is_named(town: Town, tmp_path: Path) -> None:
    file = given(tmp_path, "a,b\n1,2\n", mapping="links: [{type: emial, column: a}, {type: email, column: b}]")
    with pytest.raises(Fault, match="unknown_identifier_type") as raised:
        import_link_file(town.house, *file)
    assert "did you mean `email`?" in (raised.value.detail or "")
    with pytest.raises(Fault, match="unknown_column"):
        import_link_file(town.house, *given(tmp_path, "a,b\n1,2\n"))


def test_another_policy_decides_about_people_of_a_table_too(town: Town, tmp_path: Path) -> None:
    """Nobody of them has sent a message yet."""
    import_link_file(town.house, *given(tmp_path, "customer,device\nu1,a1\nu2,a2\n"))
    assert town.one("SELECT count(*) FROM consent.permitted WHERE purpose = 'analytics'") == 2
    asks = {**permit_all().documents["purposes.yaml"]["purposes"]["personalization"], "name": "Everything"}  # type: ignore[index,call-overload,dict-item]
    apply_policy(town.house, changed(permit_all(), "purposes.yaml", purposes={"analytics": asks}))
    assert town.one("SELECT count(*) FROM consent.permitted WHERE purpose = 'analytics'") == 0
