"""The checker: whether what the store holds at rest is what a history of acts allows. Pure.

Every function returns what is wrong, as sentences without end; an empty list means that all is as it must be.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.support.faults.history import READS, Act, Kind, Outcome

ALLOWED_STATUSES: Final = frozenset({200, 201, 204, 429, 503})
"""What a client that sends nothing wrong may be answered, whatever fails behind the service."""


@dataclass(frozen=True, slots=True)
class StoreState:
    """What the store holds when nothing is in progress."""

    messages: Mapping[str, int] = field(default_factory=dict)
    """How many stored events each message id has."""
    events: Mapping[str, int] = field(default_factory=dict)
    """How many events are stored of each source."""
    accounted: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """How many messages are accounted for, by source and state."""
    homeless: int = 0
    """Events whose anchor belongs to no profile."""
    records: Mapping[str, int] = field(default_factory=dict)
    """How often each consent record that was answered is stored, by its id."""
    record_counts: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """How many records of consent acts, without those of signals, a subject has for a purpose."""
    verdicts: Mapping[tuple[str, str], bool] = field(default_factory=dict)
    """Whether a purpose is permitted, by subject and purpose."""
    members: frozenset[str] = frozenset()
    """The subjects in the segment that counts orders of those who permit `MEMBERS_PURPOSE`."""
    found: frozenset[str] = frozenset()
    """The subjects that a lookup finds."""
    fulfilled: Mapping[str, int] = field(default_factory=dict)
    """How many entries of the log say that a request was fulfilled, by its id."""
    replayed: frozenset[str] = frozenset()
    """The requests of which the replay file holds the erasure."""
    receipts: frozenset[str] = frozenset()
    """The requests with a receipt that was verified."""
    leaves: Sequence[bytes] = ()
    """The leaves of the log, in order."""
    log_findings: Sequence[str] = ()
    """What the log's own check found wrong."""
    differing: Mapping[str, int] = field(default_factory=dict)
    """How many stored memberships differ from a recomputation, by segment."""


MEMBERS_PURPOSE: Final = "email_marketing"


def check(acts: Iterable[Act], state: StoreState) -> list[str]:
    """Everything that is wrong."""
    ordered = sorted(acts, key=lambda act: act.number)
    return [
        *_wrong_statuses(ordered),
        *_wrong_messages(ordered, state),
        *_wrong_accounting(ordered, state),
        *_wrong_consents(ordered, state),
        *_wrong_members(ordered, state),
        *_wrong_erasures(ordered, state),
        *_wrong_log(ordered, state),
        *(
            f"segment {key}: {count} memberships differ from a recomputation"
            for key, count in _nonzero(state.differing)
        ),
        *([f"{state.homeless} events belong to no profile"] if state.homeless else []),
    ]


