"""For processes that tests start: they kill themselves at a statement, as a machine that fails would."""

import os
import signal
from collections.abc import Callable, Sequence
from typing import Any, Final

from cdp.kit.db import Transaction

STATEMENTS: Final = ("all", "execute", "committed", "copy", "one_or_none", "execute_core", "scalar")
"""The methods of a transaction that read or write."""


def kill_after(statements: int, methods: Sequence[str] = STATEMENTS) -> None:
    """End this process with SIGKILL in place of the statement that follows so many."""
    left = statements

    def fatal(step: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*given: Any, **more: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return step(*given, **more)

        return counted

    for name in methods:
        setattr(Transaction, name, fatal(getattr(Transaction, name)))
