"""All signals of one message, parsed into proposed acts."""

from collections.abc import Mapping
from typing import Any

from cdp.consent.signals.categories import PREFERENCE_EVENT, READERS, category_acts
from cdp.consent.signals.events import event_acts
from cdp.consent.signals.gpc import gpc_acts
from cdp.consent.signals.model import SignalMap, SignalProposal

_NOTHING = SignalProposal()


def acts_of(
    body: Mapping[str, Any], *, has_gpc: bool, is_server: bool, jurisdiction: str, mapping: SignalMap
) -> SignalProposal:
    """The acts that a message proposes.

    `has_gpc` states whether its request had the GPC header; `jurisdiction` is that of its source. A browser source has the
    authority of a device and grants only for device identifiers; a refusal applies to every identifier of the message.
    """
    context = body.get("context")
    event = body.get("event")
    refused = mapping.events.get(event, ()) if isinstance(event, str) and body.get("type") == "track" else ()
    if not has_gpc and not refused and event != PREFERENCE_EVENT and not _has_consent_field(context):
        return _NOTHING
    acts = gpc_acts(mapping) if has_gpc else []
    acts.extend(event_acts(str(event), refused, is_server=is_server))
    malformed, unknown = [], []
    for signal, key, answers_of in READERS:
        answers = answers_of(body)
        if answers is None or None in answers.values():
            malformed.append(signal)
        if answers and not mapping.known[signal].issuperset(answers):
            unknown.append(signal)
        if answers is None or answers:
            raw = context.get(key) if isinstance(context, dict) else None
            acts.extend(
                category_acts(signal, raw, answers, mapping=mapping, jurisdiction=jurisdiction, is_server=is_server)
            )
    return SignalProposal(tuple(acts), tuple(malformed), tuple(unknown)) if acts or malformed or unknown else _NOTHING


def _has_consent_field(context: Any) -> bool:
    """Whether a context has a key with consent; most contexts have none."""
    return isinstance(context, dict) and any(key in context for _, key, _ in READERS)
