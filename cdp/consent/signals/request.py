"""Signals that a request states for all of its messages: cookies of a browser, and parameters of its query."""

from collections.abc import Sequence
from typing import Final

from cdp.consent.signals.cookies import READERS, cookies_of
from cdp.consent.signals.findings import SignalFindings
from cdp.consent.signals.model import GPP, SEGMENT, TCF, USP, RequestSignals, SignalProposal, SignalScope

GDPR: Final = "gdpr"
STRING_PARAMETERS: Final = {"gdpr_consent": TCF, "gpp": GPP, "us_privacy": USP}
PARAMETERS: Final = frozenset({GDPR, *STRING_PARAMETERS})
"""Parameters of a query that are read, by the names of the IAB's macros for pixels."""


def proposal_of(request: RequestSignals, scope: SignalScope) -> SignalProposal:
    """The acts of a request's cookies and query; those of cookies only from a browser source."""
    for mapping, proposal in request.read:
        if mapping is scope.mapping:
            return proposal
    found = SignalFindings(scope)
    _add_query(found, request.query)
    if request.cookies and scope.mapping.cookies and not scope.is_server:
        _add_cookies(found, request.cookies, scope)
    proposal = found.proposal()
    request.read.append((scope.mapping, proposal))
    return proposal


def _add_query(found: SignalFindings, query: Sequence[tuple[str, str]]) -> None:
    """A parameter without a value is as if absent; but where the GDPR applies, a missing TC string refuses."""
    stated = [(name, value) for name, value in query if value and name in STRING_PARAMETERS]
    for name, value in stated:
        found.add_string(STRING_PARAMETERS[name], value)
    if (GDPR, "1") in query and not any(name == "gdpr_consent" for name, _ in stated):
        found.add_string(TCF, None)


def _add_cookies(found: SignalFindings, header: str, scope: SignalScope) -> None:
    cookies = cookies_of(header)
    for name, format_ in scope.mapping.cookies.items():
        for value in cookies.get(name, ()):
            if format_ in READERS:
                found.add_answers(format_.value, value, READERS[format_](value, cookies), names_of=SEGMENT)
            else:
                found.add_string(format_.value, value)
