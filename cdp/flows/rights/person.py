"""The rights desk: what every journey of a subject request needs, and the questions all of them ask."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from cdp.consent.store import records as record_store
from cdp.flows.context import Context
from cdp.flows.identifiers import find_identifiers, open_identifiers
from cdp.identity.model import Identifier
from cdp.identity.reach import Neighborhood, Reach, reach
from cdp.identity.store import reach as reach_store
from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.policy.model import Policy
from cdp.rights.model import NamedIdentifier, Request, Scope
from cdp.rights.store import requests as request_store
from cdp.sources.store import sources as source_store
from cdp.vault.pseudonym import SUPPRESSION
from cdp.vault.seal import SealedColumn
from cdp.vault.vault import Item

NAMED_PLACE = SealedColumn("rights.request_identifier", "sealed")


@dataclass(frozen=True, slots=True)
class Person:
    """Who a request is about: the identifiers it names, and how far they reach."""

    named: tuple[NamedIdentifier, ...]
    reach: Reach

    def scope(self, request_id: int) -> Scope:
        """What an erasure takes: identifiers that nobody else carries go too."""
        mine = self.reach
        return Scope(request_id, mine.identifiers | mine.orphans, mine.anchors, mine.profiles)

    def shown(self, request_id: int) -> Scope:
        """What an export shows: what is the person's, and verdicts and segments of a profile that is theirs alone."""
        mine = self.reach
        return Scope(request_id, mine.identifiers, mine.anchors, mine.profiles | (mine.continuing - mine.ambiguous))


def named_by(tx: Transaction, context: Context, request_id: int) -> tuple[NamedIdentifier, ...]:
    """The identifiers that a request names, opened; none after its end."""
    rows = request_store.identifiers_named(tx, request_id)
    items = [Item(request_id, named_row(request_id, position), sealed) for position, _, sealed in rows]
    opened = context.vault.open_many(context.vault.keys_for(tx, [request_id]), NAMED_PLACE, items)
    return tuple(
        NamedIdentifier(type_, value.decode())
        for (_, type_, _), value in zip(rows, opened, strict=True)
        if value is not None
    )


def named_row(request_id: int, position: int) -> bytes:
    """The row with which a named identifier is authenticated."""
    return request_id.to_bytes(8, "big") + position.to_bytes(2, "big")


def find_person(tx: Transaction, context: Context, request: Request) -> Person:
    """Who the request is about, as the store knows it now. Somebody unknown has an empty reach."""
    named = named_by(tx, context, request.request_id)
    known = find_identifiers(tx, context.vault, [Identifier(each.type, each.value) for each in named])
    verified = frozenset(each.identifier_id for each in known.values())
    around = reach_store.load_neighborhood(
        tx,
        verified,
        unique_types=context.policy.identifiers.unique_types,
        server_sources=source_store.server_source_ids(tx),
    )
    # An identifier with a recorded refusal stays: erasing it would lose the refusal for whoever else carries it.
    around = replace(around, unreferenced=around.unreferenced - record_store.with_refusals(tx, around.unreferenced))
    found = reach(verified, around)
    named_otherwise = _named_otherwise(context.policy, around, found.waiting)
    retired = reach_store.retired_into(tx, found.profiles)
    return Person(named, replace(found, profiles=found.profiles | retired, ambiguous=found.ambiguous | named_otherwise))


def _named_otherwise(policy: Policy, around: Neighborhood, waiting: Collection[int]) -> frozenset[int]:
    """The profiles in which somebody is named by an address or a number that was not verified: perhaps another person.

    Anybody can let a browser say that a device carries somebody else's address.
    """
    personal = {key for key, each in policy.identifiers.types.items() if each.person_level or each.unique}
    owners = (around.identifiers[one] for one in waiting)
    return frozenset(each.profile_id for each in owners if each.profile_id is not None and each.type in personal)


def values_by_id(tx: Transaction, context: Context, identifier_ids: Collection[int]) -> dict[int, NamedIdentifier]:
    """These identifiers with their values; those whose key is shredded are absent."""
    opened = open_identifiers(tx, context.vault, identifier_ids)
    return {id_: NamedIdentifier(each.type, each.value) for id_, each in opened.items() if each.value is not None}


def values_of(tx: Transaction, context: Context, identifier_ids: Collection[int]) -> list[NamedIdentifier]:
    """The values of these identifiers, in order."""
    return sorted(values_by_id(tx, context, identifier_ids).values())


def suppression_pseudonyms_of(tx: Transaction, context: Context, person: Person) -> list[bytes]:
    """The pseudonyms to suppress: of what the request names and of what it reaches, but of nothing shared."""
    shared = set(values_of(tx, context, person.reach.shared))
    every = {*person.named, *values_of(tx, context, person.reach.identifiers)} - shared
    return suppression_pseudonyms(context, sorted(every))


def suppression_pseudonyms(context: Context, asked: Sequence[NamedIdentifier]) -> list[bytes]:
    """Pseudonyms under the suppression domain."""
    return context.vault.pseudonyms(SUPPRESSION, [(each.type, each.value) for each in asked])


def unknown_request() -> Fault:
    """The fault of an id under which there is no request."""
    return Fault(
        "unknown_request",
        "There is no such request",
        "No request has this id. Its form is req_ and 13 letters or digits; `cdp request list` shows all.",
        status=404,
    )
