"""The store moves the version on by itself, whatever statement changes who is who or what may be done with them."""

from pathlib import Path

import pytest

from cdp.kit.db import Database, Transaction
from tests.support.messages import consent_context, track
from tests.support.pipeline import Pipeline, open_pipeline
from tests.support.policies import shipped

pytestmark = pytest.mark.postgres

CHANGES = {
    "an identifier is shared": "UPDATE identity.identifier SET is_shared = TRUE",
    "an identifier goes": "DELETE FROM identity.identifier",
    "an anchor is unsettled": "UPDATE identity.anchor SET is_settled = FALSE",
    "an anchor goes": "DELETE FROM identity.anchor",
    "a member goes": "DELETE FROM identity.anchor_member",
    "a source goes": "DELETE FROM identity.anchor_source",
    "an anchor moves": "UPDATE identity.canonical SET profile_id = profile_id + 1",
    "an anchor leaves the map": "DELETE FROM identity.canonical",
    "an owner changes": "UPDATE identity.link SET profile_id = profile_id + 1",
    "an owner goes": "DELETE FROM identity.link",
    "a profile is quarantined": "UPDATE identity.profile SET is_quarantined = TRUE",
    "a profile goes": "DELETE FROM identity.profile",
    "a permission begins later": "UPDATE consent.permitted SET since = since + interval '1 day'",
    "a permission ends": "UPDATE consent.permitted SET until = '2026-12-31'",
    "a permission goes": "DELETE FROM consent.permitted",
    "a permission is given": "INSERT INTO consent.permitted (profile_id, purpose, since, reader_pseudonym) "
    "SELECT profile_id, 'email_marketing', now(), 'x' FROM identity.profile",
    "a refusal changes": "UPDATE consent.refused SET reason = 'objected'",
    "a refusal goes": "DELETE FROM consent.refused",
    "a refusal comes": "INSERT INTO consent.refused (profile_id, purpose, reason) "
    "SELECT profile_id, 'advertising', 'refused' FROM identity.profile",
    "a suppression comes": "INSERT INTO rights.suppression (pseudonym, since) VALUES ('\\x01', now())",
    "a suppression is lifted": "UPDATE rights.suppression SET lifted_at = now()",
    "a suppression goes": "DELETE FROM rights.suppression",
    "everybody goes": "TRUNCATE identity.canonical",
}

NO_CHANGES = {
    "an identifier is seen": "UPDATE identity.identifier SET last_seen_on = last_seen_on + 1",
    "traits are projected": "UPDATE consent.permitted SET traits = '{\"a\": 1}'",
    "the same again": "UPDATE identity.canonical SET profile_id = profile_id",
    "nobody goes": "DELETE FROM identity.canonical WHERE profile_id = 0",
}


@pytest.fixture
def pipeline(database: Database, tmp_path: Path) -> Pipeline:
    """Somebody who permits one purpose and refuses another, and a suppression of somebody else."""
    pipeline = open_pipeline(database, shipped(), tmp_path)
    choices = {"analytics": True, "personalization": False}
    pipeline.send(track(userId="ada", context=consent_context(**choices)))
    with database.transaction() as tx:
        tx.execute("INSERT INTO rights.suppression (pseudonym, since) VALUES ('\\x00', now())")
    return pipeline


def version(tx: Transaction) -> int:
    found: int = tx.execute("SELECT version FROM identity.generation")[0][0]
    return found


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_moves_it_on_once(change: str, pipeline: Pipeline) -> None:
    with pipeline.context.database.transaction() as tx:
        before = version(tx)
        tx.execute(CHANGES[change])
        tx.execute("INSERT INTO rights.suppression (pseudonym, since) VALUES ('\\x02', now())")
        assert version(tx) == before + 1
    with pipeline.context.database.transaction() as tx:
        tx.execute("INSERT INTO rights.suppression (pseudonym, since) VALUES ('\\x03', now())")
        assert version(tx) == before + 2


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_moves_it_on_alone(change: str, pipeline: Pipeline) -> None:
    with pipeline.context.database.transaction() as tx:
        before = version(tx)
        tx.execute(CHANGES[change])
        assert version(tx) == before + 1


@pytest.mark.parametrize("change", NO_CHANGES)
def test_nothing_else_does(change: str, pipeline: Pipeline) -> None:
    with pipeline.context.database.transaction() as tx:
        before = version(tx)
        tx.execute(NO_CHANGES[change])
        assert version(tx) == before


def test_new_people_do_not(pipeline: Pipeline) -> None:
    with pipeline.context.database.transaction(read_only=True) as tx:
        before = version(tx)
    choices = consent_context(analytics=True, personalization=False)
    pipeline.send(*[track(userId=f"u{n}", context=choices) for n in range(5)])
    assert pipeline.one("SELECT count(*) FROM consent.permitted WHERE purpose = 'analytics'") == 6
    assert pipeline.one("SELECT count(*) FROM consent.refused") == 6
    with pipeline.context.database.transaction(read_only=True) as tx:
        assert version(tx) == before


def test_what_is_taken_back_does_not_but_what_follows_does(pipeline: Pipeline) -> None:
    with pipeline.context.database.transaction() as tx:
        before = version(tx)
        with tx.dry_run():
            tx.execute("DELETE FROM consent.permitted")
        assert version(tx) == before
        tx.execute("DELETE FROM consent.permitted")
        assert version(tx) == before + 1
