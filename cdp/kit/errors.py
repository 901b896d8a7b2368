"""Faults: what could not be done, with a code for machines and a remedy for people.

A refusal (a decision that says no) is a value of its room, not a fault.
"""

from collections.abc import Mapping
from typing import Any


class Fault(Exception):
    """Something could not be done.

    `code` is stable and lower_snake_case; `title` names the kind of fault; `detail` says what is
    wrong and what would be right, and never holds a value of a person. `extra` is added to the
    problem document and holds only machine-readable positions, hints and counts.
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
