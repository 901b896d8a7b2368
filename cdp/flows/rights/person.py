"""Steps that determine the person of a request: the identifiers it names, how far they reach, and what to suppress."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from cdp.consent.store import deferred as deferred_store
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
from cdp.rights.store import reviews as review_store
from cdp.sources.store import sources as source_store
from cdp.vault.pseudonym import SUPPRESSION
from cdp.vault.seal import SealedColumn
from cdp.vault.vault import Item

NAMED_IDENTIFIER_COLUMN = SealedColumn("rights.request_identifier", "sealed")


@dataclass(frozen=True, slots=True)
class Person:
    """The person a request is about: the identifiers it names, and how far they reach.

    `known` are the ids of the named identifiers that the store has. `deferred` are the owners of the keys of what waits for
    an answer of the person's devices.
    """

    named: tuple[NamedIdentifier, ...]
    reach: Reach
    known: Mapping[int, NamedIdentifier]
    deferred: frozenset[int] = frozenset()

    @property
    def is_nothing_held(self) -> bool:
        """Whether nothing at all is stored under the identifiers that the request names."""
        return not self.known and not self.deferred

    def erasure_scope(self, request_id: int) -> Scope:
        """What an erasure covers, including identifiers that only this person's anchors contain."""
        own = self.reach
        return Scope(request_id, own.identifiers | own.orphans, own.anchors, own.profiles, self.deferred)

    def export_scope(self, request_id: int) -> Scope:
        """What an export covers: the person's own data, and verdicts and segments of profiles with no other person."""
        own = self.reach
        profiles = own.profiles | (own.continuing - own.ambiguous)
        return Scope(request_id, own.identifiers, own.anchors, profiles, self.deferred)


def named_identifiers(tx: Transaction, context: Context, *request_ids: int) -> tuple[NamedIdentifier, ...]:
    """The identifiers that requests name, opened; none once they were shredded after its end."""
    stored = request_store.named_identifiers(tx, request_ids)
    items = [Item(row.request_id, named_identifier_row(row.request_id, row.position), row.sealed) for row in stored]
    values = context.vault.open_many(
        context.vault.subject_keys.keys_for(tx, request_ids), NAMED_IDENTIFIER_COLUMN, items
    )
    return tuple(
        NamedIdentifier(row.type, value.decode())
        for row, value in zip(stored, values, strict=True)
        if value is not None
    )


def named_identifier_row(request_id: int, position: int) -> bytes:
    """The row id with which the sealed value of a named identifier is authenticated."""
    return request_id.to_bytes(8, "big") + position.to_bytes(2, "big")


def value_row(request_id: int, position: int) -> bytes:
    """The row id with which the sealed value of a request is authenticated."""
    return request_id.to_bytes(8, "big") + position.to_bytes(2, "big")


def find_person(tx: Transaction, context: Context, request: Request) -> Person:
    """The person of the request according to the current data. An unknown person has an empty reach."""
    decisions = review_store.decisions(tx, request.request_id)
    return find_person_of(tx, context, named_identifiers(tx, context, request.request_id), decisions=decisions)


def find_person_of(
    tx: Transaction,
    context: Context,
    named: tuple[NamedIdentifier, ...],
    *,
    decisions: Mapping[int, bool] = MappingProxyType({}),
) -> Person:
    """The person whom these verified identifiers name; `decisions` are those of a reviewer, by identifier."""
    known = find_identifiers(tx, context.vault, [Identifier(identifier.type, identifier.value) for identifier in named])
    verified = frozenset(identifier.identifier_id for identifier in known.values())
    verified |= {identifier_id for identifier_id, is_included in decisions.items() if is_included}
    neighborhood = reach_store.load_neighborhood(
        tx,
        verified,
        unique_types=context.policy.identifiers.unique_types,
        server_sources=source_store.server_source_ids(tx),
    )
    # An identifier with a recorded refusal stays: erasing it would lose the refusal of others who share the identifier.
    neighborhood = replace(
        neighborhood, unreferenced=neighborhood.unreferenced - record_store.with_refusals(tx, neighborhood.unreferenced)
    )
    excluded = {identifier_id for identifier_id, is_included in decisions.items() if not is_included}
    found = reach(verified, neighborhood, excluded)
    unverified = _profiles_with_unverified_identifiers(context.policy, neighborhood, found.waiting)
    retired = reach_store.retired_into(tx, found.profiles)
    person = Person(
        named,
        replace(found, profiles=found.profiles | retired, ambiguous=found.ambiguous | unverified),
        {
            stored.identifier_id: NamedIdentifier(identifier.type, identifier.value)
            for identifier, stored in known.items()
        },
    )
    return replace(
        person,
        deferred=frozenset(deferred_store.subjects_of_devices(tx, suppression_pseudonyms_of(tx, context, person))),
    )


def _profiles_with_unverified_identifiers(
    policy: Policy, neighborhood: Neighborhood, waiting: Collection[int]
) -> frozenset[int]:
    """The profiles with an unverified identifier that names a person, possibly another one.

    A browser can claim that a device belongs to another person's address.
    """
    personal = {key for key, type_ in policy.identifiers.types.items() if type_.person_level or type_.unique}
    owned = (neighborhood.identifiers[identifier_id] for identifier_id in waiting)
    return frozenset(
        identifier.profile_id
        for identifier in owned
        if identifier.profile_id is not None and identifier.type in personal
    )


def values_by_id(tx: Transaction, context: Context, identifier_ids: Collection[int]) -> dict[int, NamedIdentifier]:
    """These identifiers with their values; those whose key is shredded are absent."""
    opened = open_identifiers(tx, context.vault, identifier_ids)
    return {
        identifier_id: NamedIdentifier(identifier.type, identifier.value)
        for identifier_id, identifier in opened.items()
        if identifier.value is not None
    }


def values_of(tx: Transaction, context: Context, identifier_ids: Collection[int]) -> list[NamedIdentifier]:
    """The values of these identifiers, sorted."""
    return sorted(values_by_id(tx, context, identifier_ids).values())


def suppression_pseudonyms_of(tx: Transaction, context: Context, person: Person) -> list[bytes]:
    """The pseudonyms to suppress: of the identifiers that the request names or reaches, except shared ones."""
    shared = set(values_of(tx, context, person.reach.shared))
    identifiers = {*person.named, *values_of(tx, context, person.reach.identifiers)} - shared
    return suppression_pseudonyms(context, sorted(identifiers))


def suppression_pseudonyms(context: Context, identifiers: Sequence[NamedIdentifier]) -> list[bytes]:
    """The pseudonyms of these identifiers under the suppression domain, in their order."""
    return context.vault.hashes.pseudonyms(
        SUPPRESSION, [(identifier.type, identifier.value) for identifier in identifiers]
    )


def unknown_request() -> Fault:
    """The fault for an id that belongs to no request."""
    return Fault(
        "unknown_request",
        "Unknown request",
        "No request has this id. An id is req_ followed by 13 letters or digits; `cdp request list` lists all requests.",
        status=404,
    )
