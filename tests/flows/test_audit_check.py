"""The check of the whole log: each way of tampering with it is found, and said at the right place."""

from pathlib import Path
from typing import LiteralString

import pytest

from cdp.audit.checkpoint import Checkpoint, sign_checkpoint
from cdp.audit.mirror import Mirror
from cdp.audit.sequencer import Log, log_name
from cdp.audit.store import facts as fact_store
from cdp.audit.store.tree import signed_head
from cdp.flows.audit import report
from cdp.flows.audit.log_check import LogCheck, check_log
from cdp.flows.operations.retention import sweep
from cdp.flows.rights import requests
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from cdp.kit.state import StateFolder
from cdp.vault.sign import Signer
from tests.support.people import ADA, BOB
from tests.support.policies import permit_all
from tests.support.requests import RequestPipeline, open_request_pipeline

pytestmark = pytest.mark.postgres


@pytest.fixture
def rights(database: Database, tmp_path: Path) -> RequestPipeline:
    """A log of about 700 leaves, so that tiles of two levels are there, signed in three steps."""
    rights = open_request_pipeline(database, permit_all(), tmp_path)
    rights.pipeline.send(ADA, BOB)
    rights.sequence()
    read = {"kind": "data.read", "actor": "marketer", "read": "preview", "question": "0" * 64}
    many = [read | {"count": n} for n in range(600)]
    with database.transaction() as tx:
        fact_store.append_many(tx, many, rights.pipeline.clock.now())
    rights.later(seconds=1)
    rights.sequence()
    rights.erase(("user_id", "ada"))
    rights.ask("access", ("user_id", "bob"))
    rights.later(seconds=1)
    rights.sequence()
    return rights


def log_of(rights: RequestPipeline) -> Log:
    signer = rights.context.vault.root_keys.signer()
    return Log(signer, Mirror(StateFolder(rights.home / "log")), log_name(signer.public_key))


def checked(rights: RequestPipeline, remembered: str | None = None) -> LogCheck:
    return check_log(rights.context.database, log_of(rights), remembered)


def wrong(rights: RequestPipeline, remembered: str | None = None) -> dict[str, str]:
    """What is wrong, by the beginning of what was checked."""
    found = checked(rights, remembered)
    return {each.what: each.wrong for each in found.findings if each.wrong is not None}


def tamper(rights: RequestPipeline, *statements: LiteralString) -> None:
    with rights.context.database.transaction() as tx:
        for statement in statements:
            tx.execute(statement)


def head_of(rights: RequestPipeline) -> str:
    with rights.context.database.transaction() as tx:
        head = signed_head(tx)
    assert head is not None
    return head.note


def test_a_sound_log_is_sound_also_against_each_head_that_was_ever_signed(rights: RequestPipeline) -> None:
    assert checked(rights).is_sound
    with rights.context.database.transaction() as tx:
        notes = [row[0] for row in tx.execute("SELECT note FROM audit.checkpoint")]
    assert len(notes) == 3
    assert all(checked(rights, note).is_sound for note in notes)


