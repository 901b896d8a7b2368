"""The rights desk: what every journey of a subject request needs, and the questions all of them ask."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cdp.behavior.rules import compile_plan, vocabularies_of
from cdp.flows.house import House
from cdp.flows.people import find_identifiers, open_identifiers
from cdp.identity.model import Identifier
from cdp.kit.db import Database, Transaction
from cdp.kit.errors import Fault
from cdp.policy.model import Policy
from cdp.rights import store, store_reach
from cdp.rights.model import Asked, Request, Scope
from cdp.rights.reach import Reach, Surroundings, reach
from cdp.rights.replay_file import ReplayFile
from cdp.vault.pseudonym import SUPPRESSION
from cdp.vault.seal import Place
from cdp.vault.strongroom import Item, Vault

NAMED_PLACE = Place("rights.request_identifier", "sealed")
REPLAY_FILE = "replay.jsonl"


@dataclass(frozen=True, slots=True)
class Desk:
    """One per process. `replay` is the replay file of CDP_HOME; `vocabularies` names, by event and property, those that
    hold terms.
    """

    database: Database
    vault: Vault
    policy: Policy
    replay: ReplayFile
    vocabularies: Mapping[str, Mapping[str, str]]


def desk_of(house: House, home: Path) -> Desk:
    """The desk of a house whose home folder is `home`."""
    vocabularies = vocabularies_of(compile_plan(house.policy.events))
    return Desk(house.database, house.vault, house.policy, ReplayFile(home / REPLAY_FILE), vocabularies)


@dataclass(frozen=True, slots=True)
class Person:
    """Who a request is about: the identifiers it names, and how far they reach."""

    named: tuple[Asked, ...]
    reach: Reach

    def scope(self, request_id: int) -> Scope:
        """What an erasure takes: identifiers that nobody else carries go too."""
        mine = self.reach
        return Scope(request_id, mine.identifiers | mine.orphans, mine.anchors, mine.profiles)

    def shown(self, request_id: int) -> Scope:
        """What an export shows: what is the person's, and verdicts and segments of a profile that is theirs alone."""
        mine = self.reach
        return Scope(request_id, mine.identifiers, mine.anchors, mine.profiles | (mine.left_over - mine.crowded))


def named_by(tx: Transaction, desk: Desk, request_id: int) -> tuple[Asked, ...]:
    """The identifiers that a request names, opened; none after its end."""
    rows = store.identifiers_named(tx, request_id)
    items = [Item(request_id, named_row(request_id, position), sealed) for position, _, sealed in rows]
    opened = desk.vault.open_many(desk.vault.keys_for(tx, [request_id]), NAMED_PLACE, items)
    return tuple(
        Asked(type_, value.decode()) for (_, type_, _), value in zip(rows, opened, strict=True) if value is not None
    )


def named_row(request_id: int, position: int) -> bytes:
    """The row with which a named identifier is authenticated."""
    return request_id.to_bytes(8, "big") + position.to_bytes(2, "big")


def find_person(tx: Transaction, desk: Desk, request: Request) -> Person:
    """Who the request is about, as the store knows it now. Somebody unknown has an empty reach."""
    named = named_by(tx, desk, request.request_id)
    known = find_identifiers(tx, desk.vault, [Identifier(each.type, each.value) for each in named])
    verified = frozenset(each.identifier_id for each in known.values())
    around = store_reach.surroundings(tx, verified, desk.policy.identifiers.unique_types)
    found = reach(verified, around)
    named_otherwise = _named_otherwise(desk.policy, around, found.waiting)
    retired = store_reach.retired_into(tx, found.profiles)
    return Person(named, replace(found, profiles=found.profiles | retired, crowded=found.crowded | named_otherwise))


def _named_otherwise(policy: Policy, around: Surroundings, waiting: Collection[int]) -> frozenset[int]:
    """The profiles in which somebody is named by an address or a number that was not verified: perhaps another person.

    Anybody can let a browser say that a device carries somebody else's address.
    """
    personal = {key for key, each in policy.identifiers.types.items() if each.person_level or each.unique}
    owners = (around.identifiers[one] for one in waiting)
    return frozenset(each.profile_id for each in owners if each.profile_id is not None and each.type in personal)


def values_by_id(tx: Transaction, desk: Desk, identifier_ids: Collection[int]) -> dict[int, Asked]:
    """These identifiers with their values; those whose key is shredded are absent."""
    opened = open_identifiers(tx, desk.vault, identifier_ids)
    return {id_: Asked(each.type, each.value) for id_, each in opened.items() if each.value is not None}


def values_of(tx: Transaction, desk: Desk, identifier_ids: Collection[int]) -> list[Asked]:
    """The values of these identifiers, in order."""
    return sorted(values_by_id(tx, desk, identifier_ids).values())


def barrier_of(tx: Transaction, desk: Desk, person: Person) -> list[bytes]:
    """The pseudonyms to suppress: of what the request names and of what it reaches, but of nothing shared."""
    shared = set(values_of(tx, desk, person.reach.shared))
    every = {*person.named, *values_of(tx, desk, person.reach.identifiers)} - shared
    return hidden_names(desk, sorted(every))


def hidden_names(desk: Desk, asked: Sequence[Asked]) -> list[bytes]:
    """Pseudonyms under the suppression domain."""
    return desk.vault.pseudonyms(SUPPRESSION, [(each.type, each.value) for each in asked])


def unknown_request() -> Fault:
    """The fault of an id under which there is no request."""
    return Fault(
        "unknown_request",
        "There is no such request",
        "No request has this id. Its form is req_ and 13 letters or digits; `cdp request list` shows all.",
        status=404,
    )
