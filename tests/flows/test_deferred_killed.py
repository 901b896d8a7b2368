"""What waits is killed anywhere: real processes, real `kill -9`, at the statements of a refusal, of opening, and of the end of a term."""

import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from cdp.kit.db import Database
from tests.support.deferring import Deferring, open_deferring
from tests.support.policies import shipped
from tests.support.requests import open_request_pipeline
from tests.support.waits import until_disconnected

pytestmark = pytest.mark.postgres

_RUN = """
import sys
from datetime import datetime
from pathlib import Path
from cdp.flows.consent.acts import ConsentStatement, record
from cdp.flows.ingest.reopen import end_deferrals, open_granted
from cdp.flows.operations.startup import open_context
from cdp.kit.clock import TestClock
from cdp.kit.db import Database
from tests.support.killed import kill_after
from tests.support.policies import shipped

url, home, at, does, first = sys.argv[1], Path(sys.argv[2]), datetime.fromisoformat(sys.argv[3]), sys.argv[4], int(sys.argv[5])

context = open_context(Database(url, application_name="killed"), shipped(), TestClock(at), home=home)
statement = ConsentStatement(("anonymous_id", "d"), "analytics", "refuse", jurisdiction="eu")
act = {"open": lambda: open_granted(context), "end": lambda: end_deferrals(context), "refuse": lambda: record(context, statement)}[does]
kill_after(first)
act()
print("finished")
"""


@pytest.fixture
def store(database: Database, tmp_path: Path) -> Deferring:
    return open_deferring(database, open_request_pipeline(database, shipped(), tmp_path))


def until_finished(store: Deferring, database_url: str, does: str, *, step: int = 1) -> int:
    """Run it again and again, killed `step` statements later each time, until it is not killed; gives the number of kills."""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", _RUN, database_url, str(store.rights.home), store.now.isoformat(), does]
    for kills, first in enumerate(range(0, 500, step)):
        child = subprocess.run(
            [*command, str(first)], cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True
        )
        until_disconnected(store.rights.context.database, "killed")
        assert sum(store.states.values()) == 5
        if child.returncode != -signal.SIGKILL:
            assert b"finished" in child.stdout, child.stderr
            return kills
        assert store.waiting in (0, 4)
    raise AssertionError("it was never finished")


def fill(store: Deferring) -> None:
    """Four messages that wait, and one about another device that was answered."""
    for _ in range(4):
        store.view()
    store.answer("other", email_marketing=True)


@pytest.mark.slow
def test_opening_is_killed_anywhere(store: Deferring, database_url: str) -> None:
    at = store.now
    for _ in range(4):
        store.view()
    store.rights.later(minutes=1)
    store.answer(analytics=True)
    assert until_finished(store, database_url, "open", step=4) > 4
    assert (store.waiting, store.states) == (0, {"stored": 5})
    assert store.stored() == {at: {"analytics"}}
    assert store.one("SELECT count(*) FROM behavior.event") == 5


@pytest.mark.slow
@pytest.mark.parametrize(("does", "reason"), [("refuse", "refused"), ("end", "not_answered")])
def test_an_end_is_killed_anywhere(does: str, reason: str, store: Deferring, database_url: str) -> None:
    fill(store)
    if does == "end":
        store.rights.pipeline.clock.instant += timedelta(hours=24)
    assert until_finished(store, database_url, does) > 4
    assert (store.waiting, store.states) == (0, {"stored": 1, f"not_permitted {reason}": 4})
