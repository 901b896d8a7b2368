"""The worker: tasks turn in their rhythm, a fault ends one turn only, and a silent task is noticed."""

import threading
import time

import pytest

from cdp.kit.errors import Fault
from cdp.worker import Task, Worker


def test_tasks_turn_until_the_worker_is_stopped() -> None:
    turns: list[float] = []
    enough = threading.Event()

    def turn() -> None:
        turns.append(time.monotonic())
        if len(turns) == 3:
            enough.set()

    worker = Worker([Task("one", 0.01, turn)])
    worker.start()
    assert enough.wait(10)
    assert worker.is_alive
    worker.stop()
    count = len(turns)
    assert not worker.is_alive
    time.sleep(0.1)
    assert len(turns) == count


def test_a_fault_and_a_failure_end_one_turn_and_are_counted() -> None:
    errors: list[Exception] = [Fault("away", "Away", status=503), RuntimeError("broken")]
    done = threading.Event()

    def turn() -> None:
        if errors:
            raise errors.pop()
        done.set()

    worker = Worker([Task("one", 0.01, turn)])
    worker.start()
    assert done.wait(10)
    assert worker.failures == {"one": 2}
    worker.stop()


def test_a_vital_task_that_fails_for_a_minute_makes_the_worker_not_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdp.worker._SILENT_SECONDS_MAX", 0.2)

    def fail() -> None:
        raise Fault("away", "Away", status=503)

    vital, other = Worker([Task("one", 0.01, fail, is_vital=True)]), Worker([Task("one", 0.01, fail)])
    for worker in (vital, other):
        worker.start()
    time.sleep(0.5)
    assert (vital.is_alive, other.is_alive) == (False, True)
    assert vital.failures["one"] < 10, "it is left alone for longer each time"
    for worker in (vital, other):
        worker.stop()


def test_one_task_that_hangs_does_not_keep_the_others_from_turning() -> None:
    release, turned = threading.Event(), threading.Event()
    worker = Worker([Task("hangs", 1, lambda: bool(release.wait(20))), Task("turns", 0.01, turned.set)])  # type: ignore[arg-type,return-value]
    worker.start()
    assert turned.wait(10)
    release.set()
    worker.stop()
