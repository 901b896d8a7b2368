"""The worker: tasks turn in their rhythm, a fault ends one turn only, and a silent task is noticed."""

import threading
import time

import pytest

from cdp.kit.errors import Fault
from cdp.worker.runner import TaskState, Worker
from cdp.worker.task import Task
from tests.support.waits import PATIENCE_SECONDS, until


def test_tasks_turn_until_the_worker_is_stopped() -> None:
    turns: list[float] = []
    enough = threading.Event()

    def turn() -> None:
        turns.append(time.monotonic())
        if len(turns) == 3:
            enough.set()

    worker = Worker([Task("one", 0.01, turn)])
    worker.start()
    assert enough.wait(PATIENCE_SECONDS)
    was_alive = worker.is_alive
    assert was_alive
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
    assert done.wait(PATIENCE_SECONDS)
    assert worker.failures == {"one": 2}
    worker.stop()


def test_a_vital_task_that_fails_for_a_minute_makes_the_worker_not_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdp.worker.runner._SILENT_SECONDS_MAX", 0.2)

    def fail() -> None:
        raise Fault("away", "Away", status=503)

    vital, other = Worker([Task("one", 0.01, fail, is_vital=True)]), Worker([Task("one", 0.01, fail)])
    for worker in (vital, other):
        worker.start()
    until(lambda: vital.failures["one"] and not vital.is_alive)
    assert other.is_alive
    for worker in (vital, other):
        worker.stop()


def test_a_task_that_fails_again_and_again_is_left_alone_for_longer_each_time_and_never_for_long() -> None:
    failing = TaskState()
    pauses = [failing.pause_seconds]
    for _ in range(20):
        failing.fail()
        pauses.append(failing.pause_seconds)
    assert pauses[:7] == sorted(set(pauses[:7]))
    assert (pauses[0], pauses[-1]) == (0, 5)


def test_one_task_that_hangs_does_not_keep_the_others_from_turning() -> None:
    release, turned = threading.Event(), threading.Event()
    worker = Worker([Task("hangs", 1, lambda: bool(release.wait(PATIENCE_SECONDS))), Task("turns", 0.01, turned.set)])  # type: ignore[arg-type]
    worker.start()
    assert turned.wait(PATIENCE_SECONDS)
    release.set()
    worker.stop()
