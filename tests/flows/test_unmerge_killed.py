"""An unmerge, its undo and a rebuild that are killed halfway, and a rebuild while others write."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from cdp.flows.identity.unmerge import rebuild, remerge, unmerge
from cdp.flows.ingest.batch import Ingest
from cdp.identity.model import Identifier
from cdp.kit.clock import TestClock
from cdp.kit.db import Database, Transaction
from cdp.kit.errors import Fault
from cdp.policy.model import Policy
from tests.flows.test_identity_races import crowd
from tests.generative.test_identity_batches import check_map
from tests.generative.test_identity_undo import check_covered
from tests.support.messages import consent_context, track
from tests.support.people import NOON
from tests.support.pipeline import Pipeline, open_pipeline
from tests.support.policies import changed, permit_all, segment_unify, shipped
from tests.support.requests import RequestPipeline, open_request_pipeline

pytestmark = pytest.mark.postgres
U1, A1, MAIL = Identifier("user_id", "u1"), Identifier("anonymous_id", "a1"), Identifier("email", "p@example.com")


def single() -> Policy:
    """The shipped policy, but with one browser per person."""
    browser = shipped().documents["identifiers.yaml"]["types"]["anonymous_id"]  # type: ignore[index,call-overload]
    return changed(shipped(), "identifiers.yaml", types={"anonymous_id": {**browser, "limit": {"count": 1}}})  # type: ignore[dict-item]


USE_CASES: dict[str, Callable[[Pipeline], object]] = {
    "unmerge": lambda pipeline: unmerge(pipeline.context, U1, A1, dry_run=False),
    "remerge": lambda pipeline: remerge(pipeline.context, U1, MAIL, dry_run=False),
    "rebuild": lambda pipeline: rebuild(pipeline.context),
}


def populate(rights: RequestPipeline) -> None:
    """Store a customer with two devices, consents and events on both, and an address that is already unmerged."""
    pipeline = rights.pipeline
    granted = consent_context(analytics=True)
    pipeline.send(track(anonymousId="a1", context=granted), track(anonymousId="a2", context=granted))
    pipeline.send(track(userId="u1", anonymousId="a1", context={"traits": {"email": "p@example.com"}}))
    pipeline.send(track(userId="u1", anonymousId="a2"), track(anonymousId="a2"), track(anonymousId="a1"))
    unmerge(pipeline.context, U1, MAIL, dry_run=False)


@pytest.mark.parametrize("statement", [8, 24, 40])
@pytest.mark.parametrize("use_case", USE_CASES)
def test_a_killed_use_case_leaves_nothing_half_done_and_can_be_repeated(
    use_case: str, statement: int, database: Database, database_url: str, tmp_path: Path
) -> None:
    rights = open_request_pipeline(database, shipped(), tmp_path)
    populate(rights)
    pipeline = rights.pipeline
    before = state(pipeline)
    command = [sys.executable, "-m", "tests.flows.test_unmerge_killed", database_url, str(tmp_path), use_case]
    killed = subprocess.run([*command, str(statement)], stdout=subprocess.PIPE, text=True, check=False)
    assert killed.stdout == "begun\n"
    after = open_pipeline(database, single(), tmp_path) if use_case == "rebuild" else pipeline
    if killed.returncode == -signal.SIGKILL and state(pipeline) == before:
        USE_CASES[use_case](after)
    assert state(pipeline) != before
    check_map(after)
    check_covered(RequestPipeline(after, rights.context, rights.home))
    assert rebuild(after.context).changed == 0


def state(pipeline: Pipeline) -> list[Any]:
    """The mapping, the pairs kept apart, the evidence, and the verdicts."""
    with pipeline.context.database.transaction(read_only=True) as tx:
        queries = (
            "SELECT identifier_id, profile_id FROM identity.link ORDER BY 1",
            "SELECT anchor_id, profile_id FROM identity.canonical ORDER BY 1",
            "SELECT identifier_id, other_identifier_id FROM identity.never ORDER BY 1, 2",
            "SELECT evidence_id, kind FROM identity.evidence ORDER BY 1",
            "SELECT profile_id, purpose, since, until FROM consent.permitted ORDER BY 1, 2",
        )
        return [tx.execute(query) for query in queries]


def test_a_rebuild_beside_writers_ends_in_the_map_of_the_recorded_sequence(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    open_pipeline(database, permit_all(), tmp_path).send_each(crowd(1, 60))
    pipeline = open_pipeline(database, segment_unify(), tmp_path)
    faults: list[BaseException] = []

    def write(seed: int) -> None:
        own = Database(database_url)
        try:
            ingest = Ingest(
                own,
                pipeline.context.vault,
                pipeline.context.policy,
                clock=TestClock(NOON),
                replay=pipeline.context.replay,
            )
            bodies = crowd(seed, 60)
            for start in range(0, len(bodies), 5):
                ingest.process([pipeline.message(body) for body in bodies[start : start + 5]])
        except BaseException as fault:
            faults.append(fault)
        finally:
            own.close()

    writers = [threading.Thread(target=write, args=(seed,)) for seed in (2, 3)]
    for writer in writers:
        writer.start()
    for number in range(4):
        rebuild(pipeline.context)
        unmerge_browser(pipeline, Identifier("user_id", f"u{number}"))
    for writer in writers:
        writer.join()
    assert not faults
    assert pipeline.one("SELECT count(*) FROM behavior.event") == 180
    check_map(pipeline)
    assert rebuild(pipeline.context).changed == 0


def unmerge_browser(pipeline: Pipeline, customer: Identifier) -> None:
    """Unmerge a browser of the customer, if there is one."""
    for owned in pipeline.people().values():
        if customer.value in owned.get("user_id", ()) and owned.get("anonymous_id"):
            try:
                unmerge(
                    pipeline.context, customer, Identifier("anonymous_id", min(owned["anonymous_id"])), dry_run=False
                )
            except Fault as fault:
                assert fault.code == "not_merged"  # noqa: PT017 - another writer was faster
            return


def _be_killed(url: str, folder: str, use_case: str, statement: str) -> None:
    database = Database(url)
    pipeline = open_pipeline(database, single() if use_case == "rebuild" else shipped(), Path(folder))
    sent, execute = count(1), Transaction.execute

    def counted(tx: Transaction, *arguments: Any, **named: Any) -> Any:
        if next(sent) == int(statement):
            os.kill(os.getpid(), signal.SIGKILL)
        return execute(tx, *arguments, **named)

    print("begun", flush=True)
    pytest.MonkeyPatch().setattr(Transaction, "execute", counted)
    USE_CASES[use_case](pipeline)


if __name__ == "__main__":
    _be_killed(*sys.argv[1:])
