"""Values of operations."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class AppliedPolicy:
    """A policy folder that was in force from `applied_at` until the next one."""

    applied_policy_id: int
    fingerprint: bytes
    content: dict[str, Any]
    applied_at: datetime
