"""A database that was restored is told again who was erased and who said no, before it speaks."""

import subprocess
from pathlib import Path

import pytest

from cdp.accounting.model import State
from cdp.flows.rights import requests
from cdp.flows.rights.replay import is_behind, replay
from cdp.identity.store import generation as generation_store
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from cdp.rights.replay_file import OptOut
from cdp.rights.store import replay_position as replay_store
from cdp.rights.store import suppressions as suppression_store
from cdp.vault.pseudonym import SUPPRESSION
from tests.support.pipeline import NOON, WEB
from tests.support.policies import permit_all
from tests.support.requests import ADA, BOB, RequestPipeline, open_request_pipeline, restarted

pytestmark = pytest.mark.postgres


@pytest.fixture
def office(database: Database, tmp_path: Path) -> RequestPipeline:
    return open_request_pipeline(database, permit_all(), tmp_path)


class Copy:
    """A copy of every row of a database, as a backup holds it."""

    def __init__(self, office: RequestPipeline) -> None:
        self.office = office
        self.tables: dict[str, bytes] = {}
        with office.context.database.transaction(read_only=True) as tx:
            for (name,) in tx.execute(_TABLES):
                with tx.raw.cursor().copy(f"COPY (SELECT * FROM {name}) TO STDOUT") as stream:
                    self.tables[name] = b"".join(bytes(block) for block in stream)

    def restore(self) -> None:
        """Put the rows of the copy back in place of today's."""
        with self.office.context.database.transaction() as tx:
            tx.raw.execute(f"TRUNCATE {', '.join(self.tables)} CASCADE")
            for name, block in self.tables.items():
                with tx.raw.cursor().copy(f"COPY {name} FROM STDIN") as stream:
                    stream.write(block)
        self.office.context.vault.evict_all()


_TABLES = """
SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND n.nspname IN ('identity', 'consent', 'behavior', 'segments', 'rights', 'destinations', 'vault')
ORDER BY n.nspname, c.relname
"""


def test_an_erasure_is_repeated_after_a_restore(office: RequestPipeline) -> None:
    office.pipeline.send(BOB)
    before = office.counts()
    office.pipeline.send(ADA, {"type": "track", "event": "Product Viewed", "userId": "ada", "anonymousId": "hers"})
    copy = Copy(office)
    office.erase(("user_id", "ada"))
    assert not is_behind(office.context)
    copy.restore()
    assert is_behind(office.context)
    assert office.pipeline.one("SELECT count(*) FROM behavior.event") == 3
    told = replay(office.context, office.pipeline.clock.now())
    assert (told.lines, told.erased) == (1, 1)
    assert office.counts() == before
    assert not is_behind(office.context)
    assert office.pipeline.send(ADA)[0].state is State.SUPPRESSED


def test_replaying_twice_changes_nothing(office: RequestPipeline) -> None:
    office.pipeline.send(BOB, ADA)
    copy = Copy(office)
    office.erase(("user_id", "ada"))
    copy.restore()
    replay(office.context, office.pipeline.clock.now())
    before = office.counts()
    assert replay(office.context, office.pipeline.clock.now()).lines == 0
    with office.context.database.transaction() as tx:
        tx.execute("UPDATE rights.replay SET number = 0")
    assert replay(office.context, office.pipeline.clock.now()).erased == 0
    assert office.counts() == before


def _say_no(office: RequestPipeline, value: str) -> None:
    context = office.context
    with context.database.transaction() as tx:
        generation_store.lock_exclusive(tx)
        identifier_id = tx.execute("SELECT identifier_id FROM identity.identifier WHERE type = 'user_id'")[0][0]
        hidden = context.vault.pseudonym(SUPPRESSION, "user_id", value)
        no = OptOut(identifier_id, hidden, "analytics", "refuse", "authenticated", "eu", NOON)
        replay_store.append(tx, context.replay, [no], now=NOON)


def test_a_no_is_repeated_where_its_identifier_is_known(office: RequestPipeline) -> None:
    office.pipeline.send(ADA)
    _say_no(office, "ada")
    with office.context.database.transaction() as tx:
        tx.execute("UPDATE rights.replay SET number = 0")
    told = replay(office.context, office.pipeline.clock.now())
    assert (told.noes, told.suppressed) == (1, 0)
    assert office.pipeline.one("SELECT reason FROM consent.refused WHERE purpose = 'analytics'") == "refused"
    assert office.pipeline.one("SELECT count(*) FROM consent.permitted WHERE purpose = 'analytics'") == 0


