"""All signals of one message, parsed into proposed acts."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from cdp.consent.model import NOTICE_VERSION_MAX
from cdp.consent.signals.categories import PREFERENCE_EVENT, READERS
from cdp.consent.signals.events import event_acts
from cdp.consent.signals.findings import SignalFindings
from cdp.consent.signals.google import google_answers
from cdp.consent.signals.gpc import DOM_FIELD, gpc_acts
from cdp.consent.signals.model import (
    GOOGLE,
    NO_REQUEST_SIGNALS,
    SEGMENT,
    RequestSignals,
    SignalMap,
    SignalProposal,
    SignalScope,
)
from cdp.consent.signals.request import proposal_of

NOTICE_FIELD: Final = "noticeVersion"
_NOTHING = SignalProposal()


def acts_of(
    body: Mapping[str, Any],
    *,
    has_gpc: bool,
    is_server: bool,
    jurisdiction: str,
    mapping: SignalMap,
    request: RequestSignals = NO_REQUEST_SIGNALS,
) -> SignalProposal:
    """The acts that a message proposes; of several signals that differ, all are proposed, and the refusal prevails.

    `has_gpc` states whether its request had the GPC header, `request` what else it stated; `jurisdiction` is that of its
    source. A browser source has the authority of a device and grants only for device identifiers; a refusal applies to
    every identifier of the message.
    """
    context = body.get("context")
    event = body.get("event")
    refused = mapping.events.get(event, ()) if isinstance(event, str) and body.get("type") == "track" else ()
    has_fields = isinstance(context, dict) and any(key in context for _, key, _ in READERS)
    is_carried = request is not NO_REQUEST_SIGNALS
    if not (has_gpc or refused or has_fields or is_carried or event == PREFERENCE_EVENT):
        return _NOTHING
    scope = SignalScope(mapping, jurisdiction, is_server)
    found = SignalFindings(scope)
    consent = context.get("consent") if isinstance(context, dict) else None
    if has_gpc or (isinstance(consent, dict) and consent.get(DOM_FIELD) is True):
        found.add(gpc_acts(mapping))
    found.add(event_acts(str(event), refused, is_server=is_server))
    for signal, key, answers_of in READERS:
        found.add_answers(signal, context.get(key) if isinstance(context, dict) else None, answers_of(body))
    if isinstance(consent, dict):
        answers = google_answers(consent)
        if answers:
            found.add_answers(GOOGLE, {key: consent[key] for key in (GOOGLE, *answers) if key in consent}, answers)
        found.add_strings(consent)
    proposal = _of_notice(found.proposal(), consent)
    return proposal.joined(proposal_of(request, scope)) if is_carried else proposal


def _of_notice(proposal: SignalProposal, consent: object) -> SignalProposal:
    """The proposal, with the version of the notice that the person answered to, where `context.consent` states one.

    It is evidence and decides nothing: anything but a text of at most NOTICE_VERSION_MAX printable characters is left out.
    """
    version = consent.get(NOTICE_FIELD) if isinstance(consent, dict) else None
    if not isinstance(version, str) or not 0 < len(version) <= NOTICE_VERSION_MAX or not version.isprintable():
        return proposal
    return replace(
        proposal,
        acts=tuple(replace(act, notice_version=version) if act.signal == SEGMENT else act for act in proposal.acts),
    )
