"""An erasure that dies at any statement, at its commit, or right after it: the next run, or the next start, ends it.

Each transaction of the erasure is begun again and again and dies one statement later each time, until it commits. In
between the service goes on, or it starts anew and replays; whoever received the person must be told once it is over.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from cdp.accounting.model import State
from cdp.audit.store.facts import append as append_fact
from cdp.flows.context import Context
from cdp.flows.rights.erase import erase
from cdp.flows.rights.replay import is_behind, replay
from cdp.flows.rights.review import review
from cdp.kit import db
from cdp.kit.db import Database, Transaction
from cdp.rights.model import Status
from tests.support.messages import numbered_order, track
from tests.support.people import ADA, BOB, WEB
from tests.support.policies import permit_all
from tests.support.requests import RequestPipeline, open_request_pipeline, restarted

pytestmark = pytest.mark.postgres

CALLS = ("execute_core", "all", "one_or_none", "scalar", "execute", "copy")


class Died(BaseException):
    """The process ends here."""


@contextmanager
def dying_at(statement: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The process dies before the statement with this number, counted over its next transactions, commits included."""
    left = [statement]

    def counted(original: Any) -> Any:
        def call(self: Any, *args: Any, **more: Any) -> Any:
            if left[0] <= 0:
                raise Died
            left[0] -= 1
            return original(self, *args, **more)

        return call

    with monkeypatch.context() as patch:
        for name in CALLS:
            patch.setattr(Transaction, name, counted(getattr(Transaction, name)))
        patch.setattr(db.Transaction, "committed", counted(db.Transaction.committed))
        yield


@pytest.fixture
def rights(database: Database, tmp_path: Path) -> RequestPipeline:
    return open_request_pipeline(database, permit_all(), tmp_path)


def settle(rights: RequestPipeline) -> dict[str, int]:
    """Bob stays; Ada was sent to a recipient, and shares a profile with a device that only a browser linked."""
    rights.pipeline.send(BOB)
    before = rights.counts(without=["vault.subject_key", "destinations.outbox"])
    rights.pipeline.send(ADA, *[numbered_order(number) for number in range(6)])
    with rights.context.database.transaction() as tx:
        tx.execute(
            "INSERT INTO destinations.outbox (destination, kind, profile_id, recipient_pseudonym, body, created_at, due_at, "
            "attempts) SELECT 'newsletter', 'membership', profile_id, 'theirs', '{}', %(now)s, %(now)s, 2 "
            "FROM identity.link JOIN identity.identifier USING (identifier_id) WHERE type = 'email' "
            "AND profile_id <> (SELECT min(profile_id) FROM identity.profile WHERE origin_sequence = 1)",
            {"now": rights.pipeline.clock.now()},
        )
    return before


def anew(rights: RequestPipeline) -> Context:
    """The desk of a process that has just started: it remembers nothing, and replays before any door opens."""
    context = restarted(rights.pipeline.context)
    context.vault.subject_keys.evict_all()
    if is_behind(context):
        replay(context, rights.pipeline.clock.now())
    return context


def finished(rights: RequestPipeline, before: dict[str, int]) -> None:
    """Everything is as it must be after one erasure, however often it began."""
    assert rights.counts(without=["vault.subject_key", "destinations.outbox"]) == before
    one = rights.pipeline.one
    assert one("SELECT count(*) FROM audit.fact WHERE kind = 'request.fulfilled'") == 1
    assert one("SELECT body ->> 'recipients' FROM audit.fact WHERE kind = 'request.fulfilled'") == '["newsletter"]'
    assert one("SELECT count(*) FROM destinations.outbox WHERE kind = 'erasure'") == 1
    assert one("SELECT count(*) FROM destinations.outbox WHERE profile_id IS NOT NULL") == 0
    assert one("SELECT count(*) FROM rights.hold") == 6
    assert one("SELECT count(*) FROM rights.suppression WHERE request_id <> 0") == 0
    assert one("SELECT count(*) FROM vault.subject_key AS k WHERE NOT EXISTS (SELECT FROM rights.hold WHERE hold_id = "
               "subject_id) AND NOT EXISTS (SELECT FROM identity.identifier WHERE identifier_id = subject_id) AND NOT "
               "EXISTS (SELECT FROM identity.anchor WHERE anchor_id = subject_id)") == 0  # fmt: skip
    assert rights.pipeline.send(numbered_order(1), ADA)[0].state is State.SUPPRESSED
    assert not is_behind(restarted(rights.pipeline.context))
    assert rights.pipeline.partition() == {frozenset({("user_id", "bob"), ("email", "bob@example.com")})}