def test_a_no_is_kept_by_pseudonym_where_its_identifier_is_not_known(office: RequestPipeline) -> None:
    copy = Copy(office)
    office.pipeline.send(ADA)
    _say_no(office, "ada")
    copy.restore()
    told = replay(office.context, office.pipeline.clock.now())
    assert (told.noes, told.suppressed) == (0, 1)
    with office.context.database.transaction() as tx:
        hidden = office.context.vault.pseudonym(SUPPRESSION, "user_id", "ada")
        assert suppression_store.suppressed_purposes(tx, [hidden], NOON) == {hidden: frozenset({"analytics"})}
        assert suppression_store.suppressed(tx, [hidden], NOON) == set()


class _Crash(Exception):
    """The process ends here."""


def _write_and_crash(office: RequestPipeline) -> None:
    context = office.context
    with context.database.transaction() as tx:
        generation_store.lock_exclusive(tx)
        replay_store.append(
            tx, context.replay, [OptOut(1, b"x" * 32, "analytics", "refuse", "signal", "eu", NOON)], now=NOON
        )
        assert subprocess.run(["grep", "-c", "analytics", context.replay.path], capture_output=True).stdout == b"1\n"
        raise _Crash


def test_a_line_is_on_disk_before_the_commit_and_harmless_without_it(office: RequestPipeline) -> None:
    office.pipeline.send(ADA)

    with pytest.raises(_Crash):
        _write_and_crash(office)
    assert not is_behind(office.context)  # it knows its own line
    context = restarted(office.pipeline.context)
    assert is_behind(context)
    replay(context, NOON)
    assert not is_behind(context)
    office.erase(("user_id", "ada"))
    assert [each.number for each in context.replay.lines_after(0)] == [1, 2]


def test_who_goes_on_without_the_person_forgets_her_after_a_restore(office: RequestPipeline) -> None:
    """A device that only a browser linked keeps the profile; the copy brought her traits back into its projection."""
    office.pipeline.send({**ADA, "anonymousId": "hers"}, source=WEB)
    office.pipeline.send({"type": "track", "event": "Product Viewed", "anonymousId": "hers"}, source=WEB)
    copy = Copy(office)
    office.erase(("email", "ada@example.com"), ("user_id", "ada"))
    before = office.counts()
    copy.restore()
    traits = "SELECT traits::text FROM consent.permitted WHERE purpose = 'analytics'"
    assert "36" in office.pipeline.one(traits)
    replay(office.context, office.pipeline.clock.now())
    assert office.pipeline.one(traits) == "{}"
    assert office.counts() == before
    assert office.pipeline.partition() == {frozenset({("anonymous_id", "hers")})}


def test_a_copy_from_before_two_profiles_became_one_keeps_no_empty_profile(office: RequestPipeline) -> None:
    office.pipeline.send({"type": "track", "event": "Product Viewed", "userId": "ada"})
    office.pipeline.send({"type": "track", "event": "Product Viewed", "anonymousId": "hers"})
    assert len(office.pipeline.people()) == 2
    copy = Copy(office)
    office.pipeline.send({"type": "track", "event": "Product Viewed", "userId": "ada", "anonymousId": "hers"})
    office.erase(("user_id", "ada"))
    copy.restore()
    replay(office.context, office.pipeline.clock.now())
    assert office.pipeline.one("SELECT count(*) FROM identity.profile") == 0
    assert office.pipeline.one("SELECT count(*) FROM consent.permitted") == 0


def test_an_erasure_that_was_running_when_the_copy_was_made_ends_with_a_receipt(office: RequestPipeline) -> None:
    office.pipeline.send(ADA)
    request = office.ask("erasure", ("user_id", "ada"))
    copy = Copy(office)
    requests.run(office.context, request.request_id, office.pipeline.clock.now())
    copy.restore()
    context = restarted(office.pipeline.context)
    assert replay(context, office.pipeline.clock.now()).erased == 1
    assert requests.show(context, request.request_id).request.status == "fulfilled"
    assert office.pipeline.people() == {}
    assert not is_behind(context)


def test_a_database_that_is_behind_stays_so_whatever_else_is_written(office: RequestPipeline) -> None:
    """A command beside a restored database must not make it believe that it was told everything."""
    office.pipeline.send(ADA, BOB)
    copy = Copy(office)
    office.erase(("user_id", "ada"))
    copy.restore()
    context = restarted(office.pipeline.context)
    _say_no(office, "bob")
    assert is_behind(context)
    assert replay(context, office.pipeline.clock.now()).erased == 1
    assert office.pipeline.partition() == {frozenset({("user_id", "bob"), ("email", "bob@example.com")})}
    assert not is_behind(context)


def test_the_file_of_another_database_is_refused(office: RequestPipeline) -> None:
    office.erase(("user_id", "ada"))
    text = office.context.replay.path.read_text()
    office.context.replay.path.write_text(text.replace(text[9:41], "0" * 32, 1))
    with pytest.raises(Fault) as caught:
        replay(office.context, NOON)
    assert caught.value.code == "replay_file_foreign"
