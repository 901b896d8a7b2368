"""Whom a read showed is known for as long as the keys of the person exist, in the log and in the person's archive."""

from pathlib import Path

import pytest

from cdp.audit.store import facts as fact_store
from cdp.flows.audit.readers import readers_of
from cdp.flows.consent.acts import ConsentStatement, record
from cdp.flows.identity import listings
from cdp.flows.identity.lookup import look_up
from cdp.flows.reads import subject_digests
from cdp.flows.segments import definitions, memberships, reading
from cdp.identity.model import Identifier
from cdp.kit.db import Database
from cdp.segments.model import Draft, SegmentKey
from tests.flows.test_erase_differential import another_database  # noqa: F401 - a fixture
from tests.support.messages import track
from tests.support.people import ADA, ADA_EMAIL, BOB
from tests.support.policies import changed, permit_all
from tests.support.requests import RequestPipeline, open_request_pipeline

pytestmark = pytest.mark.postgres

ADA_ID, BOB_ID = ("user_id", "ada"), ("user_id", "bob")


@pytest.fixture
def rights(database: Database, tmp_path: Path) -> RequestPipeline:
    policy = changed(permit_all(), "jurisdictions.yaml", minimum_disclosure_size=2)
    rights = open_request_pipeline(database, policy, tmp_path)
    rights.pipeline.send(ADA, BOB)
    return rights


def kinds_of_reads(rights: RequestPipeline, identifier: tuple[str, str]) -> list[tuple[str, int | None, str]]:
    found = readers_of(rights.context, identifier, rights.pipeline.clock.now(), actor="auditor", token=4)
    return [(read.role, read.token, read.read) for read in found if read.read != "readers"]


def buyers(rights: RequestPipeline) -> None:
    """Keep a segment with every buyer."""
    crowd = [track("Order Completed", userId=f"c{number}") for number in range(40)]
    rights.pipeline.send(track("Order Completed", userId="ada"), *crowd)
    draft = Draft(SegmentKey("buyers"), "Buyers", "analytics", "marketer")
    definitions.define(rights.context, draft, 'did("Order Completed")', is_new=True, actor="marketer")
    memberships.refresh(rights.context, "buyers")


def test_a_list_of_members_is_a_read_of_each_of_them_and_of_nobody_else(rights: RequestPipeline) -> None:
    buyers(rights)
    page, _ = reading.members(rights.context, "buyers", after=None, limit=1_000, actor="marketer", token=7)
    assert len(page.members) == 41
    assert kinds_of_reads(rights, ADA_ID) == [("marketer", 7, "members")]
    assert kinds_of_reads(rights, BOB_ID) == []
    read = readers_of(rights.context, ADA_ID, rights.pipeline.clock.now(), actor="auditor")[-1]
    assert (read.purpose, read.segment, read.count) == ("analytics", "buyers", 41)


def test_the_sample_of_a_preview_is_a_read_of_those_in_it(rights: RequestPipeline) -> None:
    buyers(rights)
    shown = reading.preview(rights.context, 'did("Order Completed")', "analytics", actor="marketer", token=7)
    assert shown.sample
    showing = rights.pipeline.one("SELECT count(DISTINCT subject_digest) FROM audit.read_subject")
    assert showing >= len(shown.sample)


def test_a_list_of_profiles_in_quarantine_is_a_read_of_them(database: Database, tmp_path: Path) -> None:
    policy = changed(permit_all(), "identifiers.yaml", bounds={"identifiers_per_profile": 3})
    rights = open_request_pipeline(database, policy, tmp_path)
    rights.pipeline.send(BOB, *(track(userId="ada", anonymousId=f"d{number}") for number in range(4)))
    shown = listings.list_quarantined(rights.context, limit=10, actor="privacy", token=7)
    assert shown.total == len(shown.profiles) == 1
    assert kinds_of_reads(rights, ADA_ID) == [("privacy", 7, "profile")]
    assert kinds_of_reads(rights, BOB_ID) == []


def test_the_question_is_known_only_to_holders_of_the_key(
    rights: RequestPipeline,
    another_database: Database,  # noqa: F811
    tmp_path: Path,
) -> None:
    """Equal questions have equal digests under one key; who lacks the key cannot try questions until one fits."""
    buyers(rights)
    asked = ('did("Order Completed")', 'did("Order Completed") and did("Product Viewed")', 'did("Order Completed")')
    digests = [question_digest(rights, where) for where in asked]
    assert digests[0] == digests[2] != digests[1]
    other = open_request_pipeline(another_database, rights.context.policy, tmp_path / "other")
    assert question_digest(other, asked[0]) != digests[0]


def question_digest(rights: RequestPipeline, where: str) -> str:
    """What the log keeps of the question of a preview."""
    reading.preview(rights.context, where, "analytics", actor="marketer")
    with rights.context.database.transaction(read_only=True) as tx:
        newest = fact_store.entries(tx, kinds=["data.read"])[0]
    assert newest.body is not None
    return str(newest.body["question"])


def test_a_read_is_found_by_both_sides_of_a_later_merge(rights: RequestPipeline) -> None:
    rights.pipeline.send(track(anonymousId="hers"))
    look_up(rights.context, Identifier("anonymous_id", "hers"), actor="privacy", token=3)
    assert kinds_of_reads(rights, ADA_ID) == []
    rights.pipeline.send(track(anonymousId="hers", userId="ada"))
    assert kinds_of_reads(rights, ADA_ID) == [("privacy", 3, "profile")]


def test_the_archive_tells_who_looked_by_role_and_never_by_name(rights: RequestPipeline) -> None:
    look_up(rights.context, Identifier(*ADA_ID), actor="privacy", token=3)
    read_by = rights.export(ADA_ID)["read_by"]
    assert [(read["role"], read["what"]) for read in read_by] == [("privacy", "profile"), ("operator", "request")]
    assert all("token" not in read for read in read_by)
    assert [read["what"] for read in rights.export(BOB_ID)["read_by"]] == ["request"], "the archive itself"


def test_after_an_erasure_nobody_can_tell_whose_reads_they_were(rights: RequestPipeline) -> None:
    record(rights.context, ConsentStatement(ADA_EMAIL, "analytics", "grant"))
    look_up(rights.context, Identifier(*ADA_ID), actor="privacy", token=3)
    with rights.context.database.transaction() as tx:
        subjects = {identifier_id for (identifier_id,) in tx.execute("SELECT identifier_id FROM identity.identifier")}
        digests = subject_digests(tx, rights.context, identifiers=subjects)
        assert fact_store.reads_of(tx, digests)
    rights.erase(ADA_ID, ADA_EMAIL)
    with rights.context.database.transaction() as tx:
        left = subject_digests(tx, rights.context, identifiers=subjects)
        assert left < digests, "the keys of the person are gone, and the digests with them"
        assert not fact_store.reads_of(tx, left)
    assert kinds_of_reads(rights, ADA_ID) == []
