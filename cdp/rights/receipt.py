"""Audit facts about a request; they contain no personal data. Pure.

The fact of a fulfillment is the body of the receipt that the subject receives.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cdp.kit.canonical import instant_text
from cdp.rights.model import Request, StepCount


@dataclass(frozen=True, slots=True)
class ErasureSummary:
    """The result of an erasure: counts, and names of tables, recipients and classes."""

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
    """The fact of an event in the lifecycle of a request: `request.received`, `request.verified` and so on."""
    return {
        "kind": kind,
        "actor": "privacy",
        "request": request.outward_id,
        "request_kind": request.kind.value,
        "regime": request.regime,
    }


def fulfillment(
    request: Request, summary: ErasureSummary | None = None, details: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The fact of a fulfilled request, which is the body of its receipt.

    `summary` is given for erasures only; `details` are what a request of another kind did.
    """
    assert request.closed_at is not None
    fact = event_fact(request, "request.fulfilled") | {
        "received_at": instant_text(request.received_at),
        "due_at": instant_text(request.due_at),
        "fulfilled_at": instant_text(request.closed_at),
        "is_in_time": request.is_in_time,
    }
    if request.verified_at is not None:
        fact["verified_at"] = instant_text(request.verified_at)
    if request.mode is not None:
        fact["mode"] = request.mode.value
    if summary is not None:
        fact |= _erasure(summary, request.waiting)
    return fact | dict(details or {})


def _erasure(summary: ErasureSummary, waiting: int) -> dict[str, Any]:
    """`by_reason` counts what was not erased: identifiers that need a reviewer's decision.

    Notices to recipients only wait in the outbox when the receipt is written, so none of them is notified yet.
    """
    fact: dict[str, Any] = {
        "steps": steps_of(summary.steps),
        "identifiers": summary.identifiers,
        "anchors": summary.anchors,
        "profiles": summary.profiles,
        "keys_shredded": summary.keys_shredded,
        "suppressed": summary.suppressed,
        "recipients": list(summary.recipients),
        "recipients_notified": 0,
        "holds": list(summary.holds),
        "is_scrubbed": False,
        "by_reason": {"waiting_for_reviewer": waiting},
        "epoch": summary.epoch,
        "policy": summary.policy,
    }
    if summary.suppressed_until is not None:
        fact["suppressed_until"] = instant_text(summary.suppressed_until)
    return fact


def scrub_fact(request: Request, fulfillment_leaf: bytes, *, not_scrubbed: Sequence[str]) -> dict[str, Any]:
    """The body of the second receipt of an erasure: what a scrub achieved after it.

    `fulfillment_leaf` is the leaf of the first receipt, so that the two cannot be mistaken for those of other requests.
    """
    return {
        **event_fact(request, "request.scrubbed"),
        "actor": "system",
        "fulfillment": fulfillment_leaf.hex(),
        "is_scrubbed": not not_scrubbed,
        "not_scrubbed": list(not_scrubbed),
    }


def steps_of(steps: Sequence[StepCount]) -> list[dict[str, Any]]:
    """The steps of an erasure; for a kept table, `rows` counts the rows that remain for the step's reason."""
    return [{"table": step.table, "verb": step.verb.value, "rows": step.rows} for step in steps]
