"""Task: drop cached keys when another process may have shredded some."""

from cdp.flows.operations.maintenance import read_generation
from cdp.flows.operations.startup import PolicyWatcher
from cdp.worker.task import Task


class KeyWatch:
    """Evicts cached keys, and the profiles that ingest caches with them, when the version of the mapping changed."""

    def __init__(self, watcher: PolicyWatcher) -> None:
        self._watcher = watcher
        self._version: int | None = None

    def run(self) -> None:
        """Compare the version of the mapping with the one seen last."""
        context = self._watcher.context
        version = read_generation(context).version
        if version != self._version:
            self._version = version
            context.vault.subject_keys.evict_all(version=version)


def create_task(watcher: PolicyWatcher) -> Task:
    """Check twice a second whether cached keys are still valid."""
    return Task("keys", 0.5, KeyWatch(watcher).run, is_vital=True)