TAMPERINGS: dict[str, tuple[LiteralString, str]] = {
    "a body is rewritten": ("UPDATE audit.fact SET body = body || '{\"count\": 1}' WHERE kind = 'data.read'", "facts"),
    "a salt is changed": ("UPDATE audit.fact SET salt = sha256(salt) WHERE kind = 'request.fulfilled'", "facts"),
    "a fact hides under another kind": (
        "UPDATE audit.fact SET kind = 'sweep.run' WHERE kind = 'request.fulfilled'",
        "facts",
    ),
    "a fact is moved to another day": (
        "UPDATE audit.fact SET recorded_at = recorded_at - interval '400 days' WHERE kind = 'data.read'",
        "facts",
    ),
    "an entry is moved to another day": (
        "UPDATE audit.entry SET recorded_at = recorded_at - interval '400 days' WHERE leaf_index = 5",
        "facts",
    ),
    "two facts change places": (
        (
            "UPDATE audit.fact SET body = other.body, kind = other.kind FROM audit.fact AS other WHERE fact.entry_id = 10 "
            "AND other.entry_id = 11"
        ),
        "facts",
    ),
    "a leaf is replaced": ("UPDATE audit.entry SET commitment = sha256(commitment) WHERE leaf_index = 300", "leaves"),
    "a leaf is taken away with its fact": (
        "WITH gone AS (DELETE FROM audit.fact WHERE entry_id = 20) DELETE FROM audit.entry WHERE entry_id = 20",
        "leaves",
    ),
    "the last leaf is taken out of the log": (
        "UPDATE audit.entry SET tree_id = NULL, leaf_index = NULL WHERE leaf_index = (SELECT max(leaf_index) FROM audit.entry)",
        "leaves",
    ),
    "a leaf is added without a signature": (
        (
            "INSERT INTO audit.entry (commitment, recorded_at, tree_id, leaf_index) "
            "SELECT sha256('forged'), now(), tree_id, size FROM audit.tree"
        ),
        "leaves",
    ),
    "the size of the tree differs": ("UPDATE audit.tree SET size = size - 1", "leaves"),
    "a full tile is rewritten": (
        "UPDATE audit.tile SET hashes = overlay(hashes PLACING sha256('x') FROM 33) WHERE level = 0 AND number = 1",
        "tiles",
    ),
    "the tile at the edge is rewritten": (
        "UPDATE audit.tile SET hashes = overlay(hashes PLACING sha256('x') FROM 1) WHERE level = 1",
        "tiles",
    ),
    "a tile is taken away": ("DELETE FROM audit.tile WHERE level = 0 AND number = 0", "tiles"),
    "a tile is added": (
        "INSERT INTO audit.tile SELECT tree_id, 0, 99, hashes FROM audit.tile WHERE level = 0 AND number = 0",
        "tiles",
    ),
    "an older head is replaced by a signed note of another size": (
        (
            "UPDATE audit.checkpoint AS c SET note = o.note FROM audit.checkpoint AS o "
            "WHERE c.size = (SELECT min(size) FROM audit.checkpoint) AND o.size = (SELECT max(size) FROM audit.checkpoint)"
        ),
        "signed checkpoints",
    ),
    "a note is altered": (
        "UPDATE audit.checkpoint SET note = replace(note, chr(10) || size || chr(10), chr(10) || (size + 1) || chr(10))",
        "signed checkpoints",
    ),
    "the newest heads are taken away": (
        "DELETE FROM audit.checkpoint WHERE size > (SELECT min(size) FROM audit.checkpoint)",
        "leaves",
    ),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_tampering_is_found_where_it_was_done(rights: RequestPipeline, name: str) -> None:
    statement, place = TAMPERINGS[name]
    tamper(rights, statement)
    found = wrong(rights)
    assert any(place in what for what in found), found


def test_a_rewritten_log_is_found_by_whoever_remembers_it(rights: RequestPipeline, tmp_path: Path) -> None:
    """The operator has the key: everything is made anew, and fits together. Only the past gives it away."""
    remembered = head_of(rights)
    tamper(
        rights,
        "DELETE FROM audit.checkpoint",
        "DELETE FROM audit.tile",
        "DELETE FROM audit.fact WHERE kind = 'data.read'",
        "UPDATE audit.entry SET tree_id = NULL, leaf_index = NULL",
        "DELETE FROM audit.entry WHERE entry_id NOT IN (SELECT entry_id FROM audit.fact)",
        "DELETE FROM audit.tree",
    )
    rights.home = tmp_path / "another-copy"
    rights.sequence()
    assert checked(rights).is_sound
    (told,) = wrong(rights, remembered).values()
    assert "shorter" in told


def test_a_log_of_the_same_length_that_was_rewritten_is_found_too(rights: RequestPipeline) -> None:
    signer = rights.context.vault.root_keys.signer()
    head = checked(rights)
    other = sign_checkpoint(Checkpoint(head.origin, head.size, b"\x01" * 32), signer)
    (told,) = wrong(rights, other).values()
    assert "rewritten" in told


def test_a_remembered_checkpoint_of_somebody_else_is_not_believed(rights: RequestPipeline) -> None:
    head = checked(rights)
    other = sign_checkpoint(Checkpoint(head.origin, head.size, b"\x01" * 32), Signer(b"\x07" * 32))
    (told,) = wrong(rights, other).values()
    assert "trusted key" in told
    with pytest.raises(Fault, match="checkpoint_malformed"):
        checked(rights, "no checkpoint")


def test_what_is_wrong_with_the_copy_is_said(rights: RequestPipeline) -> None:
    folder = next(path for path in (rights.home / "log").iterdir() if path.is_dir())
    entries, checkpoint = folder / "entries", folder / "checkpoint"
    whole, note = entries.read_bytes(), checkpoint.read_text()
    head = checked(rights)
    forged = sign_checkpoint(Checkpoint(head.origin, head.size, b"\x01" * 32), Signer(b"\x07" * 32))
    for content, text in (
        (whole[:-32], note),  # truncated
        (whole[:64] + b"\x00" * 32 + whole[96:], note),  # an entry replaced
        (whole, "nonsense"),
        (whole, forged),
        (whole, note.replace(f"\n{head.size}\n", f"\n{head.size - 1}\n")),
    ):
        entries.write_bytes(content)
        checkpoint.write_text(text)
        assert list(wrong(rights)) == ["the copy outside the database"]
    entries.write_bytes(whole)
    checkpoint.write_text(note)
    assert checked(rights).is_sound


def test_a_former_log_is_checked_with_the_one_that_grows(rights: RequestPipeline, tmp_path: Path) -> None:
    remembered = head_of(rights)
    copy = next(path for path in (rights.home / "log").iterdir() if path.is_dir())
    (copy.parent / "7").mkdir()  # a newer log was once copied here: this database was restored from before it
    (copy.parent / "7" / "entries").touch()
    rights.sequence()
    found = checked(rights, remembered)
    assert found.is_sound
    assert found.origin != remembered.split("\n")[0]
    tamper(rights, "UPDATE audit.entry SET commitment = sha256(commitment) WHERE tree_id = 1 AND leaf_index = 300")
    assert [what for what in wrong(rights) if "leaves of the former log" in what]


class TestRequests:
    """Figures come from the table of requests; the log must tell the same of each."""

    def differing(self, rights: RequestPipeline) -> tuple[str, ...]:
        return report.report(
            rights.context, rights.pipeline.clock.now(), since=None, until=None, actor="auditor"
        ).differing

    def test_all_kinds_of_ends_agree(self, rights: RequestPipeline) -> None:
        now = rights.pipeline.clock.now()
        requests.deny(rights.context, rights.ask("access", ("user_id", "x")).request_id, "unfounded", now=now)
        requests.withdraw(rights.context, rights.ask("erasure", ("user_id", "x")).request_id, now)
        requests.extend(rights.context, rights.ask("access", ("user_id", "y")).request_id, now)
        requests.open_request(rights.context, kind="access", regime="gdpr", identifiers=[("user_id", "z")], now=now)
        rights.later(days=40)
        requests.sweep_requests(rights.context, rights.pipeline.clock.now())
        assert self.differing(rights) == ()

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE rights.request SET closed_at = closed_at - interval '1 day' WHERE status = 'fulfilled'",
            "UPDATE rights.request SET due_at = due_at + interval '90 days' WHERE status = 'fulfilled'",
            "UPDATE rights.request SET received_at = received_at + interval '1 hour' WHERE status = 'verified'",
            "UPDATE rights.request SET kind = 'access', mode = NULL WHERE status = 'fulfilled'",
            "UPDATE rights.request SET verified_at = received_at - interval '1 hour' WHERE status = 'verified'",
            "DELETE FROM rights.request WHERE status = 'verified'",
            (
                "INSERT INTO rights.request SELECT (jsonb_populate_record(r, '{\"request_id\": 5}')).* FROM rights.request r "
                "WHERE status = 'verified'"
            ),
        ],
    )
    def test_what_was_changed_in_the_table_is_named(self, rights: RequestPipeline, statement: LiteralString) -> None:
        assert self.differing(rights) == ()
        tamper(rights, statement)
        assert len(self.differing(rights)) == 1

    def test_old_requests_that_were_swept_are_no_difference(self, rights: RequestPipeline) -> None:
        rights.later(days=800)
        sweep(rights.context, rights.pipeline.clock.now())
        assert rights.pipeline.one("SELECT count(*) FROM rights.request") == 1  # the one that nobody ended
        assert self.differing(rights) == ()
