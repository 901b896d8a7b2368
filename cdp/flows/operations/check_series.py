"""Checks that run one after the other in a thread of their own, so that who asks never waits for what hangs."""

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from cdp.kit.errors import lacks_resources
from cdp.operations.readiness import CheckState, ReadinessCheck, ReadinessFinding, failed

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Series:
    """Checks that run one after the other in one thread: their names, and a function that yields their findings in order."""

    checks: tuple[ReadinessCheck, ...]
    run: Callable[[], Iterator[ReadinessFinding]]
    _thread: threading.Thread | None = None
    _found: list[ReadinessFinding] = field(default_factory=list)

    def start(self, ended: Callable[[], None]) -> None:
        """Start the checks; `ended` is called when they are over, and at once if those of an earlier start still run."""
        if self._thread is not None and self._thread.is_alive():
            ended()
            return
        found: list[ReadinessFinding] = []
        self._found, self._thread = found, None
        thread = threading.Thread(target=self._check, args=(found, ended), name="cdp-readiness", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            if not lacks_resources(error):
                raise
            found.append(failed(self.checks[0], "The process cannot start a thread.", "service_unavailable"))
            found.extend(ReadinessFinding(check, CheckState.UNKNOWN) for check in self.checks[1:])
            ended()
        else:
            self._thread = thread

    def findings(self, seconds: float) -> list[ReadinessFinding]:
        """A finding for each check: the first without one after these seconds has failed, and what comes after it is unknown."""
        found = list(self._found)
        missing = self.checks[len(found) :]
        stuck = [
            failed(check, f"There was no answer within {seconds:g} seconds.", "no_answer") for check in missing[:1]
        ]
        return found + stuck + [ReadinessFinding(check, CheckState.UNKNOWN) for check in missing[1:]]

    def _check(self, found: list[ReadinessFinding], ended: Callable[[], None]) -> None:
        try:
            for finding in self.run():
                found.append(finding)  # noqa: PERF402 - one by one, so that it shows at which check this hangs
        except Exception:  # noqa: BLE001 - the check that raised has no finding, and is reported as failed
            _log.exception("readiness_check_failed")
        finally:
            ended()
