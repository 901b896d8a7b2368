"""What people read in place of codes and raw values: the meaning of states and reasons, and a value as text."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from cdp.accounting.model import NoticeKind, State
from cdp.accounting.row_reasons import EXPLANATIONS as ROWS
from cdp.consent.model import ALWAYS
from cdp.consent.model import Reason as Refusal
from cdp.wire.segment_spec import EXPLANATIONS, FLOW_EXPLANATIONS

STATES: Final[Mapping[str, str]] = {
    State.STORED: "kept for the purposes that were permitted",
    State.DUPLICATE: "stored before, counted once",
    State.NOT_PERMITTED: "no consent and no contract covers them",
    State.SUPPRESSED: "their person was erased",
    State.INVALID: "could not be taken, for the reasons below",
    State.BLOCKED: "only identifiers that name nobody",
}

_REFUSALS: Final[Mapping[str, str]] = {
    Refusal.NO_GRANT: "The person never said yes to any purpose that would cover it.",
    Refusal.EXPIRED: "The yes that covered it is over.",
    Refusal.REFUSED: "The person said no.",
    Refusal.WITHDRAWN: "The person took the yes back.",
    Refusal.OBJECTED: "The person objected.",
    Refusal.OPTED_OUT: "The person, or her browser, opted out.",
    Refusal.RESTRICTED: "Processing is restricted at the person's request.",
    Refusal.QUARANTINED: "The profile is in quarantine: `cdp identity quarantined` lists them.",
    Refusal.TOO_YOUNG: "The person is younger than the purpose allows.",
    Refusal.AGE_UNKNOWN: "The age is not known, and the purpose asks for one.",
    Refusal.NO_UNIQUE_IDENTIFIER: "A contract needs somebody who is named, by a user id for instance.",
    Refusal.NOT_COVERED: "The contract does not cover this event.",
}

_OTHERS: Final[Mapping[tuple[str, str], str]] = {
    (State.STORED, ""): "Some purpose was permitted, or a contract covers it.",
    (State.DUPLICATE, ""): "A message with the same id was stored before.",
    (
        State.BLOCKED,
        "blocked_value",
    ): "All its identifiers are values such as `null` or `anonymous`, which name nobody.",
    (
        State.INVALID,
        "event_not_planned",
    ): "The tracking plan drops events that it does not name (policies/events.yaml).",
}

NOTICES: Final[Mapping[str, str]] = {
    NoticeKind.UNKNOWN_IDENTIFIER_TYPE: "identifiers of a type that policies/identifiers.yaml does not name; they link nobody",
    NoticeKind.BLOCKED_IDENTIFIER: "values such as `null` in the place of an identifier; left out",
    NoticeKind.DUPLICATE_OTHER_BODY: "the same message id with another content; the first one counts",
    NoticeKind.UNKNOWN_PURPOSE: "answers about a purpose that policies/purposes.yaml does not name; not recorded",
    NoticeKind.UNKNOWN_EVENT: "events that policies/events.yaml does not name; sealed as a whole",
    NoticeKind.UNKNOWN_PROPERTY: "properties that policies/events.yaml does not name; sealed or dropped, never plain",
    NoticeKind.FUTURE_TIME: "times in the future; taken as the time of arrival",
    NoticeKind.MALFORMED_SIGNAL: "signals of consent that cannot be read; taken as a no",
}


def meaning_of(state: str, reason: str) -> str:
    """A sentence for a state and its reason."""
    found = _OTHERS.get((state, reason))
    if found is None and state == State.NOT_PERMITTED:
        found = _REFUSALS.get(reason)
    if found is None and state == State.INVALID:
        found = EXPLANATIONS.get(reason) or FLOW_EXPLANATIONS.get(reason) or ROWS.get(reason)
    if found is None and state == State.SUPPRESSED:
        found = "Somebody who was erased is named in it, or somebody whose erasure is under way."
    return found or reason.replace("_", " ") or STATES.get(state, state)


def effective_since(since: datetime | None) -> datetime | None:
    """When a permission began; None for one that needs no act and was always there."""
    return None if since == ALWAYS else since


def value_text(value: object) -> str:
    """A trait's or a fact's value as people read it; `-` where there is none."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:,.4g}" if 0 < abs(value) < 1 else f"{value:,.2f}".removesuffix(".00")
        case int():
            return f"{value:,}"
        case str():
            return value
        case _:
            return json.dumps(value, ensure_ascii=False, default=str)
