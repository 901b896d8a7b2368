"""Task: compare a random sample of computed traits with their recomputation."""

from cdp.flows.operations.computed_traits import check_sample
from cdp.flows.operations.startup import PolicyWatcher
from cdp.kit.ids import new_id
from cdp.worker.task import Task


def create_task(watcher: PolicyWatcher) -> Task:
    """Check a sample every ten minutes."""
    return Task("computed-traits", 600, lambda: _check(watcher))


def _check(watcher: PolicyWatcher) -> None:
    """`check_sample` logs and corrects every difference."""
    context = watcher.context
    check_sample(context.database, context.policy, context.clock.now(), from_profile=new_id())
