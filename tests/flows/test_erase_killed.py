"""An erasure that is killed anywhere goes on where it was: real processes, real `kill -9`."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cdp.flows.rights import requests
from cdp.flows.rights.erase import erase
from cdp.kit.db import Database
from cdp.rights.model import Status
from tests.support.messages import numbered_order
from tests.support.people import ADA, BOB
from tests.support.policies import permit_all
from tests.support.requests import RequestPipeline, open_request_pipeline
from tests.support.waits import until_disconnected

pytestmark = pytest.mark.postgres
STEPS = (0, 7, 12, 40, 61, 83)

_RUN = """
import sys
from datetime import datetime
from pathlib import Path
from cdp.flows.rights.erase import erase
from cdp.flows.operations.startup import open_context
from cdp.kit.clock import TestClock
from cdp.kit.db import Database
from tests.support.killed import kill_after
from tests.support.policies import permit_all

url, home, request_id, at = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), datetime.fromisoformat(sys.argv[4])
context = open_context(Database(url, application_name="killed"), permit_all(), TestClock(at), home=home)
kill_after(int(sys.argv[5]))
erase(context, request_id, rows_max=2)
"""


@pytest.fixture
def rights(database: Database, tmp_path: Path) -> RequestPipeline:
    return open_request_pipeline(database, permit_all(), tmp_path)


def test_killed_at_any_step_it_ends_as_if_it_had_not_been(rights: RequestPipeline, database_url: str) -> None:
    rights.pipeline.send(BOB)
    before = rights.counts(without=["vault.subject_key"])
    rights.pipeline.send(ADA, *[numbered_order(number) for number in range(60)])
    request = rights.ask("erasure", ("user_id", "ada"))
    now = rights.pipeline.clock.now()
    command = [sys.executable, "-c", _RUN, database_url, str(rights.home), str(request.request_id), now.isoformat()]
    root = Path(__file__).parents[2]
    for steps in STEPS:
        child = subprocess.run([*command, str(steps)], cwd=root, env={**os.environ, "PYTHONPATH": str(root)})
        assert child.returncode == -signal.SIGKILL, "it was over before"
        until_disconnected(rights.context.database, "killed")
    done = requests.run(rights.context, request.request_id, now)
    rows = {each.table: each.rows for each in done.steps}
    assert done.request.status is Status.FULFILLED
    assert rights.counts(without=["vault.subject_key"]) == before
    assert (rows["behavior.event"], rows["rights.hold"]) == (61, 60)
    assert rights.pipeline.one("SELECT count(*) FROM rights.hold") == 60
    assert rights.pipeline.one("SELECT count(*) FROM audit.fact WHERE kind = 'request.fulfilled'") == 1


@pytest.mark.parametrize(
    "broken", ["cdp.audit.store.facts.append", "cdp.rights.store.replay_position.append", "cdp.vault.store.delete_keys"]
)
def test_a_fault_in_the_last_transaction_takes_it_back_whole(
    rights: RequestPipeline, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rights.pipeline.send(ADA, numbered_order(1))
    request = rights.ask("erasure", ("user_id", "ada"))
    before = rights.counts()
    with monkeypatch.context() as patch:

        def fail(*args: Any, **more: Any) -> None:
            raise OSError(28, "no space left")

        patch.setattr(broken, fail)
        with pytest.raises(OSError, match="no space"):
            erase(rights.context, request.request_id)
    assert rights.counts() == before
    assert erase(rights.context, request.request_id).request.status is Status.FULFILLED
