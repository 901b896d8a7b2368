"""A database that was restored is told again who was erased and who said no, before it speaks."""

import subprocess
from pathlib import Path

import pytest

from cdp.accounting.model import State
from cdp.flows.rights import requests
from cdp.flows.rights.replay import is_behind, replay
from cdp.flows.rights.restrict import release
from cdp.identity.store import generation as generation_store
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from cdp.rights.binding import NONCE_BYTES, Binding, read_binding, write_binding
from cdp.rights.replay_file import REPLAY_FILE, OptOut
from cdp.rights.store import replay_position as replay_store
from cdp.rights.store import suppressions as suppression_store
from cdp.vault.pseudonym import SUPPRESSION
from tests.support.messages import track
from tests.support.people import ADA, BOB, NOON, WEB
from tests.support.policies import permit_all
from tests.support.requests import RequestPipeline, open_request_pipeline, restarted

pytestmark = pytest.mark.postgres


@pytest.fixture
def rights(database: Database, tmp_path: Path) -> RequestPipeline:
    return open_request_pipeline(database, permit_all(), tmp_path)


class Copy:
    """A copy of every row of a database, as a backup holds it."""

    def __init__(self, rights: RequestPipeline) -> None:
        self.rights = rights
        self.tables: dict[str, bytes] = {}
        with rights.context.database.transaction(read_only=True) as tx:
            for name, columns in tx.execute(_TABLES):
                name = f"{name} ({columns})"
                with tx.raw.cursor().copy(f"COPY (SELECT {columns} FROM {name.partition(' ')[0]}) TO STDOUT") as stream:
                    self.tables[name] = b"".join(bytes(block) for block in stream)

    def restore(self) -> None:
        """Put the rows of the copy back in place of today's; as in a restored dump, triggers do not count them."""
        with self.rights.context.database.transaction() as tx:
            tx.raw.execute(f"TRUNCATE {', '.join(name.partition(' ')[0] for name in self.tables)} CASCADE")
            tx.raw.execute("ALTER TABLE consent.deferred_message DISABLE TRIGGER total_added")
            for name, block in self.tables.items():
                with tx.raw.cursor().copy(f"COPY {name} FROM STDIN") as stream:
                    stream.write(block)
            tx.raw.execute("ALTER TABLE consent.deferred_message ENABLE TRIGGER total_added")
        self.rights.context.vault.subject_keys.evict_all()


_TABLES = """
SELECT c.oid::regclass::text, (
    SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum)
    FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND n.nspname IN ('identity', 'consent', 'behavior', 'segments', 'rights', 'destinations', 'vault')
ORDER BY n.nspname, c.relname
"""


def test_an_erasure_is_repeated_after_a_restore(rights: RequestPipeline) -> None:
    rights.pipeline.send(BOB)
    before = rights.counts()
    rights.pipeline.send(ADA, track(userId="ada", anonymousId="hers"))
    copy = Copy(rights)
    rights.erase(("user_id", "ada"))
    assert not is_behind(rights.context)
    copy.restore()
    assert is_behind(rights.context)
    assert rights.pipeline.one("SELECT count(*) FROM behavior.event") == 3
    told = replay(rights.context, rights.pipeline.clock.now())
    assert (told.lines, told.erased) == (1, 1)
    assert rights.counts() == before
    assert not is_behind(rights.context)
    assert rights.pipeline.send(ADA)[0].state is State.SUPPRESSED


def test_replaying_twice_changes_nothing(rights: RequestPipeline) -> None:
    rights.pipeline.send(BOB, ADA)
    copy = Copy(rights)
    rights.erase(("user_id", "ada"))
    copy.restore()
    replay(rights.context, rights.pipeline.clock.now())
    before = rights.counts()
    assert replay(rights.context, rights.pipeline.clock.now()).lines == 0
    with rights.context.database.transaction() as tx:
        tx.execute("UPDATE rights.replay SET number = 0, digest = ''")
    assert replay(rights.context, rights.pipeline.clock.now()).erased == 0
    assert rights.counts() == before


