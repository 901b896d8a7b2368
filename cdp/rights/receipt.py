"""What the log says about a request: facts without a word about the person. Pure.

The fact of a fulfilment is the body of the receipt that the subject is handed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cdp.kit.canonical import instant_text
from cdp.rights.model import Request, StepCount


@dataclass(frozen=True, slots=True)
class ErasureSummary:
    """What an erasure came to, in numbers and names of ours."""

    steps: tuple[StepCount, ...]
    identifiers: int
    anchors: int
    profiles: int
    keys_shredded: int
    suppressed: int
    suppressed_until: datetime | None
    recipients: tuple[str, ...]
    holds: tuple[str, ...]
    epoch: int
    policy: str


def event_fact(request: Request, kind: str) -> dict[str, Any]:
    """The fact that something happened to a request: `request.received`, `request.verified` and so on."""
    return {
        "kind": kind,
        "actor": "privacy",
        "request": request.outward_id,
        "request_kind": request.kind.value,
        "regime": request.regime,
    }


def fulfillment(request: Request, outcome: ErasureSummary | None) -> dict[str, Any]:
    """The fact of a fulfilled request, and so the body of its receipt."""
    assert request.closed_at is not None
    fact = event_fact(request, "request.fulfilled") | {
        "received_at": instant_text(request.received_at),
        "due_at": instant_text(request.due_at),
        "fulfilled_at": instant_text(request.closed_at),
        "is_in_time": request.is_in_time,
    }
    if request.verified_at is not None:
        fact["verified_at"] = instant_text(request.verified_at)
    if outcome is not None:
        fact |= _erasure(outcome, request.waiting)
    return fact


def _erasure(outcome: ErasureSummary, waiting: int) -> dict[str, Any]:
    """`by_reason` counts what was not erased: identifiers that only a reviewer can decide about."""
    fact: dict[str, Any] = {
        "steps": steps_of(outcome.steps),
        "identifiers": outcome.identifiers,
        "anchors": outcome.anchors,
        "profiles": outcome.profiles,
        "keys_shredded": outcome.keys_shredded,
        "suppressed": outcome.suppressed,
        "recipients": list(outcome.recipients),
        "recipients_notified": len(outcome.recipients),
        "holds": list(outcome.holds),
        "is_scrubbed": False,
        "by_reason": {"waiting_for_reviewer": waiting},
        "epoch": outcome.epoch,
        "policy": outcome.policy,
    }
    if outcome.suppressed_until is not None:
        fact["suppressed_until"] = instant_text(outcome.suppressed_until)
    return fact


def steps_of(steps: Sequence[StepCount]) -> list[dict[str, Any]]:
    """The lines of an erasure; rows of a kept table are those that were written to it, such as holds."""
    return [{"table": each.table, "verb": each.verb.value, "rows": each.rows} for each in steps]
