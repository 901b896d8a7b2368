"""Strings of the IAB, mapped to acts by policy: TC strings, GPP strings with their sections, US Privacy strings.

Every doubt refuses: what cannot be read, or is not understood, refuses each purpose that it could have refused.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Final

from cdp.consent.model import Act, Authority
from cdp.consent.signals.bits import MalformedSignal
from cdp.consent.signals.gpc import gpc_acts
from cdp.consent.signals.gpp.decode import decode_gpp
from cdp.consent.signals.gpp.meaning import UsAnswers, opt_outs_of
from cdp.consent.signals.gpp.model import GppString
from cdp.consent.signals.model import (
    GPP,
    MALFORMED,
    TCF,
    USP,
    ProposedAct,
    SignalProposal,
    SignalScope,
    hash_of,
)
from cdp.consent.signals.tcf.decode import decode_tcf
from cdp.consent.signals.tcf.model import TcString
from cdp.consent.signals.tcf.permits import TcfBasis, tcf_invalidity, tcf_permits
from cdp.policy.model import GppOptOut, TcfLegalBasis, TcfMapping

STRINGS: Final[Mapping[str, str]] = {"tcf": TCF, "gpp": GPP, "usPrivacy": USP}
"""Keys of `context.consent` with a string of the IAB, and the signal that each is."""

UNKNOWN_SECTION: Final = "unknown_section"

_BASES: Final = {
    TcfLegalBasis.CONSENT: TcfBasis.CONSENT,
    TcfLegalBasis.LEGITIMATE_INTERESTS: TcfBasis.LEGITIMATE_INTEREST,
}
_DAY: Final = timedelta(days=1)
_TCF_EU: Final = 2
_TCF_CANADA: Final = 5
_USP: Final = re.compile(r"1[YN-]([YN-])[YN-]\Z")
_OF_CHILDREN: Final = (
    ("sell", GppOptOut.SALE),
    ("share", GppOptOut.SHARING),
    ("advertise", GppOptOut.TARGETED_ADVERTISING),
)


def tcf_proposal(raw: object, scope: SignalScope) -> SignalProposal:
    """The acts of a TC string: each purpose that the policy maps is granted or refused.

    Objections to a legitimate interest refuse; that there is none grants nothing where consent is needed.
    """
    try:
        decoded = decode_tcf(raw) if isinstance(raw, str) else None
    except MalformedSignal:
        decoded = None
    if decoded is None:
        return SignalProposal(tuple(_refused(TCF, raw, scope.mapping.tcf, scope=scope, suffix=MALFORMED)), (TCF,))
    return SignalProposal(tuple(_of_tc_string(decoded, raw, scope)))


def gpp_proposal(raw: object, scope: SignalScope) -> SignalProposal:
    """The acts of a GPP string: the opt-outs of its sections refuse, and only a TC string in it can grant."""
    try:
        decoded = decode_gpp(raw) if isinstance(raw, str) else None
    except MalformedSignal:
        decoded = None
    if decoded is None:
        return SignalProposal(
            tuple(_refused(GPP, raw, _of_unknown_section(scope), scope=scope, suffix=MALFORMED)), (GPP,)
        )
    return _of_gpp_string(decoded, scope)


def usp_proposal(raw: object, scope: SignalScope) -> SignalProposal:
    """The acts of a US Privacy string: an opt-out of sale refuses what is a sale, and nothing grants."""
    letters = _USP.match(raw) if isinstance(raw, str) else None
    if letters is None:
        return SignalProposal(tuple(_refused(USP, raw, scope.mapping.gpp, scope=scope, suffix=MALFORMED)), (USP,))
    if letters[1] != "Y":
        return SignalProposal()
    return SignalProposal(tuple(_refused(USP, raw, _purposes_of({GppOptOut.SALE}, scope), scope=scope)))


def _of_tc_string(decoded: TcString, raw: object, scope: SignalScope) -> Iterator[ProposedAct]:
    signal_hash = hash_of(raw)
    given_by = max(decoded.created, decoded.last_updated) + _DAY  # both are the start of a day
    for purpose, mapped in scope.mapping.tcf.items():
        is_permitted = _permits(decoded, mapped, scope.mapping.tcf_vendor)
        if is_permitted and mapped.basis is not TcfLegalBasis.CONSENT:
            continue
        act = scope.act(purpose, is_grant=is_permitted, signal=TCF, signal_hash=signal_hash, rule="signals.tcf")
        yield replace(act, given_by=given_by) if is_permitted else act


def _permits(decoded: TcString, mapped: TcfMapping, vendor: int | None) -> bool:
    """Whether all that means a purpose is permitted: to the vendor that we are, or else to the publisher."""
    features = all(feature in decoded.special_feature_opt_ins for feature in mapped.special_features)
    if vendor is not None:
        return features and all(
            tcf_permits(decoded, purpose_id=purpose, vendor_id=vendor, basis=_BASES[mapped.basis]).is_permitted
            for purpose in mapped.purposes
        )
    publisher = decoded.publisher
    if publisher is None or tcf_invalidity(decoded) is not None:
        return False
    is_consent = mapped.basis is TcfLegalBasis.CONSENT
    stated = publisher.purpose_consents if is_consent else publisher.purpose_legitimate_interests
    return features and all(purpose in stated for purpose in mapped.purposes)


def _of_gpp_string(decoded: GppString, scope: SignalScope) -> SignalProposal:
    """The acts of each section; one that is not understood refuses whatever it could have."""
    acts: list[ProposedAct] = []
    malformed: tuple[str, ...] = ()
    of_eu = decoded.sections.get(_TCF_EU)
    if of_eu is not None:
        found = tcf_proposal(of_eu.raw, scope)
        acts, malformed = [*found.acts], found.malformed
    others = {id_: section for id_, section in decoded.sections.items() if id_ != _TCF_EU}
    if any(section.gpc for section in others.values()):
        acts += gpc_acts(scope.mapping)
    refused = _purposes_of(_refused_uses(opt_outs_of(replace(decoded, sections=others))), scope)
    unknown = [
        section for section in others.values() if section.not_understood is not None or section.id == _TCF_CANADA
    ]
    of_unknown = [purpose for purpose in _of_unknown_section(scope) if purpose not in refused] if unknown else []
    acts += _refused(GPP, decoded.raw, refused, scope=scope)
    acts += _refused(GPP, decoded.raw, of_unknown, scope=scope, suffix=UNKNOWN_SECTION)
    return SignalProposal(tuple(acts), malformed, (GPP,) if unknown else ())


def _refused_uses(answers: UsAnswers) -> Iterator[GppOptOut]:
    """What a string refuses in the United States."""
    for choice, opt_out in (
        (answers.sale, GppOptOut.SALE),
        (answers.sharing, GppOptOut.SHARING),
        (answers.targeted_advertising, GppOptOut.TARGETED_ADVERTISING),
        (answers.further, GppOptOut.FURTHER_PROCESSING),
    ):
        if choice is not None and choice.is_refusal:
            yield opt_out
    if any(choice.is_refusal for choice in answers.sensitive.values()):
        yield GppOptOut.SENSITIVE_DATA
    for use, choice in answers.children.items():
        if choice.is_refusal:
            yield GppOptOut.CHILD_DATA
            yield from (opt_out for word, opt_out in _OF_CHILDREN if use.startswith(word))


def _of_unknown_section(scope: SignalScope) -> list[str]:
    """What a section that is not understood could have refused: what a GPP string can refuse, and what silence permits."""
    silent = scope.mapping.opt_out_in(scope.jurisdiction)
    of_tcf = [purpose for purpose in scope.mapping.tcf if purpose in silent]
    return list(dict.fromkeys([*scope.mapping.gpp, *of_tcf]))


def _purposes_of(opt_outs: Iterable[GppOptOut], scope: SignalScope) -> list[str]:
    refused = frozenset(opt_outs)
    return [purpose for purpose, mapped in scope.mapping.gpp.items() if not mapped.isdisjoint(refused)]


def _refused(
    signal: str, raw: object, purposes: Iterable[str], *, scope: SignalScope, suffix: str = ""
) -> list[ProposedAct]:
    """Refusals, of GPP and US Privacy strings with the authority of a signal where a browser states them."""
    authority = Authority.AUTHENTICATED if scope.is_server else Authority.DEVICE if signal == TCF else Authority.SIGNAL
    signal_hash, rule = hash_of(raw), f"signals.{signal}" + (f".{suffix}" if suffix else "")
    return [ProposedAct(purpose, Act.REFUSE, authority, None, signal, signal_hash, rule) for purpose in purposes]


READ: Final[Mapping[str, Callable[[object, SignalScope], SignalProposal]]] = {
    TCF: tcf_proposal,
    GPP: gpp_proposal,
    USP: usp_proposal,
}
"""What each string of the IAB proposes."""
