"""Several real writers at once: the mapping is that of the recorded sequence, and there is no deadlock."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from cdp.accounting.model import Outcome, State
from cdp.flows.ingest.batch import Ingest
from cdp.kit.clock import TestClock
from cdp.kit.db import Database
from cdp.policy.load import load_policy
from tests.generative.test_identity_batches import check_broken, check_map
from tests.support.messages import track
from tests.support.people import NOON
from tests.support.pipeline import Pipeline, open_pipeline
from tests.support.policies import PERMIT_ALL, permit_all
from tests.support.waits import until_disconnected

pytestmark = pytest.mark.postgres
WRITERS = 4


def crowd(seed: int, size: int) -> list[dict[str, Any]]:
    """Messages that keep naming the same people, so that every writer merges what the others touch."""
    random = Random(seed)
    bodies = []
    for number in range(size):
        body: dict[str, Any] = track(messageId=f"{seed}-{number:04d}")
        if random.random() < 0.4:
            body["userId"] = f"u{random.randrange(12)}"
        if random.random() < 0.8 or "userId" not in body:
            body["anonymousId"] = f"a{random.randrange(40)}"
        if random.random() < 0.4:
            body["context"] = {"traits": {"email": f"p{random.randrange(12)}@example.com"}}
        bodies.append(body)
    return bodies


def race(pipeline: Pipeline, url: str, shares: Sequence[Sequence[dict[str, Any]]], batch: int) -> list[Outcome]:
    """Let each writer store its share with its own connection pool, as separate processes do."""
    outcomes: list[Outcome] = []
    faults: list[BaseException] = []

    def write(share: Sequence[dict[str, Any]]) -> None:
        database = Database(url)
        try:
            ingest = Ingest(
                database,
                pipeline.context.vault,
                pipeline.context.policy,
                clock=TestClock(NOON),
                replay=pipeline.context.replay,
            )
            for start in range(0, len(share), batch):
                outcomes.extend(ingest.process([pipeline.message(body) for body in share[start : start + batch]]))
        except BaseException as fault:
            faults.append(fault)
        finally:
            database.close()

    threads = [threading.Thread(target=write, args=(share,)) for share in shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    return outcomes


@pytest.mark.parametrize("seed", [1, 2])
def test_four_writers_end_in_the_partition_of_the_recorded_sequence(
    seed: int, database: Database, database_url: str, tmp_path: Path
) -> None:
    pipeline = open_pipeline(database, permit_all(), tmp_path)
    shares = [crowd(seed * 10 + writer, 120) for writer in range(WRITERS)]
    outcomes = race(pipeline, database_url, shares, batch=7)
    assert {each.state for each in outcomes} == {State.STORED}
    assert pipeline.one("SELECT count(*) FROM behavior.event") == WRITERS * 120
    check_map(pipeline)


def test_below_every_limit_the_partition_is_that_of_connected_components(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    pipeline = open_pipeline(database, permit_all(), tmp_path)
    random = Random(5)
    pairs = [(random.randrange(60), random.randrange(60)) for _ in range(48)]
    bodies = [
        track(anonymousId=f"a{one}", messageId=f"m{at}", context={"device": {"id": f"d{other}", "type": "ios"}})
        for at, (one, other) in enumerate(pairs)
    ]
    race(pipeline, database_url, [bodies[writer::WRITERS] for writer in range(WRITERS)], batch=3)
    ones, others = np.array(pairs).T
    graph = coo_matrix((np.ones(len(pairs)), (ones, others + 60)), shape=(120, 120))
    _, labels = connected_components(graph, directed=False)
    groups: dict[int, set[tuple[str, str]]] = {}
    for one, other in pairs:
        groups.setdefault(labels[one], set()).update({("anonymous_id", f"a{one}"), ("ios.id", f"d{other}")})
    assert max(map(len, groups.values())) <= 20, "the data must stay below every limit"
    assert pipeline.partition() == set(map(frozenset, groups.values()))


def test_the_same_messages_from_every_writer_count_once(database: Database, database_url: str, tmp_path: Path) -> None:
    pipeline = open_pipeline(database, permit_all(), tmp_path)
    bodies = crowd(3, 60)
    outcomes = race(pipeline, database_url, [bodies] * WRITERS, batch=5)
    assert sum(each.state is State.STORED for each in outcomes) == 60
    assert sum(each.state is State.DUPLICATE for each in outcomes) == 60 * (WRITERS - 1)
    assert pipeline.one("SELECT count(*) FROM behavior.event") == 60
    check_map(pipeline)


def test_a_writer_killed_in_the_middle_leaves_nothing_half_done(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    pipeline = open_pipeline(database, permit_all(), tmp_path)
    command = [sys.executable, "-m", "tests.flows.test_identity_races", database_url, str(tmp_path / "keys")]
    for pause in (0.05, 0.3, 0.7):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        time.sleep(pause)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        until_disconnected(database, "killed")
        check_broken(pipeline)
        assert pipeline.one("SELECT count(*) FROM behavior.event") == pipeline.one(
            "SELECT count(*) FROM behavior.duplicate"
        )
    pipeline.send(*crowd(99, 20))
    check_map(pipeline)


def _write_until_killed(url: str, keys: str) -> None:
    pipeline = open_pipeline(Database(url, application_name="killed"), load_policy(PERMIT_ALL), Path(keys).parent)
    for number in count():
        pipeline.send(*crowd(1000 + number, 25))
        if number == 0:
            print("writing", flush=True)


if __name__ == "__main__":
    _write_until_killed(sys.argv[1], sys.argv[2])
