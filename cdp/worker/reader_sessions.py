"""Task: end the database sessions of readers that are beyond a limit, or older than the last end of a permission."""

import logging

from cdp.flows.consent.logins import check_logins
from cdp.flows.consent.readers import ReaderWatch
from cdp.flows.operations.startup import PolicyWatcher
from cdp.worker.task import Task

_log = logging.getLogger(__name__)


def create_task(watcher: PolicyWatcher) -> Task:
    """Look every second: a session may keep what a withdrawal took for five seconds at most."""
    watch = ReaderWatch()
    _warn_of_gaps(watcher)
    return Task("reader_sessions", 1, lambda: _run(watch, watcher))


def _warn_of_gaps(watcher: PolicyWatcher) -> None:
    gaps = check_logins(watcher.context).gaps
    if gaps:
        _log.warning("reader_logins_unrestricted", extra={"gaps": [gap.name for gap in gaps], "remedy": "cdp logins"})


def _run(watch: ReaderWatch, watcher: PolicyWatcher) -> None:
    ended = watch.run(watcher.context)
    if ended:
        _log.info("reader_sessions_ended", extra={"count": sum(ended.values()), "reasons": sorted(ended)})
