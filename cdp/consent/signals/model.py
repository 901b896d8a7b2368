"""What a signal proposes, before the ledger compares it with what is known."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cdp.consent.model import Act, Authority
from cdp.policy.model import Policy

GPC: Final = "gpc"
SEGMENT: Final = "segment"
RUDDERSTACK: Final = "rudderstack"

MALFORMED: Final = "malformed"


@dataclass(frozen=True, slots=True)
class ProposedAct:
    """One act that a signal stands for.

    `identifier_types` are the types of the one identifier of the message that it applies to, None means all
    identifiers. `rule` says by which part of the policy the signal became this act. `signal_hash` is the
    SHA-256 of the raw signal.
    """

    purpose: str
    act: Act
    authority: Authority
    identifier_types: frozenset[str] | None
    signal: str
    signal_hash: bytes
    rule: str

    def among(self, members: Sequence[tuple[int, str]]) -> list[int]:
        """Those of a message's identifiers, given with their types and strongest first, that it is about.

        Where it is for some types alone it is about one: a device speaks for itself, whatever else its message names.
        """
        if self.identifier_types is None:
            return [identifier for identifier, _ in members]
        return [identifier for identifier, type_ in members if type_ in self.identifier_types][:1]


@dataclass(frozen=True, slots=True)
class SignalProposal:
    """What one message proposes; `malformed` names the signals in it that could not be read, `unknown` those with a name
    that no purpose of the policy has."""

    acts: tuple[ProposedAct, ...] = ()
    malformed: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SignalMap:
    """Which purposes each kind of signal speaks of, and under which names; made once per policy.

    `known` are all names of a signal, also those of purposes that no act moves.
    """

    sale: tuple[str, ...]
    names: Mapping[str, Mapping[str, tuple[str, ...]]]
    known: Mapping[str, frozenset[str]]
    device_types: frozenset[str]


def signal_map_of(policy: Policy) -> SignalMap:
    """The map that a policy gives.

    Purposes that no act can grant or refuse (contract and its like) are left out.
    """
    every = policy.purposes.values()
    moved_by_acts = [each for each in every if not each.needs_unique_identifier]
    return SignalMap(
        sale=tuple(each.key for each in moved_by_acts if each.sale_or_sharing),
        names={
            SEGMENT: {each.key: each.signals.segment for each in moved_by_acts if each.signals.segment},
            RUDDERSTACK: {
                each.key: names for each in moved_by_acts if (names := each.signals.rudderstack or each.signals.segment)
            },
        },
        known={
            SEGMENT: frozenset(name for each in every for name in each.signals.segment),
            RUDDERSTACK: frozenset(name for each in every for name in each.signals.rudderstack or each.signals.segment),
        },
        device_types=frozenset(each.key for each in policy.identifiers.types.values() if each.device),
    )


def hash_of(raw: Any) -> bytes:
    """SHA-256 of the raw signal in one fixed spelling."""
    try:
        spelled = json.dumps(raw, sort_keys=True, separators=(",", ":"))
    except (RecursionError, TypeError):
        spelled = MALFORMED
    return hashlib.sha256(spelled.encode()).digest()
