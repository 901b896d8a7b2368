"""What a part of a link table needs before its transaction: pseudonyms, what the store knows, keys and seals for the rest.

Nothing here holds a lock, and nothing is written. What the store knew holds for as long as nobody else wrote; the
transaction that takes the part finds out (`Trail`), and asks again where somebody did.
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
from cdp.kit.errors import Fault
from cdp.kit.ids import new_ids
from cdp.policy.identifiers import NormalizerKind
from cdp.rights.store import suppressions as suppression_store
from cdp.vault.pseudonym import GRAPH, SUPPRESSION, Domain
from cdp.vault.subject_keys import FreshKeys
from cdp.vault.vault import Vault


@dataclass(frozen=True, slots=True)
class LinkTableSnapshot:
    """What the store said about the identifiers of a part, by their places, at one generation.

    `versions` are the living versions of the graph key, `pseudonyms` those under the newest. `suppressed` may not be
    named at all, `noes` not be processed for some purposes: noes of which only the pseudonym was left.
    """

    generation: generation_store.Generation
    versions: tuple[int, ...]
    pseudonyms: Sequence[bytes]
    known: Mapping[int, identifier_store.StoredIdentifier]
    suppressed: frozenset[int]
    noes: Mapping[int, frozenset[str]]

    @property
    def knows_nobody(self) -> bool:
        """Whether the store knows nothing of anybody here."""
        return not self.known and not self.suppressed and not self.noes


@dataclass(frozen=True, slots=True)
class NewIdentifiers:
    """Names for the identifiers at `places` of a part, which the store did not know: ascending ids, keys and seals."""

    places: Sequence[int]
    keys: FreshKeys
    sealed: Sequence[bytes]


@dataclass(slots=True)
class GenerationLog:
    """The generations between which only this import wrote, and never about an identifier of another part."""

    own: dict[generation_store.Generation, generation_store.Generation] = field(default_factory=dict)

    def note(self, before: generation_store.Generation, after: generation_store.Generation) -> None:
        """A part was taken between these two, which are one where all its rows were refused."""
        if after != before:
            self.own[before] = after

    def leads(self, seen: generation_store.Generation, now: generation_store.Generation) -> bool:
        """Whether nobody else wrote from the one to the other."""
        while seen != now and seen in self.own:
            seen = self.own[seen]
        return seen == now


@dataclass(frozen=True, slots=True)
class PreparedPart:
    """A part that only waits for its transaction."""

    part: Part
    sight: LinkTableSnapshot
    names: NewIdentifiers


def prepare(context: Context, part: Part) -> PreparedPart:
    """Look a part up and name whom the store does not know."""
    try:
        sight, epoch_id = _seen(context, part)
    except Fault:  # a rotation may just have destroyed a key that was to be asked under; the next look knows
        sight, epoch_id = _seen(context, part)
    strangers = [at for at in range(len(part.identifiers)) if at not in sight.known and at not in sight.suppressed]
    return PreparedPart(part, sight, name_identifiers(context.vault, epoch_id, part, places=strangers))


def _seen(context: Context, part: Part) -> tuple[LinkTableSnapshot, int]:
    with context.database.transaction(read_only=True) as tx:
        sight = load_snapshot(tx, context, part, generation=generation_store.generation(tx), now=context.clock.now())
        return sight, context.vault.epochs.active(tx)


def load_snapshot(
    tx: Transaction, context: Context, part: Part, *, generation: generation_store.Generation, now: datetime
) -> LinkTableSnapshot:
    """Ask the store about every identifier of a part; as many statements as the graph key has living versions."""
    vault = context.vault
    versions = vault.root_keys.active_versions(tx, GRAPH)
    known: dict[int, identifier_store.StoredIdentifier] = {}
    pseudonyms: list[bytes] = []
    for version in versions:  # the newest comes last, and is never destroyed
        pseudonyms = _hashed(vault, GRAPH, part, version=version)
        found = identifier_store.identifiers_by_pseudonym(tx, pseudonyms)
        if found:
            known.update((at, found[each]) for at, each in enumerate(pseudonyms) if each in found)
    orders: dict[int, frozenset[str]] = {}
    if suppression_store.has_suppressions(tx):
        hidden = _hashed(vault, SUPPRESSION, part, version=None)
        addresses = _addresses(context, part)
        standing = suppression_store.suppressed_purposes(tx, [*hidden, *addresses.values()], now)
        orders = {at: standing[each] for at, each in enumerate(hidden) if each in standing}
        for at, address in addresses.items():
            if suppression_store.EVERYTHING in standing.get(address, ()):
                orders[at] = frozenset({suppression_store.EVERYTHING})
    suppressed = frozenset(at for at, purposes in orders.items() if suppression_store.EVERYTHING in purposes)
    noes = {at: purposes for at, purposes in orders.items() if at not in suppressed}
    return LinkTableSnapshot(generation, versions, pseudonyms, known, suppressed, noes)


def _addresses(context: Context, part: Part) -> dict[int, bytes]:
    """What e-mail address, as suppressions name it, an identifier of another type is: many send one as an id."""
    types = context.policy.identifiers.types
    mail = [key for key, type_ in types.items() if type_.normalizer is NormalizerKind.EMAIL]
    read = IdentifierReader(context.policy.identifiers).read
    found = {
        at: identifier
        for at, each in enumerate(part.identifiers)
        if "@" in each.value and each.type not in mail
        for key in mail
        if isinstance(identifier := read(key, each.value), Identifier)
    }
    return dict(zip(found, context.vault.hashes.pseudonyms(SUPPRESSION, found.values()), strict=True))


def name_identifiers(vault: Vault, epoch_id: int, part: Part, *, places: Sequence[int]) -> NewIdentifiers:
    """Ids that ascend with the places, so that rows go into their indexes in order; a key and a seal for each."""
    keys = vault.subject_keys.prepare(epoch_id, sorted(new_ids(len(places))))
    values = (part.identifiers[at].value.encode() for at in places)
    return NewIdentifiers(places, keys, vault.seal_each(IDENTIFIER_PLACE, keys, values))


def _hashed(vault: Vault, domain: Domain, part: Part, *, version: int | None) -> list[bytes]:
    """The pseudonyms of a part's identifiers, in order; hashed type by type."""
    by_type = sorted(range(len(part.identifiers)), key=lambda at: part.identifiers[at].type)
    hashed: list[bytes] = [b""] * len(by_type)
    for type_, places in groupby(by_type, key=lambda at: part.identifiers[at].type):
        mine = list(places)
        values = (part.identifiers[at].value.encode() for at in mine)
        for at, digest in zip(mine, vault.hashes.digests(domain, type_, values, version=version), strict=True):
            hashed[at] = digest
    return hashed
