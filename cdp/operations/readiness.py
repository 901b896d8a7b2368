"""Whether a service is able to do its work: one finding for each check, and what they mean together.

A check is critical if messages, consents or requests that are acknowledged now could not be stored; the service is then not
ready, and a load balancer sends requests elsewhere. Everything else that needs somebody degrades it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cdp.kit.wording import counted

_SILENT_SECONDS_MAX: Final = 60.0
_FAILURES_MAX: Final = 3
_RARE_SECONDS: Final = 600.0


class ReadinessCheck(StrEnum):
    """What is checked."""

    DATABASE = "database"
    MIGRATIONS = "migrations"
    REPLAY = "replay"
    DISK = "disk"
    KEYS = "keys"
    AUDIT_COPY = "audit_copy"
    WORKER = "worker"
    CONNECTIONS = "connections"
    LOGINS = "logins"


class CheckState(StrEnum):
    """The result of a check; unknown if what it needs has failed."""

    OK = "ok"
    DEGRADED = "degraded"
    FAILING = "failing"
    UNKNOWN = "unknown"


class OverallState(StrEnum):
    """What all checks mean together."""

    READY = "ready"
    DEGRADED = "degraded"
    NOT_READY = "not_ready"


_CRITICAL: Final = frozenset(
    {ReadinessCheck.DATABASE, ReadinessCheck.MIGRATIONS, ReadinessCheck.REPLAY, ReadinessCheck.DISK}
)


@dataclass(frozen=True, slots=True)
class ReadinessFinding:
    """One check: its result, and for operators what is wrong, what to do, and the code of the fault."""

    check: ReadinessCheck
    state: CheckState = CheckState.OK
    detail: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True)
class TaskStatus:
    """A task of the worker: whether its thread runs, the seconds since it last succeeded, and its failures since then.

    Nothing may be stored for long while a vital task does not succeed.
    """

    name: str
    every_seconds: float
    is_vital: bool
    is_running: bool
    silent_seconds: float
    failures_in_row: int

    @property
    def is_stalled(self) -> bool:
        """Whether it has not succeeded for a minute longer than three of its intervals, or has no thread."""
        return not self.is_running or self.silent_seconds > _SILENT_SECONDS_MAX + 3 * self.every_seconds

    @property
    def is_failing(self) -> bool:
        """Whether it fails and does not recover by itself soon."""
        return self.failures_in_row >= (1 if self.every_seconds >= _RARE_SECONDS else _FAILURES_MAX)


def state_if_failed(check: ReadinessCheck) -> CheckState:
    """The state of a check that has failed."""
    return CheckState.FAILING if check in _CRITICAL else CheckState.DEGRADED


def failed(check: ReadinessCheck, detail: str, code: str = "") -> ReadinessFinding:
    """The finding of a check that has failed."""
    return ReadinessFinding(check, state_if_failed(check), detail, code)


def judge_tasks(tasks: Sequence[TaskStatus]) -> ReadinessFinding:
    """The finding about the worker: critical if a vital task is stalled, for then nothing tells this service about new policies and
    destroyed keys."""
    stalled = [task for task in tasks if task.is_stalled]
    failing = [task for task in tasks if task.is_failing and not task.is_stalled]
    if not stalled and not failing:
        return ReadinessFinding(ReadinessCheck.WORKER)
    listed = [f"{task.name} has not succeeded for {task.silent_seconds:,.0f} seconds" for task in stalled]
    listed += [f"{task.name} has failed {counted(task.failures_in_row, 'time')} in a row" for task in failing]
    state = CheckState.FAILING if any(task.is_vital for task in stalled) else CheckState.DEGRADED
    detail = f"Tasks of the worker: {'; '.join(listed)}. The log has the reason of each failure as task_failed."
    return ReadinessFinding(ReadinessCheck.WORKER, state, detail, "task_stalled" if stalled else "task_failing")


def judge(findings: Iterable[ReadinessFinding]) -> OverallState:
    """What findings mean together."""
    states = {finding.state for finding in findings}
    if CheckState.FAILING in states:
        return OverallState.NOT_READY
    return OverallState.READY if states <= {CheckState.OK} else OverallState.DEGRADED
