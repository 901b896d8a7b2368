"""The worker: tasks turn in their rhythm, a fault ends one turn only, and a silent task is noticed."""

import threading
import time

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
    worker.stop()
    count = len(turns)
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


def test_the_status_of_a_task_tells_of_its_failures_and_of_its_end() -> None:
    errors: list[Exception] = [RuntimeError("broken")] * 3

    def turn() -> None:
        if errors:
            raise errors.pop()

    worker = Worker([Task("one", 0.01, turn, is_vital=True)])
    worker.start()
    until(lambda: worker.status()[0].failures_in_row == 3)
    until(lambda: worker.status()[0].failures_in_row == 0)
    (status,) = worker.status()
    assert (status.name, status.every_seconds, status.is_vital, status.is_running) == ("one", 0.01, True, True)
    assert status.silent_seconds < PATIENCE_SECONDS
    worker.stop()
    assert not worker.status()[0].is_running


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
