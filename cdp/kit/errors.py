"""Faults: errors with a code for machines, and a title and a remedy for people.

A refusal (a negative decision) is a value with a reason, not a fault.
"""

from collections.abc import Mapping
from typing import Any, Final

BUSY: Final = (
    "The request was not completed, because others hold or wait for what it needs. Send it again after the number of seconds "
    "in the header Retry-After."
)
UNAVAILABLE: Final = (
    "The service cannot read or store data at the moment, and the request was not completed. Send it again after the number of "
    "seconds in the header Retry-After."
)


class Fault(Exception):
    """An operation that could not be carried out.

    `code` is stable and lower_snake_case; `title` names the kind of fault; `detail` describes
    what is wrong and what would be correct, and never contains personal data. Where that is for operators, who read it in
    commands and in the log, `caller_detail` is what a client gets instead. `extra` is added to the problem document and
    holds only machine-readable positions, hints and counts.
    """

    def __init__(
        self,
        code: str,
        title: str,
        detail: str = "",
        *,
        status: int = 400,
        retry_after_seconds: int | None = None,
        caller_detail: str | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{code}: {title}")
        self.code = code
        self.title = title
        self.detail = detail
        self.status = status
        self.retry_after_seconds = retry_after_seconds
        self.caller_detail = detail if caller_detail is None else caller_detail
        self.extra = dict(extra or {})

    @property
    def is_for_operators(self) -> bool:
        """Whether the detail is for operators, and clients get something else."""
        return self.caller_detail != self.detail


def lacks_resources(error: BaseException) -> bool:
    """Whether an error says that this process lacks a file, a connection, memory or a thread: it may pass by itself."""
    # The only sign of it: Python has no class for it.
    is_threadless = isinstance(error, RuntimeError) and "can't start new thread" in str(error)
    return is_threadless or isinstance(error, OSError | MemoryError)
