"""What a part of a link table needs before its transaction: pseudonyms, stored identifiers, keys and sealed values.

No lock is held and nothing is written. A snapshot is valid until another writer commits; the transaction that
processes the part detects that (`GenerationLog`) and then loads a new one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby

from cdp.flows.context import Context
from cdp.flows.identifiers import IDENTIFIER_PLACE
from cdp.flows.identity.link_table.rows import Part
from cdp.identity.model import Identifier
from cdp.identity.normalize import IdentifierReader
from cdp.identity.store import generation as generation_store
from cdp.identity.store import identifiers as identifier_store
from cdp.kit.db import Transaction
from cdp.kit.ids import new_ids
from cdp.policy.identifiers import NormalizerKind
from cdp.rights.store import suppressions as suppression_store
from cdp.rights.store.suppressions import SuppressionState
from cdp.vault.pseudonym import GRAPH, SUPPRESSION, Domain
from cdp.vault.subject_keys import FreshKeys
from cdp.vault.vault import Vault


@dataclass(frozen=True, slots=True)
class LinkTableSnapshot:
    """What was stored about the identifiers of a part at one generation, by their position in the part.

    `versions` are the active versions of the graph key, `pseudonyms` those under the newest. `suppressed` identifiers
    must not be processed at all, those in `kept` not for the given purposes: refusals and restrictions that outlived
    their person as pseudonyms.
    """

    generation: generation_store.Generation
    versions: tuple[int, ...]
    pseudonyms: Sequence[bytes]
    stored: Mapping[int, identifier_store.StoredIdentifier]
    suppressed: frozenset[int]
    kept: Mapping[int, SuppressionState]

    @property
    def is_empty(self) -> bool:
        """Whether nothing is stored about any of these identifiers."""
        return not self.stored and not self.suppressed and not self.kept

    def unknown_positions(self, part: Part) -> list[int]:
        """The positions of a part whose identifiers are neither stored nor suppressed."""
        return [at for at in range(len(part.identifiers)) if at not in self.stored and at not in self.suppressed]


@dataclass(frozen=True, slots=True)
class NewIdentifiers:
    """Identifiers at some `positions` of a part that are not stored: ascending ids with keys, and sealed values."""

    positions: Sequence[int]
    keys: FreshKeys
    sealed: Sequence[bytes]

    def only(self, indexes: Sequence[int]) -> "NewIdentifiers":
        """The identifiers at these indexes of `positions`."""
        return NewIdentifiers(
            [self.positions[at] for at in indexes], self.keys.only(indexes), [self.sealed[at] for at in indexes]
        )


@dataclass(slots=True)
class GenerationLog:
    """The generations that follow each other by transactions of this import alone.

    No part names an identifier of another part, so that these transactions do not invalidate a snapshot.
    """

    next_of: dict[generation_store.Generation, generation_store.Generation] = field(default_factory=dict)

    def note(self, before: generation_store.Generation, after: generation_store.Generation) -> None:
        """Record that a part advanced the generation; it stays the same if all rows of the part were refused."""
        if after != before:
            self.next_of[before] = after

    def connects(self, before: generation_store.Generation, after: generation_store.Generation) -> bool:
        """Whether no other writer committed between these two generations."""
        while before != after and before in self.next_of:
            before = self.next_of[before]
        return before == after


@dataclass(frozen=True, slots=True)
class PreparedPart:
    """A part that is ready for its transaction."""

    part: Part
    snapshot: LinkTableSnapshot
    new: NewIdentifiers


def load_snapshot(
    tx: Transaction, context: Context, part: Part, *, generation: generation_store.Generation, now: datetime
) -> LinkTableSnapshot:
    """Load what is stored about every identifier of a part, with one statement per active version of the graph key."""
    vault = context.vault
    versions = vault.root_keys.active_versions(tx, GRAPH)
    stored: dict[int, identifier_store.StoredIdentifier] = {}
    pseudonyms: list[bytes] = []
    for version in versions:  # the newest comes last, and is never destroyed
        pseudonyms = _pseudonyms(vault, GRAPH, part, version=version)
        found = identifier_store.identifiers_by_pseudonym(tx, pseudonyms)
        if found:
            stored.update((at, found[pseudonym]) for at, pseudonym in enumerate(pseudonyms) if pseudonym in found)
    states: dict[int, SuppressionState] = {}
    if suppression_store.has_suppressions(tx):
        suppression_pseudonyms = _pseudonyms(vault, SUPPRESSION, part, version=None)
        addresses = _addresses(context, part)
        found_states = suppression_store.suppression_states(tx, [*suppression_pseudonyms, *addresses.values()], now)
        states = {
            at: found_states[pseudonym]
            for at, pseudonym in enumerate(suppression_pseudonyms)
            if pseudonym in found_states
        }
        for at, address in addresses.items():
            if (state := found_states.get(address)) is not None and suppression_store.EVERYTHING in state.purposes:
                states[at] = state
    suppressed = frozenset(at for at, state in states.items() if suppression_store.EVERYTHING in state.purposes)
    kept = {at: state for at, state in states.items() if at not in suppressed and (state.purposes or state.released)}
    return LinkTableSnapshot(generation, versions, pseudonyms, stored, suppressed, kept)


def _addresses(context: Context, part: Part) -> dict[int, bytes]:
    """The suppression pseudonyms of e-mail addresses that are sent as identifiers of another type, by position."""
    types = context.policy.identifiers.types
    email_types = [key for key, type_ in types.items() if type_.normalizer is NormalizerKind.EMAIL]
    read = IdentifierReader(context.policy.identifiers).read
    found = {
        at: identifier
        for at, (type_, value) in enumerate(part.identifiers)
        if "@" in value and type_ not in email_types
        for key in email_types
        if isinstance(identifier := read(key, value), Identifier)
    }
    return dict(zip(found, context.vault.hashes.pseudonyms(SUPPRESSION, found.values()), strict=True))


def name_identifiers(vault: Vault, epoch_id: int, part: Part, *, positions: Sequence[int]) -> NewIdentifiers:
    """Create ids, keys and sealed values; ids ascend with the positions, so that rows go into their indexes in order."""
    keys = vault.subject_keys.prepare(epoch_id, sorted(new_ids(len(positions))))
    values = (part.identifiers[at].value.encode() for at in positions)
    return NewIdentifiers(positions, keys, vault.seal_each(IDENTIFIER_PLACE, keys, values))


def _pseudonyms(vault: Vault, domain: Domain, part: Part, *, version: int | None) -> list[bytes]:
    """The pseudonyms of the identifiers of a part, in order; computed type by type."""
    by_type = sorted(range(len(part.identifiers)), key=lambda at: part.identifiers[at].type)
    pseudonyms: list[bytes] = [b""] * len(by_type)
    for type_, positions in groupby(by_type, key=lambda at: part.identifiers[at].type):
        same_type = list(positions)
        values = (part.identifiers[at].value.encode() for at in same_type)
        for at, digest in zip(same_type, vault.hashes.digests(domain, type_, values, version=version), strict=True):
            pseudonyms[at] = digest
    return pseudonyms