def _nonzero(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return [(key, count) for key, count in counts.items() if count]


def _wrong_statuses(acts: Sequence[Act]) -> list[str]:
    wrong = [act for act in acts if act.status and act.status not in ALLOWED_STATUSES]
    return [f"act {act.number} ({act.kind} of {act.subject}) was answered {act.status}" for act in wrong]


def _wrong_messages(acts: Sequence[Act], state: StoreState) -> list[str]:
    """Every acknowledged message is stored once, and nothing that was not sent is.

    A request that failed may be stored in part: one that takes long goes into several transactions.
    """
    erased = _erasures(acts)
    wrong = [f"message {name} is stored {count} times" for name, count in state.messages.items() if count > 1]
    sent: set[str] = set()
    for act in acts:
        if act.kind not in (Kind.SEND, Kind.IMPORT, Kind.SIGNAL) or act.outcome is Outcome.REFUSED:
            continue
        sent.update(act.messages)
        if act.subject in erased or act.kind is Kind.SIGNAL:
            continue
        stored = sum(state.messages.get(name, 0) > 0 for name in act.messages)
        if act.outcome is Outcome.ACKNOWLEDGED and stored < len(act.messages):
            wrong.append(
                f"act {act.number}: {len(act.messages) - stored} of {len(act.messages)} acknowledged messages are lost"
            )
    wrong += [f"message {name} is stored and was never sent" for name in sorted(state.messages.keys() - sent)]
    return wrong


def _wrong_accounting(acts: Sequence[Act], state: StoreState) -> list[str]:
    """Each acknowledged message is in exactly one state, and of unknown ones at most one; `stored` is what is stored."""
    least, most, names = Counter[str](), Counter[str](), defaultdict[str, set[str]](set)
    has_erased: set[str] = set()
    erased = _erasures(acts)
    for act in acts:
        if act.messages and act.outcome is not Outcome.REFUSED:
            count = len(act.messages)
            most[act.source] += count
            least[act.source] += count if act.outcome is Outcome.ACKNOWLEDGED else 0
            names[act.source].update(act.messages)
            if act.subject in erased:
                has_erased.add(act.source)
    wrong = []
    for source in sorted(most.keys() | state.accounted.keys()):
        states = state.accounted.get(source, {})
        total = sum(states.values())
        if not least[source] <= total <= most[source]:
            wrong.append(
                f"source {source}: {total} messages accounted for; {least[source]} to {most[source]} were sent"
            )
        if states.get("invalid"):
            wrong.append(f"source {source}: {states['invalid']} valid messages are counted as invalid")
        events = state.events.get(source, 0)
        if source not in has_erased and states.get("stored", 0) != events:
            wrong.append(f"source {source}: {states.get('stored', 0)} messages counted as stored, and {events} events")
        known = sum(state.messages.get(name, 0) for name in names[source])
        if known != events:
            wrong.append(f"source {source}: {events} events, of which {known} were sent")
    return wrong


@dataclass(slots=True)
class _Choice:
    """What a purpose of a subject may be now, the least and the most records of it, and whether an order counts for it."""

    possible: set[bool] = field(default_factory=lambda: {False})
    least: int = 0
    most: int = 0
    is_ordered: bool = False


def _choices(acts: Sequence[Act]) -> tuple[dict[tuple[str, str], _Choice], list[str]]:
    """Follow each purpose of each subject through the history; every verdict that was read must be one that was possible."""
    choices: dict[tuple[str, str], _Choice] = defaultdict(_Choice)
    wrong = []
    for act in acts:
        if act.outcome is Outcome.REFUSED:
            continue
        if act.kind in (Kind.CONSENT, Kind.SIGNAL):
            choice = choices[act.subject, act.purpose]
            assert act.choice is not None
            choice.is_ordered = choice.is_ordered and choice.possible == {True} and act.choice
            is_certain = act.outcome is Outcome.ACKNOWLEDGED
            choice.possible = {act.choice} if is_certain else choice.possible | {act.choice}
            if act.kind is Kind.CONSENT:
                choice.least, choice.most = choice.least + is_certain, choice.most + 1
        elif act.kind is Kind.SEND and act.is_order and act.outcome is Outcome.ACKNOWLEDGED and not act.lags:
            choice = choices[act.subject, MEMBERS_PURPOSE]
            choice.is_ordered = choice.is_ordered or choice.possible == {True}
        elif act.kind is Kind.VERDICT and act.choice is not None:
            choice = choices[act.subject, act.purpose]
            if act.lags and not act.choice:
                continue  # grants do not count yet
            if act.choice not in choice.possible:
                was = _word(not act.choice)
                wrong.append(
                    f"act {act.number}: {act.purpose} of {act.subject} was {was}, and read as {_word(act.choice)}"
                )
            else:
                choice.possible = {act.choice}
    return choices, wrong


def _word(is_permitted: bool) -> str:
    return "permitted" if is_permitted else "refused"


def _wrong_consents(acts: Sequence[Act], state: StoreState) -> list[str]:
    """Every acknowledged consent act is recorded once, and the last one counts."""
    choices, wrong = _choices(acts)
    for act in acts:
        if act.kind is Kind.CONSENT and act.outcome is Outcome.ACKNOWLEDGED and state.records.get(act.record) != 1:
            found = state.records.get(act.record, 0)
            wrong.append(f"act {act.number}: consent record {act.record} of {act.subject} is stored {found} times")
    for (subject, purpose), choice in choices.items():
        count = state.record_counts.get((subject, purpose), 0)
        if choice.least and not choice.least <= count <= choice.most:
            wrong.append(f"{subject} has {count} records for {purpose}; {choice.least} to {choice.most} acts were sent")
        verdict = state.verdicts.get((subject, purpose))
        if verdict is not None and verdict not in choice.possible:
            wrong.append(f"{purpose} of {subject} is {_word(verdict)}; the last act was another")
    return wrong


def _wrong_members(acts: Sequence[Act], state: StoreState) -> list[str]:
    """Who certainly refuses is not a member; who certainly permits and has ordered since is one."""
    choices, _ = _choices(acts)
    wrong = []
    for (subject, purpose), choice in choices.items():
        if purpose != MEMBERS_PURPOSE or (subject, purpose) not in state.verdicts:
            continue
        if subject in state.members and True not in choice.possible:
            wrong.append(f"{subject} refuses {purpose} and is a member")
        if subject not in state.members and choice.possible == {True} and choice.is_ordered:
            wrong.append(f"{subject} permits {purpose}, has ordered and is not a member")
    return wrong


def _erasures(acts: Sequence[Act]) -> dict[str, Act]:
    """The act that erased each subject, or may have."""
    return {act.subject: act for act in acts if act.kind is Kind.ERASE and act.outcome is not Outcome.REFUSED}


def _wrong_erasures(acts: Sequence[Act], state: StoreState) -> list[str]:
    """Of who was erased nothing is there, nothing came later, and the erasure is in log, replay file and receipt, once."""
    wrong = []
    messages: dict[str, list[str]] = defaultdict(list)
    for act in acts:
        messages[act.subject] += act.messages
    for subject, act in _erasures(acts).items():
        if act.outcome is not Outcome.ACKNOWLEDGED:
            continue
        left = sum(state.messages.get(name, 0) for name in messages[subject])
        if left:
            wrong.append(f"{subject} was erased by act {act.number} and has {left} events")
        if subject in state.found:
            wrong.append(f"{subject} was erased by act {act.number} and is found")
        if state.fulfilled.get(act.record) != 1:
            wrong.append(f"the erasure {act.record} is fulfilled {state.fulfilled.get(act.record, 0)} times in the log")
        if act.record not in state.replayed:
            wrong.append(f"the erasure {act.record} is missing from the replay file")
        if act.record not in state.receipts:
            wrong.append(f"the erasure {act.record} has no valid receipt")
    return wrong


def _wrong_log(acts: Sequence[Act], state: StoreState) -> list[str]:
    """The log is one tree: every head that a client was ever shown is the root over that many of today's leaves."""
    wrong = [f"the log: {finding}" for finding in state.log_findings]
    heads = {act.head for act in acts if act.head is not None}
    roots = roots_at(state.leaves, {size for size, _ in heads})
    for size, root in sorted(heads):
        if size > len(state.leaves):
            wrong.append(f"a head over {size} leaves was shown; there are {len(state.leaves)}")
        elif roots[size] != root:
            wrong.append(f"the head that was shown over {size} leaves is not the root over them")
    return wrong


def roots_at(leaves: Sequence[bytes], sizes: Iterable[int]) -> dict[int, str]:
    """The roots of RFC 6962 over the first leaves, in hexadecimal digits, by size: computed from a stack of whole subtrees."""
    asked = set(sizes)
    stack: list[tuple[int, bytes]] = []
    roots = {0: hashlib.sha256(b"").hexdigest()}
    for size, leaf in enumerate(leaves, start=1):
        height, node = 0, hashlib.sha256(b"\x00" + leaf).digest()
        while stack and stack[-1][0] == height:
            height, node = height + 1, hashlib.sha256(b"\x01" + stack.pop()[1] + node).digest()
        stack.append((height, node))
        if size in asked:
            root = stack[-1][1]
            for _, left in reversed(stack[:-1]):
                root = hashlib.sha256(b"\x01" + left + root).digest()
            roots[size] = root.hex()
    return roots


def summary(acts: Iterable[Act]) -> dict[str, int]:
    """How many acts of each kind were acknowledged, messages apart; reads are counted together."""
    counts = Counter[str]()
    for act in acts:
        if act.outcome is Outcome.ACKNOWLEDGED:
            counts["reads" if act.kind in READS else f"{act.kind} acts"] += 1
            counts["messages"] += len(act.messages)
    return dict(sorted(counts.items()))
