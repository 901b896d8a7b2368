"""Explanations of codes for people: the meaning of states, reasons and notices, and values as text."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from cdp.accounting.model import NoticeKind, PropertyNoticeKind, State
from cdp.accounting.row_reasons import EXPLANATIONS as ROWS
from cdp.consent.model import ALWAYS
from cdp.consent.model import Reason as Refusal
from cdp.identity.model import Rule
from cdp.wire.segment_spec import EXPLANATIONS, FLOW_EXPLANATIONS

STATES: Final[Mapping[str, str]] = {
    State.STORED: "stored for the purposes that were permitted",
    State.DUPLICATE: "already stored; counted once",
    State.NOT_PERMITTED: "no purpose that covers it is permitted",
    State.SUPPRESSED: "about a person who was erased, or about whom nothing more may be stored",
    State.INVALID: "rejected, for the reasons below",
    State.BLOCKED: "only identifiers that identify nobody",
    State.REFUSED: "a row of a link table whose link a rule refused",
    State.DEFERRED: "wait, sealed, for an answer of the device",
}

_REFUSALS: Final[Mapping[str, str]] = {
    Refusal.NO_GRANT: "The person never consented to a purpose that covers it.",
    Refusal.EXPIRED: "The consent that covered it has expired.",
    Refusal.REFUSED: "The person refused.",
    Refusal.WITHDRAWN: "The person withdrew consent.",
    Refusal.OBJECTED: "The person objected.",
    Refusal.OPTED_OUT: "The person, or their browser, opted out.",
    Refusal.RESTRICTED: "Processing is restricted at the request of the person.",
    Refusal.QUARANTINED: "The profile is in quarantine: `cdp identity quarantined` lists these profiles.",
    Refusal.TOO_YOUNG: "The person is younger than the purpose permits.",
    Refusal.AGE_UNKNOWN: "The age is unknown, and the purpose requires one.",
    Refusal.NO_UNIQUE_IDENTIFIER: "A contract requires an identified person, for example by a user id.",
    Refusal.NOT_COVERED: "The contract does not cover this event.",
}

_OTHERS: Final[Mapping[tuple[str, str], str]] = {
    (State.DEFERRED, ""): "The source defers, and the device has not answered yet.",
    (State.NOT_PERMITTED, "not_answered"): "It waited for an answer of the device until its term ended.",
    (State.NOT_PERMITTED, "too_many_deferred"): "As much as policy allows waited for the device already.",
    (
        State.NOT_PERMITTED,
        "too_many_deferred_of_source",
    ): "As much as policy allows of all devices of the source waited already.",
    (State.STORED, ""): "A purpose was permitted, or a contract covers it.",
    (State.DUPLICATE, ""): "A message with the same id is already stored.",
    (
        State.BLOCKED,
        "blocked_value",
    ): "All its identifiers are values such as `null` or `anonymous`, which identify nobody.",
    (
        State.INVALID,
        "event_not_planned",
    ): "The tracking plan drops events that it does not declare (policies/events.yaml).",
}

LINK_REFUSALS: Final[Mapping[str, str]] = {
    Rule.UNIQUE: "The two sides belong to people with different unique identifiers.",
    Rule.LIMIT: "The person would have more identifiers of the type than policies/identifiers.yaml allows.",
    Rule.BOUND: "The profile reached a bound of policies/identifiers.yaml and is in quarantine.",
    Rule.NEVER: "A reviewer separated the two sides.",
    Rule.SHARED: "One side is shared by several people and links nobody.",
    Rule.NO_LINKS: "Identifiers of the type never link people.",
    Rule.AUTHORITY: "A source of a higher authority ties one side to somebody else.",
    Rule.STALE: "A newer statement ties one side to somebody else.",
}
"""Why a rule refused the link of a row, by rule."""

NOTICES: Final[Mapping[str, str]] = {
    NoticeKind.UNKNOWN_IDENTIFIER_TYPE: "external ids of a type that policies/identifiers.yaml does not declare for context.externalIds; ignored",
    NoticeKind.BLOCKED_IDENTIFIER: "values such as `null` used as an identifier, and more identifiers than a message may have; ignored",
    NoticeKind.LEFT_OUT_IDENTIFIER: "identifiers that a source of a higher authority ties to somebody else, or a newer "
    "message; the message stands without them (`cdp identity review`)",
    NoticeKind.MALFORMED_IDENTIFIER: "values that cannot be an identifier of their type (docs/reference/identifiers.md); ignored",
    NoticeKind.DUPLICATE_OTHER_BODY: "a repeated message id with different content; the first message is kept",
    NoticeKind.UNKNOWN_PURPOSE: "consent under a name that no purpose has; a refusal ends every purpose that is opt-out there",
    NoticeKind.UNRECORDED_REFUSAL: "refusals of a browser that name neither its device nor a user id; not recorded, because anyone can "
    "name an address: send the device's id with them, or use a server source",
    NoticeKind.UNKNOWN_EVENT: "events not declared in policies/events.yaml, by the nearest declared name; sealed as a whole",
    NoticeKind.UNKNOWN_PROPERTY: "properties not declared in policies/events.yaml; sealed or dropped, never stored in plain",
    NoticeKind.FUTURE_TIME: "times in the future; replaced by the time of receipt",
    NoticeKind.MALFORMED_SIGNAL: "consent signals that cannot be read; treated as a refusal",
    NoticeKind.LEFT_OVER_TRAITS: "traits in the context of other messages than identify, from RudderStack's Python SDK: it leaves those of the "
    "person identified last in a context that is used again; ignored and not stored (give each call a context of its own)",
}

PROPERTY_NOTICES: Final[Mapping[str, str]] = {
    PropertyNoticeKind.MISTYPED: "not of the declared type; sealed, so that no segment or computed trait reads it",
    PropertyNoticeKind.MISSING: "not in the message, although a computed trait adds it up",
}


def meaning_of(state: str, reason: str) -> str:
    """A sentence that explains a state and its reason."""
    found = _OTHERS.get((state, reason))
    if found is None and state == State.NOT_PERMITTED:
        found = _REFUSALS.get(reason)
    if found is None and state == State.INVALID:
        found = EXPLANATIONS.get(reason) or FLOW_EXPLANATIONS.get(reason) or ROWS.get(reason)
    if found is None and state == State.SUPPRESSED:
        found = "It contains an identifier of a person who was erased, whose erasure is in progress, or who asked not to be stored."
    if found is None and state == State.REFUSED:
        found = LINK_REFUSALS.get(reason)
    return found or reason.replace("_", " ") or STATES.get(state, state)


def effective_since(since: datetime | None) -> datetime | None:
    """When a permission began; None for one that needs no act and therefore has no start."""
    return None if since == ALWAYS else since


def value_text(value: object) -> str:
    """The value of a trait or a fact as readable text; `-` for None."""
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
