"""The stages of a message during a batch: what is known of it grows from one immutable type to the next.

`ReadMessage` → `ScreenedMessage` → `IdentifiedMessage` → `DecidedMessage`. A message whose outcome is clear at an early
stage, and which does not refuse any purpose, does not reach the later ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from cdp.accounting.model import Outcome, State
from cdp.behavior.ages import AGE, BIRTHDAY, AgeAuthority, StatedAge, stated_age
from cdp.behavior.model import TAKEN_BACK, Classified, EventId, Plain
from cdp.consent.in_effect import GrantsInEffect
from cdp.consent.model import Verdict
from cdp.consent.signals.model import SignalProposal
from cdp.identity.model import Identifier, Ignored
from cdp.identity.store.anchors import StoredAnchor
from cdp.identity.store.profiles import StoredProfile
from cdp.sources.model import SourceKind
from cdp.wire.message import Message

# The stages are named tuples because several are built for every message. Measured on Python 3.11 with eight fields: a
# named tuple takes 0.28 µs to build, a frozen slotted dataclass 0.84 µs (`object.__setattr__` for each field). Reading a
# field takes 18 ns instead of 7 ns, which loops that read many of them avoid by unpacking or local names.


class HashedIdentifier(NamedTuple):
    """An identifier of a message with its pseudonyms under both domains.

    `refused_purposes` are opt-outs that were kept by pseudonym alone, from before this store knew the identifier;
    `restricted_purposes` are restrictions that were, `released_purposes` those of them that ended.
    `was_suppressed` marks an identifier whose suppression was lifted: each of its messages is screened by its instant.
    """

    identifier: Identifier
    graph_pseudonym: bytes
    suppression_pseudonym: bytes
    is_person_level: bool
    refused_purposes: frozenset[str] = frozenset()
    restricted_purposes: frozenset[str] = frozenset()
    released_purposes: frozenset[str] = frozenset()
    was_suppressed: bool = False

    @property
    def has_kept_acts(self) -> bool:
        """Whether acts were kept by pseudonym that the ledger may not have."""
        return bool(self.refused_purposes or self.restricted_purposes or self.released_purposes)


@dataclass(frozen=True, slots=True)
class CachedProfile:
    """The profile of a settled anchor that no suppression names, as an earlier batch of this process read it.

    `verdicts` are those in force then, with their instants; `read_in` is the number of that batch. `is_known_to_others`
    tells that a source other than a browser named an identifier of the person level of this anchor. `grants` are the grants in
    effect of its members, if their records were read then.
    """

    members: tuple[int, ...]
    digest: bytes
    anchor: StoredAnchor
    profile: StoredProfile
    verdicts: Mapping[str, Verdict]
    read_in: int
    is_known_to_others: bool
    grants: Mapping[int, GrantsInEffect]


class ReadMessage(NamedTuple):
    """A message with all that is known of it without the database; `position` is its index in the batch.

    `outcome` is None unless the message alone determines it. `ignored` lists identifiers that were not used, with their
    types.
    """

    message: Message
    position: int
    classified: Classified
    signals: SignalProposal
    identifiers: tuple[Identifier, ...]
    ignored: tuple[tuple[Ignored, str], ...]
    event_id: EventId
    outcome: Outcome | None

    @property
    def states_age(self) -> bool:
        """Whether the message has a trait from which an age may follow."""
        classified = self.classified
        return self._stated_age is not None or BIRTHDAY in classified.sealed_traits

    @property
    def _stated_age(self) -> Plain | None:
        """The age under its own name. Taking it back raises nobody's age: what was stated before still counts."""
        value = self.classified.plain_traits.get(AGE)
        return None if value is TAKEN_BACK else value

    def age(self) -> StatedAge | None:
        """The age that the message states, with the authority of its source."""
        classified, sent = self.classified, self.message
        authority = AgeAuthority.DEVICE
        if sent.source.kind is SourceKind.SERVER:
            authority = AgeAuthority.IMPORTED if sent.is_imported else AgeAuthority.AUTHENTICATED
        return stated_age(
            self._stated_age,
            classified.sealed_traits.get(BIRTHDAY),
            authority=authority,
            occurred_at=sent.occurred_at,
            received_at=sent.received_at,
            event_id=self.event_id,
        )

    def needs_decision(self, outcome: Outcome | None) -> bool:
        """Whether a message with this outcome is still decided: it has none yet, or an opt-out in it must be kept."""
        if outcome is None:
            return True
        is_refusing = any(act.act.is_refusal for act in self.signals.acts)
        return is_refusing and bool(self.identifiers) and outcome.state is not State.SUPPRESSED


class ScreenedMessage(NamedTuple):
    """A message after the profile cache, the suppressions and the stored message ids were consulted.

    A message either has a `cached` profile or is described by its `hashed` identifiers that no suppression dropped.
    `has_other_names` tells that it may name a person under another identifier type, too. `outcome` is the one that was
    clear before anything was decided; `is_other_body` marks a duplicate whose body differs from the stored one.
    """

    read: ReadMessage
    hashed: tuple[HashedIdentifier, ...] = ()
    has_other_names: bool = False
    cached: CachedProfile | None = None
    outcome: Outcome | None = None
    is_other_body: bool = False

    @property
    def needs_decision(self) -> bool:
        """Whether the message carries an identifier that may be processed, and its outcome or its opt-outs are open."""
        if not self.hashed and self.cached is None:
            return False
        return self.outcome is None or self.read.needs_decision(self.outcome)


class IdentifiedMessage(NamedTuple):
    """A message with its place in the recorded sequence and its anchor.

    `members` are identifier ids, strongest first; `digest` names the anchor. `needs_evaluation` tells that the verdicts
    of its profile must be computed from what is recorded; `is_acting_only` that its consent signals are the only reason, so that
    nothing changes if all of them repeat what is in effect.
    """

    read: ReadMessage
    screened: ScreenedMessage
    sequence: int
    members: tuple[int, ...]
    digest: bytes
    anchor_id: int
    needs_evaluation: bool
    is_acting_only: bool = False


class DecidedMessage(NamedTuple):
    """A message with its outcome; `bits` are the purposes for which it is stored, 0 unless it is."""

    read: ReadMessage
    identified: IdentifiedMessage
    outcome: Outcome
    bits: int = 0
    is_other_body: bool = False
