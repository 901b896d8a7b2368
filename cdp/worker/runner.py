"""The worker: runs each task in a thread of its own. A failure ends one run of a task, never the task."""

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from cdp.kit.errors import Fault
from cdp.operations.readiness import TaskStatus
from cdp.worker.task import Task

_PAUSE_SECONDS_MAX: Final = 5.0
_PAUSE_SECONDS_MIN: Final = 0.05
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class TaskState:
    """When a task last succeeded, on the monotonic clock, and how often it has failed since the start."""

    succeeded_at: float = field(default_factory=time.monotonic)
    failures: int = 0
    failures_in_row: int = 0

    def fail(self) -> None:
        """Count a failed run."""
        self.failures += 1
        self.failures_in_row += 1

    def succeed(self) -> None:
        """Note a successful run."""
        self.succeeded_at, self.failures_in_row = time.monotonic(), 0

    @property
    def pause_seconds(self) -> float:
        """How long to wait before a failing task is run again; bounded, so that it recovers soon."""
        return min(_PAUSE_SECONDS_MAX, 0.1 * 2.0 ** min(self.failures_in_row, 10)) if self.failures_in_row else 0.0


class Worker:
    """Runs tasks until it is stopped."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._tasks = tuple(tasks)
        self._states = {task.name: TaskState() for task in tasks}
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start a thread for each task. Call once."""
        for task in self._tasks:
            self._states[task.name] = TaskState()
            thread = threading.Thread(target=self._run, args=(task,), name=f"cdp-{task.name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self, seconds: float = 20.0) -> None:
        """Let every task finish its current run; the transaction of one that takes longer than this is rolled back."""
        self._stopping.set()
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def wait(self, seconds: float) -> None:
        """Sleep, or return earlier when the worker is stopped meanwhile."""
        self._stopping.wait(seconds)

    def status(self) -> list[TaskStatus]:
        """Every task as it stands."""
        now = time.monotonic()
        return [
            TaskStatus(
                name=task.name,
                every_seconds=task.every_seconds,
                is_vital=task.is_vital,
                is_running=thread.is_alive(),
                silent_seconds=now - self._states[task.name].succeeded_at,
                failures_in_row=self._states[task.name].failures_in_row,
            )
            for task, thread in zip(self._tasks, self._threads, strict=True)
        ]

    @property
    def failures(self) -> dict[str, int]:
        """Failed runs by task since the start."""
        return {name: state.failures for name, state in self._states.items()}

    def _run(self, task: Task) -> None:
        state = self._states[task.name]
        while not self._stopping.is_set():
            started_at = time.monotonic()
            try:
                task.run()
            except Fault as fault:
                _log.warning("task_failed", extra={"task": task.name, "code": fault.code})
                state.fail()
            except Exception:  # noqa: BLE001 - whatever makes one run fail, the next one is tried
                _log.exception("task_failed", extra={"task": task.name})
                state.fail()
            else:
                state.succeed()
            spent = time.monotonic() - started_at
            self._stopping.wait(max(_PAUSE_SECONDS_MIN, task.every_seconds - spent, state.pause_seconds))
