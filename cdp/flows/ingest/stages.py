"""The work of one batch: each message with what is known of it before and after it is judged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

from cdp.accounting.model import Outcome, State
from cdp.behavior.classify import classify
from cdp.behavior.model import Classified, EventId
from cdp.behavior.retention import is_expired
from cdp.behavior.rules import PlanRules, compile_plan
from cdp.behavior.store.volume import AGE
from cdp.consent.model import Verdict
from cdp.consent.signals.model import SignalMap, signal_map_of
from cdp.consent.signals.model import SignalProposal as Signals
from cdp.consent.signals.read import acts_of
from cdp.identity.model import Identifier, Ignored
from cdp.identity.normalize import IdentifierReader
from cdp.identity.resolve import Rules
from cdp.identity.store.anchors import StoredAnchor
from cdp.identity.store.profiles import StoredProfile
from cdp.kit.canonical import sha256
from cdp.policy.model import Policy, Purpose
from cdp.sources.model import SourceKind
from cdp.wire.message import Message


class HashedIdentifier(NamedTuple):
    """An identifier as one message carries it, under both domains.

    `refused_purposes` are noes that were kept by pseudonym alone, from before this store knew the identifier.
    """

    identifier: Identifier
    graph_pseudonym: bytes
    suppression_pseudonym: bytes
    is_person_level: bool
    refused_purposes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class CachedProfile:
    """Somebody whose anchor is settled and whom no suppression names: where messages of these identifiers land.

    `met` is the batch that read it, `verdicts` those in force then, with their instants.
    """

    members: tuple[int, ...]
    digest: bytes
    anchor: StoredAnchor
    profile: StoredProfile
    verdicts: Mapping[str, Verdict]
    met: int


@dataclass(slots=True)
class Work:
    """One message on its way through the transaction.

    `settled` is an outcome that was clear before anybody looked at its people; what such a message says against a
    purpose counts all the same. `is_novel` tells that its people must be looked at, `familiar` what is known of them
    without asking the store. `has_other_names` tells that it may name persons under other types, too. `members` are
    identifier ids, strongest first; `bits` the purposes it may count for, once permitted.
    """

    message: Message
    place: int
    classified: Classified
    signals: Signals
    identifiers: tuple[Identifier, ...]
    ignored: tuple[tuple[Ignored, str], ...]
    event_id: EventId
    carried: tuple[HashedIdentifier, ...] = ()
    members: tuple[int, ...] = ()
    digest: bytes = b""
    anchor_id: int = 0
    sequence: int = 0
    bits: int = 0
    outcome: Outcome | None = None
    settled: Outcome | None = None
    is_novel: bool = False
    is_other_body: bool = False
    has_other_names: bool = False
    cached: CachedProfile | None = None

    @property
    def affects_verdicts(self) -> bool:
        """Whether it says anything on which verdicts depend, beside who it is."""
        return bool(self.signals.acts) or AGE in self.classified.plain_traits


@dataclass(frozen=True, slots=True)
class Plan:
    """A policy, laid out for ingest."""

    policy: Policy
    normaliser: IdentifierReader
    rules: Rules
    events: PlanRules
    signals: SignalMap
    fingerprint: bytes
    keep_for_days: Mapping[str, int]
    covering: dict[tuple[str | None, str, bool], tuple[Purpose, ...]] = field(default_factory=dict)

    def purposes_for(self, classified: Classified, *, is_server: bool) -> tuple[Purpose, ...]:
        """The purposes that could count a message of this name and category from this kind of source."""
        asked = (classified.name, classified.category, is_server)
        known = self.covering.get(asked)
        if known is None:
            known = self.covering[asked] = tuple(
                each
                for each in self.policy.purposes.values()
                if (each.events == "*" or (classified.name is not None and each.covers(classified.name)))
                and each.allows(classified.category)
                and (is_server or not each.needs_unique_identifier)
            )
        return known


def lay_out(policy: Policy) -> Plan:
    """Prepare a policy once for many batches."""
    return Plan(
        policy=policy,
        normaliser=IdentifierReader(policy.identifiers),
        rules=Rules(policy.identifiers),
        events=compile_plan(policy.events),
        signals=signal_map_of(policy),
        fingerprint=bytes.fromhex(policy.fingerprint),
        keep_for_days={key: each.keep_for_days for key, each in policy.retention.classes.items()},
    )


def read_message(plan: Plan, message: Message, place: int, *, event_id: EventId, now: datetime) -> Work:
    """Everything that can be known of a message without the database; its outcome where that settles it."""
    promoted = plan.normaliser.promote(message.body)
    classified = classify(message.kind, message.body, plan.events)
    if promoted.ignored:
        classified.sealed["as_sent"] = {
            name: message.body[name] for name in ("userId", "anonymousId", "previousId") if message.body.get(name)
        }
    signals = acts_of(
        message.body,
        has_gpc=message.has_gpc,
        is_server=message.source.kind is SourceKind.SERVER,
        mapping=plan.signals,
    )
    work = Work(
        message=message,
        place=place,
        classified=classified,
        signals=replace(signals, acts=(*signals.acts, *message.acts)) if message.acts else signals,
        identifiers=promoted.identifiers,
        ignored=promoted.ignored,
        event_id=event_id,
    )
    work.outcome = _settled(plan, work, now)
    return work


def _settled(plan: Plan, work: Work, now: datetime) -> Outcome | None:
    if not work.identifiers:
        is_blocked = any(reason is Ignored.BLOCKED for reason, _ in work.ignored)
        return Outcome(State.BLOCKED, "blocked_value") if is_blocked else Outcome(State.INVALID, "no_identifier")
    if work.classified.is_dropped:
        return Outcome(State.INVALID, "event_not_planned")
    if is_expired(work.message.occurred_at, plan.keep_for_days[work.classified.retention_class], now):
        return Outcome(State.INVALID, "expired")
    return None


def is_heard(work: Work) -> bool:
    """Whether a work is judged: it has no outcome yet, or one that leaves a no to be kept."""
    if work.outcome is None:
        return True
    says_no = any(act.act.is_refusal for act in work.signals.acts)
    return says_no and bool(work.identifiers) and work.outcome.state is not State.SUPPRESSED


def members_digest(members: Sequence[int]) -> bytes:
    """What names an interned identifier set: SHA-256 over its random ids in order."""
    return sha256(b"".join([member.to_bytes(8, "big") for member in sorted(members)]))
