"""Acts proposed by signals, before they are compared with the ledger."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from cdp.consent.model import Act, Authority
from cdp.policy.jurisdictions import UNKNOWN
from cdp.policy.model import ConsentModel, CookieFormat, GoogleConsent, GppOptOut, Policy, Purpose, TcfMapping

GPC: Final = "gpc"
SEGMENT: Final = "segment"
RUDDERSTACK: Final = "rudderstack"
GOOGLE: Final = "google"
TCF: Final = "tcf"
GPP: Final = "gpp"
USP: Final = "usp"
EVENT: Final = "event"

MALFORMED: Final = "malformed"


@dataclass(frozen=True, slots=True)
class ProposedAct:
    """One act derived from a signal.

    With `identifier_types`, it applies to one identifier of the message of these types; None means all identifiers.
    `rule` names the part of the policy by which the act was derived. `signal_hash` is the SHA-256 of the raw signal.
    `is_undated` marks a grant of which it is not known when it was given. `given_by` is the instant by which a grant was
    given, where the signal says so: it cannot override a refusal that came after it. `stated_at` is the instant of an act
    that has one of its own, whatever that of its message; `ends_at` when it ends, if that is before the validity of its purpose.
    `notice_version` is that of the text to which the person answered, where the message says so.
    """

    purpose: str
    act: Act
    authority: Authority
    identifier_types: frozenset[str] | None
    signal: str
    signal_hash: bytes
    rule: str
    is_undated: bool = False
    given_by: datetime | None = None
    stated_at: datetime | None = None
    ends_at: datetime | None = None
    notice_version: str | None = None

    def among(self, members: Sequence[tuple[int, str]]) -> list[int]:
        """The identifiers of a message, as (id, type) with the strongest first, to which the act applies.

        An act limited to some types applies to one identifier only: a device states consent for itself.
        """
        if self.identifier_types is None:
            return [identifier_id for identifier_id, _ in members]
        return [identifier_id for identifier_id, type_ in members if type_ in self.identifier_types][:1]


@dataclass(frozen=True, slots=True)
class SignalProposal:
    """The acts that one message proposes; `malformed` names unreadable signals, `unknown` those with a category that the
    policy does not map to a purpose. `unrecorded` are the types of the identifiers of a message that refuses something
    about them although its source may not speak for any of them, so that nothing is recorded.
    """

    acts: tuple[ProposedAct, ...] = ()
    malformed: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    unrecorded: tuple[str, ...] = ()

    def joined(self, other: "SignalProposal") -> "SignalProposal":
        """The acts of both; one that both propose counts once."""
        acts: dict[tuple[str, str, Act], ProposedAct] = {}
        for act in (*self.acts, *other.acts):
            acts.setdefault((act.signal, act.purpose, act.act), act)
        return SignalProposal(
            tuple(acts.values()),
            tuple(dict.fromkeys((*self.malformed, *other.malformed))),
            tuple(dict.fromkeys((*self.unknown, *other.unknown))),
            self.unrecorded,
        )


@dataclass(frozen=True, slots=True)
class SignalMap:
    """The purposes that each kind of signal concerns, and their category names; computed once per policy.

    Names are compared without regard to case; the key of a purpose is one of its names. `known` are all names of a
    signal, including those of purposes that no act can grant or refuse. `opt_out` are the purposes that silence permits,
    by jurisdiction. `events` are the purposes that an event refuses. `tcf` and `gpp` are what of such a string concerns a
    purpose, `cookies` the names and formats of the cookies that are read.
    """

    sale: tuple[str, ...]
    names: Mapping[str, Mapping[str, tuple[str, ...]]]
    known: Mapping[str, frozenset[str]]
    opt_out: Mapping[str, frozenset[str]]
    events: Mapping[str, tuple[str, ...]]
    device_types: frozenset[str]
    tcf: Mapping[str, TcfMapping]
    tcf_vendor: int | None
    gpp: Mapping[str, frozenset[GppOptOut]]
    cookies: Mapping[str, CookieFormat]

    def opt_out_in(self, jurisdiction: str) -> frozenset[str]:
        """The purposes that silence permits in a jurisdiction; one that the policy does not declare counts as unknown."""
        return self.opt_out.get(jurisdiction, self.opt_out[UNKNOWN])


@dataclass(frozen=True, slots=True)
class SignalScope:
    """Whose signals are read: those of a kind of source in a jurisdiction, under the signal map of a policy."""

    mapping: SignalMap
    jurisdiction: str
    is_server: bool

    def act(self, purpose: str, *, is_grant: bool, signal: str, signal_hash: bytes, rule: str) -> ProposedAct:
        """The act of a signal: a browser source has the authority of a device, and grants for one device only."""
        authority = Authority.AUTHENTICATED if self.is_server else Authority.DEVICE
        types = self.mapping.device_types if is_grant and not self.is_server else None
        return ProposedAct(purpose, Act.GRANT if is_grant else Act.REFUSE, authority, types, signal, signal_hash, rule)


@dataclass(frozen=True, slots=True)
class RequestSignals:
    """Signals that a request states for all of its messages, as sent: its `Cookie` header and parameters of its query.

    They are read once for each policy: `read` keeps what they propose. Never stored or logged.
    """

    cookies: str = field(default="", repr=False)
    query: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    read: list[tuple[SignalMap, SignalProposal]] = field(default_factory=list, repr=False, compare=False)


NO_REQUEST_SIGNALS: Final = RequestSignals()


def signal_map_of(policy: Policy) -> SignalMap:
    """The signal map of a policy.

    Purposes that no act can grant or refuse (such as contract) are omitted, except in `known`.
    """
    purposes = policy.purposes.values()
    changeable = [purpose for purpose in purposes if not purpose.needs_unique_identifier]
    names = {
        signal: {purpose.key: names for purpose in purposes if (names := _names(purpose, signal))}
        for signal in (SEGMENT, RUDDERSTACK, GOOGLE)
    }
    return SignalMap(
        sale=tuple(purpose.key for purpose in changeable if purpose.sale_or_sharing),
        names={
            signal: {purpose.key: by_purpose[purpose.key] for purpose in changeable if purpose.key in by_purpose}
            for signal, by_purpose in names.items()
        },
        known={
            signal: frozenset(name for known in by_purpose.values() for name in known)
            for signal, by_purpose in names.items()
        }
        | {GOOGLE: frozenset(GoogleConsent)},
        opt_out={
            jurisdiction: frozenset(
                purpose.key for purpose in changeable if purpose.consent_model((jurisdiction,)) is ConsentModel.OPT_OUT
            )
            for jurisdiction in policy.jurisdictions.jurisdictions
        },
        events={event.key: event.refuses for event in policy.events.events.values() if event.refuses},
        device_types=frozenset(type_.key for type_ in policy.identifiers.types.values() if type_.device),
        tcf={purpose.key: found for purpose in changeable if (found := purpose.signals.tcf_mapping) is not None},
        tcf_vendor=policy.signals.tcf_vendor,
        gpp={purpose.key: purpose.gpp_opt_outs for purpose in changeable if purpose.gpp_opt_outs},
        cookies=policy.signals.cookies,
    )


def _names(purpose: Purpose, signal: str) -> tuple[str, ...]:
    """The names of a purpose in one kind of signal, in folded case: its own key first, but among Google's fields."""
    if signal == GOOGLE:
        return tuple(dict.fromkeys(field.value for field in purpose.signals.google))
    declared = purpose.signals.segment
    if signal == RUDDERSTACK and purpose.signals.rudderstack:
        declared = purpose.signals.rudderstack
    return tuple(dict.fromkeys(name.casefold() for name in (purpose.key, *declared)))


def hash_of(raw: Any) -> bytes:
    """SHA-256 of the raw signal, serialized with sorted keys."""
    try:
        serialized = json.dumps(raw, sort_keys=True, separators=(",", ":"))
    except (RecursionError, TypeError):
        serialized = MALFORMED
    return hashlib.sha256(serialized.encode()).digest()
