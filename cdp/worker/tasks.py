"""Every task of the worker.

The audit log is signed several times a second; withdrawals are cleared and grants expire within seconds; the retention
sweep runs every hour.
"""

from cdp.flows.operations.startup import PolicyWatcher
from cdp.worker import (
    accounting,
    audit_log,
    checkpoints,
    clock,
    computed_traits,
    consent_expiry,
    deferred,
    due_memberships,
    keys,
    landmarks,
    memberships,
    policy,
    reader_sessions,
    requests,
    retention,
    scrub,
    segment_plans,
    segments,
    withdrawals,
)
from cdp.worker.runner import Worker

_TASKS = (
    clock,
    audit_log,
    keys,
    policy,
    consent_expiry,
    reader_sessions,
    withdrawals,
    deferred,
    memberships,
    due_memberships,
    segment_plans,
    segments,
    retention,
    scrub,
    requests,
    accounting,
    landmarks,
    computed_traits,
    checkpoints,
)


def create_worker(watcher: PolicyWatcher) -> Worker:
    """A worker with every task there is, under the policy in force."""
    return Worker([module.create_task(watcher) for module in _TASKS])
