"""The replay file forgets what no backup needs; a restored database is told the same from the compacted file as from the full one."""

import random
import re
import shutil
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cdp.accounting.model import State
from cdp.flows.context import Context
from cdp.flows.ingest.batch import Ingest
from cdp.flows.operations.key_destruction import destroy_keys
from cdp.flows.operations.key_rotation import rotate_epoch
from cdp.flows.operations.retention import sweep
from cdp.flows.rights.replay import is_behind, replay
from cdp.flows.rights.replay_loss import assess_loss
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from cdp.rights.replay_file import REPLAY_FILE, Erased, Numbered, OptOut
from cdp.vault.pseudonym import GRAPH, SUPPRESSION
from tests.flows.test_replay import Copy
from tests.support.messages import consent_context, identify, order, track
from tests.support.people import ADA, BOB, WEB
from tests.support.policies import permit_all
from tests.support.requests import RequestPipeline, open_request_pipeline, restarted

pytestmark = pytest.mark.postgres


@pytest.fixture
def rights(database: Database, tmp_path: Path) -> RequestPipeline:
    rights = open_request_pipeline(database, permit_all(), tmp_path)
    context, pipeline = rights.context, rights.pipeline
    pipeline.ingest = Ingest(database, context.vault, context.policy, clock=pipeline.clock, replay=context.replay)
    return rights


def lines(rights: RequestPipeline) -> list[Numbered]:
    return list(rights.context.replay.lines_after(0))


def compacted(rights: RequestPipeline) -> int:
    """Run the sweep; how many lines of the replay file it dropped."""
    now = rights.pipeline.clock.now()
    planned = {line.table: line.rows for line in sweep(rights.context, now, dry_run=True).lines}
    done = {line.table: line.rows for line in sweep(rights.context, now).lines}
    assert done["replay.jsonl"] == planned["replay.jsonl"]
    return done["replay.jsonl"]


def answers(rights: RequestPipeline, person: dict[str, Any], *choices: bool) -> None:
    for choice in choices:
        rights.later(hours=1)
        rights.pipeline.send({**person, "context": consent_context(advertising=choice)})


def lacks(rights: RequestPipeline) -> list[Any]:
    """What the file is found to lack, though nothing was lost: a later line may say as much as one that was dropped."""
    with rights.context.database.transaction(read_only=True) as tx:
        report = assess_loss(tx, restarted(rights.context).replay, rights.pipeline.clock.now())
    return [report.fault, report.erasures.count, report.suppressions.count, report.opt_outs.count]


def standing(rights: RequestPipeline) -> Sequence[tuple[Any, ...]]:
    """Who is known, what is permitted for whom, and what is suppressed."""
    with rights.context.database.transaction(read_only=True) as tx:
        permitted = tx.execute(
            "SELECT encode(i.pseudonym, 'hex'), p.purpose FROM consent.permitted AS p JOIN identity.link USING (profile_id) "
            "JOIN identity.identifier AS i USING (identifier_id) ORDER BY 1, 2"
        )
        known = tx.execute("SELECT encode(pseudonym, 'hex') FROM identity.identifier ORDER BY 1")
        suppressed = tx.execute(
            "SELECT encode(pseudonym, 'hex') FROM rights.suppression WHERE purpose = '' AND lifted_at IS NULL ORDER BY 1"
        )
    return [*known, *permitted, *suppressed]


def test_refusals_that_were_stated_again_are_one_line_each(rights: RequestPipeline) -> None:
    answers(rights, ADA, False, True, False, True, False)
    identifiers = {line.line.identifier_id for line in lines(rights) if isinstance(line.line, OptOut)}
    before = lines(rights)
    assert len(before) > len(identifiers) == 2
    assert compacted(rights) == len(before) - 2
    assert lines(rights) == [line for line in before if line in lines(rights)]
    assert compacted(rights) == 0
    assert not is_behind(restarted(rights.context))


def test_an_erased_person_keeps_exactly_one_line_and_a_restored_backup_forgets_them(rights: RequestPipeline) -> None:
    rights.pipeline.send(BOB)
    before = rights.counts()
    rights.pipeline.send({**ADA, "context": consent_context(advertising=True)})
    copy = Copy(rights)
    answers(rights, ADA, False, True, False)
    rights.erase(("user_id", "ada"))
    compacted(rights)
    (line,) = lines(rights)
    assert isinstance(line.line, Erased)
    hers = rights.context.vault.hashes.pseudonym(SUPPRESSION, "user_id", "ada").hex()
    content = (rights.home / REPLAY_FILE).read_bytes()
    assert content.count(hers.encode()) == 1
    copy.restore()
    assert is_behind(restarted(rights.context))
    replay(rights.context, rights.pipeline.clock.now())
    assert rights.counts() == before
    assert rights.pipeline.send(ADA)[0].state is State.SUPPRESSED
    assert not is_behind(restarted(rights.context))


