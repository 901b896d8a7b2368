"""What ingest keeps in memory does not outlive the person, and does not hide what retention took away."""

import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cdp.accounting.model import Outcome, State
from cdp.flows.ingest.batch import Ingest
from cdp.flows.operations import retention
from cdp.flows.operations.policy import apply_policy
from cdp.identity.store import generation as generation_store
from cdp.kit.db import Database
from tests.support.messages import track
from tests.support.people import NOON
from tests.support.pipeline import open_pipeline
from tests.support.policies import changed, permit_all
from tests.support.requests import open_request_pipeline
from tests.support.waits import PATIENCE_SECONDS

pytestmark = pytest.mark.postgres

SEEN = track()
STORED = [Outcome(State.STORED)]


def test_whoever_is_erased_leaves_the_memory_of_the_process_at_once(database: Database, tmp_path: Path) -> None:
    """Without another message having to come."""
    rights = open_request_pipeline(database, permit_all(), tmp_path)
    pipeline = rights.pipeline
    for _ in range(3):
        assert pipeline.send({**SEEN, "userId": "ada", "anonymousId": "phone"}) == STORED
    assert pipeline.ingest.profile_cache.recognized == 2
    assert pipeline.ingest.cached_values == 1 + 2
    rights.erase(("user_id", "ada"))
    assert pipeline.ingest.cached_values == 0


def test_whom_another_process_erased_leaves_it_as_soon_as_the_version_is_seen(
    database: Database, tmp_path: Path
) -> None:
    rights = open_request_pipeline(database, permit_all(), tmp_path / "one")
    pipeline = rights.pipeline
    pipeline.send({**SEEN, "userId": "ada"})
    pipeline.send({**SEEN, "userId": "ada"})
    with database.transaction() as tx:
        ours = generation_store.generation(tx).version
    pipeline.context.vault.subject_keys.evict_all(version=ours)
    assert pipeline.ingest.cached_values == 2, "nobody else changed anything"
    with database.transaction() as tx:
        generation_store.lock_exclusive(tx)
        theirs = generation_store.advance(tx, changed=True).version
    pipeline.context.vault.subject_keys.evict_all(version=theirs)
    assert pipeline.ingest.cached_values == 0


def test_an_erasure_while_a_batch_is_on_its_way_is_heard_at_its_end(database: Database, tmp_path: Path) -> None:
    pipeline = open_pipeline(database, permit_all(), tmp_path)
    pipeline.send({**SEEN, "userId": "ada"})

    def somebody_else_erases() -> None:
        other = threading.Thread(target=pipeline.context.vault.subject_keys.evict, args=([1],), daemon=True)
        other.start()
        other.join(PATIENCE_SECONDS)
        assert not other.is_alive()

    pipeline.ingest.process(
        [pipeline.message({**SEEN, "userId": "ada"})], also=lambda tx, _: tx.on_commit(somebody_else_erases)
    )
    assert pipeline.ingest.cached_values == 0
    assert pipeline.send({**SEEN, "userId": "ada"}) == STORED


def test_an_ingest_that_nobody_holds_is_not_kept_by_the_vault(database: Database, tmp_path: Path) -> None:
    pipeline = open_pipeline(database, permit_all(), tmp_path)
    pipeline.ingest = Ingest(
        database, pipeline.context.vault, pipeline.context.policy, clock=pipeline.clock, replay=pipeline.context.replay
    )
    pipeline.context.vault.subject_keys.evict_all()
    assert pipeline.send({**SEEN, "userId": "ada"}) == STORED


def test_a_policy_that_keeps_longer_takes_what_the_one_before_dropped(database: Database, tmp_path: Path) -> None:
    """The month is made anew, although this process made it before."""
    pipeline = open_pipeline(database, permit_all(), tmp_path)
    then = NOON - timedelta(days=1)
    seen = {**SEEN, "userId": "ada", "timestamp": then.isoformat()}
    assert pipeline.send(seen) == STORED
    browsing: Any = permit_all().documents["retention.yaml"]["classes"]["browsing"]  # type: ignore[index,call-overload]
    pipeline.clock.instant += timedelta(days=browsing["keep_for_days"] + 40)
    swept = retention.sweep(pipeline.context, pipeline.clock.now())
    assert not swept.postponed
    assert pipeline.one("SELECT count(*) FROM behavior.event") == 0
    longer = changed(permit_all(), "retention.yaml", classes={"browsing": {**browsing, "keep_for_days": 3_000}})
    context = apply_policy(pipeline.context, longer).context
    pipeline.ingest = Ingest(database, context.vault, context.policy, clock=pipeline.clock, replay=context.replay)
    assert pipeline.send(seen) == STORED
