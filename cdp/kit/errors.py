"""Faults: errors with a code for machines, and a title and a remedy for people.

A refusal (a negative decision) is a value with a reason, not a fault.
"""

from collections.abc import Mapping
from typing import Any


class Fault(Exception):
    """An operation that could not be carried out.

    `code` is stable and lower_snake_case; `title` names the kind of fault; `detail` describes
    what is wrong and what would be correct, and never contains personal data. `extra` is added to
    the problem document and holds only machine-readable positions, hints and counts.
    """

    def __init__(
        self,
        code: str,
        title: str,
        detail: str = "",
        *,
        status: int = 400,
        retry_after_seconds: int | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{code}: {title}")
        self.code = code
        self.title = title
        self.detail = detail
        self.status = status
        self.retry_after_seconds = retry_after_seconds
        self.extra = dict(extra or {})
