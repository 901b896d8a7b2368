"""Readiness of this process: all checks at most once a second, by one caller for all, within two seconds whatever hangs.

The checks run in threads of their own, never in those that serve requests. A check that hangs keeps its thread, is not
started a second time, and is reported as failed until it ends.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from cdp.flows.operations.check_series import Series
from cdp.operations.readiness import CheckState, ReadinessFinding

_FRESH_SECONDS: Final = 1.0
SECONDS_MAX: Final = 2.0
_log = logging.getLogger(__name__)


class Readiness:
    """The findings of all series, and of checks that only look at this process."""

    def __init__(self, series: Sequence[Series], own: Callable[[], Sequence[ReadinessFinding]]) -> None:
        self._series = series
        self._own = own
        self._found: tuple[ReadinessFinding, ...] = ()
        self._found_at = float("-inf")
        self._round: asyncio.Task[None] | None = None

    @property
    def latest(self) -> tuple[ReadinessFinding, ...]:
        """The findings of the last round; none before the first."""
        return self._found

    async def findings(self) -> tuple[ReadinessFinding, ...]:
        """Findings that are at most a second old. Call from one event loop."""
        if asyncio.get_running_loop().time() - self._found_at > _FRESH_SECONDS:
            if self._round is None or self._round.done():
                self._round = asyncio.create_task(self._run())
            await asyncio.shield(self._round)
        return self._found

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        over = [asyncio.Event() for _ in self._series]

        def ended(event: asyncio.Event) -> None:
            with suppress(RuntimeError):  # the loop is closed: the service has stopped meanwhile
                loop.call_soon_threadsafe(event.set)

        for series, event in zip(self._series, over, strict=True):
            series.start(partial(ended, event))
        with suppress(TimeoutError):
            async with asyncio.timeout(SECONDS_MAX):
                for event in over:
                    await event.wait()
        before = {finding.check: finding.state for finding in self._found}
        self._found = (*(finding for series in self._series for finding in series.findings(SECONDS_MAX)), *self._own())
        self._found_at = loop.time()
        for finding in self._found:
            if finding.state is not before.get(finding.check, CheckState.OK):
                extra = {"check": finding.check.value, "state": finding.state.value, "code": finding.code or None}
                _log.warning("readiness_changed", extra=extra)
