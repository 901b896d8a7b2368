"""All signals of one message, read into proposed acts."""

from collections.abc import Mapping
from typing import Any

from cdp.consent.signals.categories import PREFERENCE_EVENT, READERS, category_acts
from cdp.consent.signals.gpc import gpc_acts
from cdp.consent.signals.model import SignalMap, SignalProposal

_NOTHING = SignalProposal()


def acts_of(body: Mapping[str, Any], *, has_gpc: bool, is_server: bool, mapping: SignalMap) -> SignalProposal:
    """What a message says about purposes.

    `has_gpc` tells that its request carried the GPC header. A browser source speaks with the authority
    of a device and grants only for device identifiers; a no is about every identifier of the message.
    """
    context = body.get("context")
    if not has_gpc and body.get("event") != PREFERENCE_EVENT and not _has_consent_field(context):
        return _NOTHING
    acts = gpc_acts(mapping) if has_gpc else []
    malformed, unknown = [], []
    for signal, place, answers_of in READERS:
        answers = answers_of(body)
        if answers is None or None in answers.values():
            malformed.append(signal)
        if answers and not mapping.known[signal].issuperset(answers):
            unknown.append(signal)
        if answers is None or answers:
            raw = context.get(place) if isinstance(context, dict) else None
            acts.extend(category_acts(signal, raw, answers, mapping=mapping, is_server=is_server))
    return SignalProposal(tuple(acts), tuple(malformed), tuple(unknown)) if acts or malformed or unknown else _NOTHING


def _has_consent_field(context: Any) -> bool:
    """Whether a context has a place in which consent is told; most have none."""
    return isinstance(context, dict) and any(place in context for _, place, _ in READERS)
