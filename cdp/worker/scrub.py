"""Task: overwrite on disk what erasures left behind."""

import logging

from cdp.flows.operations.startup import PolicyWatcher
from cdp.flows.rights.scrub import is_scrub_due, scrub
from cdp.worker.task import Task

_log = logging.getLogger(__name__)


def create_task(watcher: PolicyWatcher) -> Task:
    """Check every hour whether a scrub is due."""
    return Task("scrub", 3600, lambda: _scrub(watcher))


def _scrub(watcher: PolicyWatcher) -> None:
    context = watcher.context
    now = context.clock.now()
    if is_scrub_due(context, now):
        scrubbed = scrub(context.database, now)
        _log.info("scrubbed", extra={"count": len(scrubbed.tables), "pending": len(scrubbed.not_scrubbed)})
