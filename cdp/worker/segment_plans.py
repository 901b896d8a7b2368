"""Task: plan the instants at which time alone changes memberships, for segments that are new or nearly out of plan."""

from cdp.flows.operations.startup import PolicyWatcher
from cdp.flows.segments import schedule
from cdp.worker.task import Task


def create_task(watcher: PolicyWatcher) -> Task:
    """Look for segments without a plan every second."""
    return Task("segment_plans", 1, lambda: schedule.plan_unplanned(watcher.context))
