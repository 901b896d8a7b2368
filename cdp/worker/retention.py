"""Task: the retention sweep."""

import logging

from cdp.flows.operations.retention import sweep
from cdp.flows.operations.startup import PolicyWatcher
from cdp.worker.task import Task

_log = logging.getLogger(__name__)


def create_task(watcher: PolicyWatcher) -> Task:
    """Sweep every hour."""
    return Task("retention", 3600, lambda: _sweep(watcher))


def _sweep(watcher: PolicyWatcher) -> None:
    context = watcher.context
    swept = sweep(context, context.clock.now())
    rows = sum(line.rows for line in swept.lines)
    if rows or swept.postponed:
        _log.info("retention_swept", extra={"rows": rows, "pending": len(swept.postponed)})
