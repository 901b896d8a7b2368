"""Task: follow the policy that another process put in force."""

import logging

from cdp.flows.consent.recompute import recompute_all_verdicts
from cdp.flows.operations.computed_traits import apply_definitions
from cdp.flows.operations.startup import PolicyWatcher
from cdp.worker.task import Task

_log = logging.getLogger(__name__)


def create_task(watcher: PolicyWatcher) -> Task:
    """Look for a new policy every two seconds."""
    return Task("policy", 2, lambda: _follow(watcher), is_vital=True)


def _follow(watcher: PolicyWatcher) -> None:
    if not watcher.follow_policy():
        return
    context = watcher.context
    # Profiles created between the two policies have verdicts under the old one.
    recompute_all_verdicts(context.database, context.policy)
    apply_definitions(context.database, context.policy, context.clock.now())
    _log.info("policy_followed", extra={"policy": context.policy.fingerprint[:12]})