def _say_no(rights: RequestPipeline, value: str) -> None:
    context = rights.context
    with context.database.transaction() as tx:
        generation_store.lock_exclusive(tx)
        identifier_id = tx.execute("SELECT identifier_id FROM identity.identifier WHERE type = 'user_id'")[0][0]
        hidden = context.vault.hashes.pseudonym(SUPPRESSION, "user_id", value)
        no = OptOut(identifier_id, hidden, "analytics", "refuse", "authenticated", "eu", NOON)
        replay_store.append(tx, context.replay, [no], now=NOON)


def test_a_no_is_repeated_where_its_identifier_is_known(rights: RequestPipeline) -> None:
    rights.pipeline.send(ADA)
    _say_no(rights, "ada")
    with rights.context.database.transaction() as tx:
        tx.execute("UPDATE rights.replay SET number = 0, digest = ''")
    told = replay(rights.context, rights.pipeline.clock.now())
    assert (told.opt_outs, told.suppressed) == (1, 0)
    assert rights.pipeline.one("SELECT reason FROM consent.refused WHERE purpose = 'analytics'") == "refused"
    assert rights.pipeline.one("SELECT count(*) FROM consent.permitted WHERE purpose = 'analytics'") == 0


def test_a_no_is_kept_by_pseudonym_where_its_identifier_is_not_known(rights: RequestPipeline) -> None:
    copy = Copy(rights)
    rights.pipeline.send(ADA)
    _say_no(rights, "ada")
    copy.restore()
    told = replay(rights.context, rights.pipeline.clock.now())
    assert (told.opt_outs, told.suppressed) == (0, 1)
    with rights.context.database.transaction() as tx:
        hidden = rights.context.vault.hashes.pseudonym(SUPPRESSION, "user_id", "ada")
        assert suppression_store.suppressed_purposes(tx, [hidden], NOON) == {hidden: frozenset({"analytics"})}
        assert suppression_store.suppressed(tx, [hidden], NOON) == set()


class _Crash(Exception):
    """The process ends here."""


def _write_and_crash(rights: RequestPipeline) -> None:
    context = rights.context
    with context.database.transaction() as tx:
        generation_store.lock_exclusive(tx)
        replay_store.append(
            tx, context.replay, [OptOut(1, b"x" * 32, "analytics", "refuse", "signal", "eu", NOON)], now=NOON
        )
        assert (
            subprocess.run(["grep", "-c", "analytics", rights.home / REPLAY_FILE], capture_output=True).stdout == b"1\n"
        )
        raise _Crash


def test_a_line_is_on_disk_before_the_commit_and_harmless_without_it(rights: RequestPipeline) -> None:
    rights.pipeline.send(ADA)

    with pytest.raises(_Crash):
        _write_and_crash(rights)
    assert not is_behind(rights.context)  # it knows its own line
    context = restarted(rights.pipeline.context)
    assert is_behind(context)
    replay(context, NOON)
    assert not is_behind(context)
    rights.erase(("user_id", "ada"))
    assert [each.number for each in context.replay.lines_after(0)] == [1, 2]


def test_who_goes_on_without_the_person_forgets_her_after_a_restore(rights: RequestPipeline) -> None:
    """A device that only a browser linked keeps the profile; the copy brought her traits back into its projection."""
    rights.pipeline.send({**ADA, "anonymousId": "hers"}, source=WEB)
    rights.pipeline.send(track(anonymousId="hers"), source=WEB)
    copy = Copy(rights)
    rights.erase(("email", "ada@example.com"), ("user_id", "ada"))
    before = rights.counts()
    copy.restore()
    traits = "SELECT traits::text FROM consent.permitted WHERE purpose = 'analytics'"
    assert "36" in rights.pipeline.one(traits)
    replay(rights.context, rights.pipeline.clock.now())
    assert rights.pipeline.one(traits) == "{}"
    assert rights.counts() == before
    assert rights.pipeline.partition() == {frozenset({("anonymous_id", "hers")})}


def test_a_copy_from_before_two_profiles_became_one_keeps_no_empty_profile(rights: RequestPipeline) -> None:
    rights.pipeline.send(track(userId="ada"))
    rights.pipeline.send(track(anonymousId="hers"))
    assert len(rights.pipeline.people()) == 2
    copy = Copy(rights)
    rights.pipeline.send(track(userId="ada", anonymousId="hers"))
    rights.erase(("user_id", "ada"))
    copy.restore()
    replay(rights.context, rights.pipeline.clock.now())
    assert rights.pipeline.one("SELECT count(*) FROM identity.profile") == 0
    assert rights.pipeline.one("SELECT count(*) FROM consent.permitted") == 0