def test_no_byte_of_a_value_or_of_a_key_that_joins_is_in_the_file(rights: RequestPipeline) -> None:
    answers(rights, ADA, False, True, False)
    rights.erase(("user_id", "ada"))
    for _ in range(2):
        content = (rights.home / REPLAY_FILE).read_bytes()
        for type_, value in (("user_id", "ada"), ("email", "ada@example.com")):
            assert rights.context.vault.hashes.pseudonym(SUPPRESSION, type_, value).hex().encode() in content
            assert rights.context.vault.hashes.pseudonym(GRAPH, type_, value).hex().encode() not in content
        # A hash in hexadecimal may contain her name by chance.
        assert b"ada" not in re.sub(rb"[0-9a-f]{32,}", b"", content)
        compacted(rights)


def test_nothing_of_anybody_is_left_when_no_backup_can_need_it(rights: RequestPipeline) -> None:
    answers(rights, ADA, False)
    answers(rights, BOB, False)
    copy = Copy(rights)
    rights.erase(("user_id", "ada"))
    # As a compaction that is killed leaves it; tests/store/test_state_drafts.py kills the writer itself.
    shutil.copy(rights.home / REPLAY_FILE, rights.home / f".{REPLAY_FILE}.0123456789abcdef")
    rights.later(days=3)
    rotate_epoch(rights.context)
    compacted(rights)
    assert len(lines(rights)) == 3, "the retired epoch can still be restored"
    destroy_keys(rights.context, only_epochs=True)
    compacted(rights)
    assert lines(rights) == []
    hers = rights.context.vault.hashes.pseudonym(SUPPRESSION, "user_id", "ada").hex()
    files = [path for path in rights.home.rglob("*") if path.is_file()]
    assert rights.home / REPLAY_FILE in files
    assert [path for path in files if hers.encode() in path.read_bytes()] == []
    last = rights.context.replay.last_number()
    assert last > 3
    assert not is_behind(restarted(rights.context))
    answers(rights, BOB, True, False)
    assert [line.number for line in lines(rights)] == [last + 1, last + 2]
    copy.restore()
    with pytest.raises(Fault, match="replay_file_incomplete"):
        replay(restarted(rights.context), rights.pipeline.clock.now())


def test_an_identifier_that_ended_keeps_the_line_that_suppresses_its_purpose(rights: RequestPipeline) -> None:
    copy = Copy(rights)
    rights.pipeline.send(track(anonymousId="old", context=consent_context(advertising=False)), source=WEB)
    rights.later(hours=2)
    rights.pipeline.send(track(anonymousId="old", context=consent_context(advertising=True)), source=WEB)
    rights.later(hours=2)
    rights.pipeline.send(track(anonymousId="old", context=consent_context(advertising=False)), source=WEB)
    rights.later(days=rights.context.policy.retention.identifiers.keep_for_days + 40)
    compacted(rights)
    assert [line.line.purpose for line in lines(rights) if isinstance(line.line, OptOut)] == ["advertising"]
    copy.restore()
    replay(rights.context, rights.pipeline.clock.now())
    hers = rights.context.vault.hashes.pseudonym(SUPPRESSION, "anonymous_id", "old")
    with rights.context.database.transaction(read_only=True) as tx:
        assert tx.execute("SELECT pseudonym, purpose FROM rights.suppression") == [(hers, "advertising")]


def test_a_file_that_the_database_has_not_applied_is_left_as_it_is(rights: RequestPipeline) -> None:
    rights.pipeline.send(ADA)
    copy = Copy(rights)
    answers(rights, ADA, False, True, False)
    full = lines(rights)
    copy.restore()
    context: Context = restarted(rights.context)
    sweep(context, rights.pipeline.clock.now())
    assert list(context.replay.lines_after(0)) == full


@pytest.mark.parametrize("seed", range(4))
def test_a_restored_database_is_told_the_same_by_the_compacted_file(rights: RequestPipeline, seed: int) -> None:
    """Random lives with a backup at a random moment; compacted at any moments, the file restores what the full one does."""
    dice = random.Random(seed)
    people = ("ada", "bob", "cy")
    backup_at, copy, full = dice.randrange(25), Copy(rights), b""
    erased: set[str] = set()
    path = rights.home / REPLAY_FILE
    for number in range(25):
        if number == backup_at:
            copy = Copy(rights)
        rights.later(hours=dice.randint(1, 30))
        person = dice.choice(people)
        if dice.random() < 0.08 and person not in erased:
            rights.erase(("user_id", person))
            erased.add(person)
        elif dice.random() < 0.8:
            choices = {purpose: dice.random() < 0.5 for purpose in ("advertising", "email_marketing")}
            body = identify(
                userId=person, traits={"email": f"{person}@example.com"}, context=consent_context(**choices)
            )
            rights.pipeline.send(body)
        else:
            rights.pipeline.send(order(userId=person, anonymousId=f"{person}-phone"))
    full = path.read_bytes() if path.exists() else b""
    rights.later(seconds=1)
    assert lacks(rights) == ["", 0, 0, 0]
    dropped = compacted(rights)
    assert lacks(rights) == ["", 0, 0, 0]
    small = path.read_bytes()
    outcomes = []
    for content in (full, small):
        copy.restore()
        path.write_bytes(content)
        context = restarted(rights.context)
        replay(context, rights.pipeline.clock.now() + timedelta(seconds=5))
        assert not is_behind(restarted(rights.context))
        outcomes.append(standing(rights))
    assert outcomes[0] == outcomes[1]
    assert dropped > 0
