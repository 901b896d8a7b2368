"""For which purposes a message may be stored, given the verdicts of its profile. Pure."""

from collections.abc import Mapping
from typing import Final

from cdp.consent.decide import is_permitted
from cdp.consent.model import Reason, Verdict
from cdp.flows.ingest.plan import IngestPlan
from cdp.flows.ingest.stages import ReadMessage
from cdp.sources.model import SourceKind

_REASONS_BY_PRECEDENCE: Final = (
    Reason.RESTRICTED,
    Reason.QUARANTINED,
    Reason.OBJECTED,
    Reason.OPTED_OUT,
    Reason.WITHDRAWN,
    Reason.REFUSED,
    Reason.TOO_YOUNG,
    Reason.AGE_UNKNOWN,
    Reason.EXPIRED,
    Reason.NO_UNIQUE_IDENTIFIER,
    Reason.NO_GRANT,
)
"""Where purposes are refused for several reasons, the first of these is reported."""

_BEFORE_PERMITTED: Final = "before_permitted"


def permitted_bits(
    plan: IngestPlan, message: ReadMessage, verdicts: Mapping[str, Verdict], *, bits: Mapping[str, int]
) -> tuple[int, str]:
    """The bits of the purposes that permit the message; 0 with the reason where none does."""
    sent = message.message
    purposes = plan.purposes_for(message.classified, is_server=sent.source.kind is SourceKind.SERVER)
    occurred_at, received_at = sent.occurred_at, sent.received_at
    permitted = 0
    refused: set[Reason] = set()
    for key, without_verdict in purposes:
        verdict = verdicts.get(key)
        if verdict is None:
            refused.add(without_verdict)
        elif not verdict.allowed:
            refused.add(verdict.reason)
        elif is_permitted(verdict, occurred_at, received_at):
            permitted |= bits[key]
    if permitted:
        return permitted, ""
    if not purposes:
        return 0, Reason.NOT_COVERED.value
    return 0, next((reason.value for reason in _REASONS_BY_PRECEDENCE if reason in refused), _BEFORE_PERMITTED)