def test_an_erasure_that_was_running_when_the_copy_was_made_ends_with_a_receipt(rights: RequestPipeline) -> None:
    rights.pipeline.send(ADA)
    request = rights.ask("erasure", ("user_id", "ada"))
    copy = Copy(rights)
    requests.run(rights.context, request.request_id, rights.pipeline.clock.now())
    copy.restore()
    context = restarted(rights.pipeline.context)
    assert replay(context, rights.pipeline.clock.now()).erased == 1
    assert requests.show(context, request.request_id).request.status == "fulfilled"
    assert rights.pipeline.people() == {}
    assert not is_behind(context)


def test_a_database_that_is_behind_stays_so_whatever_else_is_written(rights: RequestPipeline) -> None:
    """A command beside a restored database must not make it believe that it was told everything."""
    rights.pipeline.send(ADA, BOB)
    copy = Copy(rights)
    rights.erase(("user_id", "ada"))
    copy.restore()
    context = restarted(rights.pipeline.context)
    _say_no(rights, "bob")
    assert is_behind(context)
    assert replay(context, rights.pipeline.clock.now()).erased == 1
    assert rights.pipeline.partition() == {frozenset({("user_id", "bob"), ("email", "bob@example.com")})}
    assert not is_behind(context)


def test_the_file_of_another_database_is_refused(rights: RequestPipeline) -> None:
    rights.erase(("user_id", "ada"))
    text = (rights.home / REPLAY_FILE).read_text()
    (rights.home / REPLAY_FILE).write_text(text.replace(text[9:41], "0" * 32, 1))
    with pytest.raises(Fault) as caught:
        replay(rights.context, NOON)
    assert caught.value.code == "replay_file_foreign"


def test_a_restriction_and_its_end_are_known_again_after_a_restore(rights: RequestPipeline) -> None:
    rights.pipeline.send(ADA)
    copy = Copy(rights)
    request = rights.ask("restriction", ("user_id", "ada"))
    requests.run(rights.context, request.request_id, rights.pipeline.clock.now())
    copy.restore()
    rights.later(minutes=1)
    replay(rights.context, rights.pipeline.clock.now())
    assert rights.pipeline.send(track(userId="ada"))[0].reason == "restricted"
    copy = Copy(rights)
    release(rights.context, [("user_id", "ada")], is_informed=True, now=rights.pipeline.clock.now())
    copy.restore()
    replay(rights.context, rights.pipeline.clock.now())
    rights.later(minutes=1)
    assert rights.pipeline.send(track(userId="ada"))[0].state is State.STORED


def test_a_restriction_of_somebody_whom_the_backup_does_not_have_refuses_them(rights: RequestPipeline) -> None:
    copy = Copy(rights)
    rights.pipeline.send(ADA)
    request = rights.ask("restriction", ("user_id", "ada"))
    requests.run(rights.context, request.request_id, rights.pipeline.clock.now())
    copy.restore()
    replay(restarted(rights.context), rights.pipeline.clock.now())
    assert rights.pipeline.send(track(userId="ada"))[0].state is State.SUPPRESSED


@pytest.mark.parametrize(
    ("ahead", "code"), [(0, "replay_file_missing"), (1, "replay_file_missing"), (-1, "state_foreign")]
)
def test_a_lost_file_is_told_from_another_store(rights: RequestPipeline, ahead: int, code: str) -> None:
    """The right store is ahead of its database after a restore, and after a start that was given up."""
    context = rights.context
    with context.database.transaction() as tx:
        for _ in range(2):
            replay_store.bind_state(tx, context.replay, renew=True)
    bound = read_binding(context.replay.store)
    if ahead:
        write_binding(context.replay.store, Binding(bound.generation + ahead, b"n" * NONCE_BYTES))
    context.replay.store.destroy(REPLAY_FILE)
    with context.database.transaction() as tx:
        fault = replay_store.check_state(tx, context.replay)
    assert fault is not None
    assert fault.code == code
