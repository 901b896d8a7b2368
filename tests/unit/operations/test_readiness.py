"""What checks mean: which are critical, when a task counts as stalled, and what all mean together."""

import pytest

from cdp.operations.readiness import (
    CheckState,
    OverallState,
    ReadinessCheck,
    ReadinessFinding,
    TaskStatus,
    failed,
    judge,
    judge_tasks,
)


def task(
    name: str = "scrub",
    *,
    every: float = 1.0,
    is_vital: bool = False,
    is_running: bool = True,
    silent: float = 0.0,
    failures: int = 0,
) -> TaskStatus:
    return TaskStatus(name, every, is_vital, is_running, silent, failures)


@pytest.mark.parametrize("check", ReadinessCheck)
def test_a_check_is_critical_if_acknowledged_writes_could_not_be_stored(check: ReadinessCheck) -> None:
    is_critical = check in (
        ReadinessCheck.DATABASE,
        ReadinessCheck.MIGRATIONS,
        ReadinessCheck.REPLAY,
        ReadinessCheck.DISK,
    )
    assert failed(check, "broken").state is (CheckState.FAILING if is_critical else CheckState.DEGRADED)


@pytest.mark.parametrize(
    ("states", "meaning"),
    [
        ([], OverallState.READY),
        ([CheckState.OK], OverallState.READY),
        ([CheckState.OK, CheckState.UNKNOWN], OverallState.DEGRADED),
        ([CheckState.OK, CheckState.DEGRADED], OverallState.DEGRADED),
        ([CheckState.DEGRADED, CheckState.FAILING, CheckState.OK], OverallState.NOT_READY),
    ],
)
def test_the_worst_finding_counts(states: list[CheckState], meaning: OverallState) -> None:
    assert judge([ReadinessFinding(ReadinessCheck.DISK, state) for state in states]) is meaning


@pytest.mark.parametrize(
    ("tasks", "state", "code"),
    [
        ([], CheckState.OK, ""),
        ([task(silent=62, failures=2)], CheckState.OK, ""),
        ([task(silent=64)], CheckState.DEGRADED, "task_stalled"),
        ([task(silent=64, is_vital=True)], CheckState.FAILING, "task_stalled"),
        ([task(is_running=False)], CheckState.DEGRADED, "task_stalled"),
        ([task(is_running=False, is_vital=True)], CheckState.FAILING, "task_stalled"),
        ([task(failures=3)], CheckState.DEGRADED, "task_failing"),
        ([task(failures=3, is_vital=True)], CheckState.DEGRADED, "task_failing"),
        ([task(every=3600, silent=10_000)], CheckState.OK, ""),
        ([task(every=3600, silent=10_900)], CheckState.DEGRADED, "task_stalled"),
        ([task(every=3600, failures=1)], CheckState.DEGRADED, "task_failing"),
    ],
)
def test_tasks_of_the_worker(tasks: list[TaskStatus], state: CheckState, code: str) -> None:
    finding = judge_tasks(tasks)
    assert (finding.check, finding.state, finding.code) == (ReadinessCheck.WORKER, state, code)


def test_the_finding_names_the_tasks_and_what_is_wrong_with_them() -> None:
    finding = judge_tasks([task("scrub", silent=3_000), task("segments", failures=4), task("keys")])
    assert "scrub has not succeeded for 3,000 seconds" in finding.detail
    assert "segments has failed 4 times in a row" in finding.detail
    assert "keys" not in finding.detail