@pytest.mark.parametrize("starts_anew", [False, True], ids=["the service goes on", "the service starts anew"])
@pytest.mark.parametrize("rows_max", [3, 10_000], ids=["in chunks", "at once"])
def test_it_dies_at_every_statement(
    rights: RequestPipeline, starts_anew: bool, rows_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = settle(rights)
    request = rights.ask("erasure", ("user_id", "ada"))
    context, deaths = rights.context, 0
    for statement in range(1, 1_000):
        try:
            with dying_at(statement, monkeypatch):
                done = erase(context, request.request_id, rows_max=rows_max)
        except Died:
            deaths += 1
        else:
            break
        assert rights.pipeline.send(numbered_order(1))[0].state is State.SUPPRESSED
        if starts_anew:
            context = anew(rights)
    else:
        pytest.fail("the erasure was not completed")
    assert done.request.status is Status.FULFILLED
    assert deaths > 20
    finished(rights, before)


def test_a_death_between_the_file_and_the_commit_is_made_good_at_the_next_start(
    rights: RequestPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file knows of the erasure, the database does not: the recipients must be told all the same."""
    before = settle(rights)
    request = rights.ask("erasure", ("user_id", "ada"))
    with monkeypatch.context() as patch:

        def die(tx: Transaction, fact: dict[str, Any], now: datetime) -> int:
            if fact["kind"] == "request.fulfilled":  # the file is written before
                raise Died
            return append_fact(tx, fact, now)

        patch.setattr("cdp.audit.store.facts.append", die)
        with pytest.raises(Died):
            erase(rights.context, request.request_id)
    assert rights.pipeline.people() != {}
    assert not is_behind(rights.context), "the process itself knows that it only has to try again"
    assert is_behind(restarted(rights.pipeline.context))
    anew(rights)
    finished(rights, before)


def test_a_service_that_goes_on_is_ready_and_catches_up(
    rights: RequestPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(rights)
    request = rights.ask("erasure", ("user_id", "ada"))
    for _ in range(3):
        with monkeypatch.context() as patch:

            def fail(tx: Transaction, fact: dict[str, Any], now: datetime) -> int:
                if fact["kind"] == "request.fulfilled":
                    raise OSError(28, "no space left")
                return append_fact(tx, fact, now)

            patch.setattr("cdp.audit.store.facts.append", fail)
            with pytest.raises(OSError, match="no space"):
                erase(rights.context, request.request_id)
        assert not is_behind(rights.context)
    rights.erase(("anonymous_id", "somebody-else"))
    erase(rights.context, request.request_id)
    assert not is_behind(restarted(rights.pipeline.context))


def test_an_unverified_link_of_a_browser_outlives_it(rights: RequestPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same where a profile goes on without the person: it is put right by whichever run comes last."""
    rights.pipeline.send({**ADA, "anonymousId": "hers"}, source=WEB)
    rights.pipeline.send(track(anonymousId="hers"), source=WEB)
    request = rights.ask("erasure", ("email", "ada@example.com"), ("user_id", "ada"))
    review(rights.context, request.request_id, excludes_rest=True, now=rights.pipeline.clock.now())
    context = rights.context
    for statement in range(1, 1_000):
        try:
            with dying_at(statement, monkeypatch):
                erase(context, request.request_id)
        except Died:
            context = anew(rights)
        else:
            break
    assert rights.pipeline.partition() == {frozenset({("anonymous_id", "hers")})}
    assert rights.pipeline.one("SELECT traits::text FROM consent.permitted WHERE purpose = 'analytics'") == "{}"
