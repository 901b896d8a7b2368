"""Journeys of staff who look after the map: which identifiers are shared, which profiles are in quarantine.

The first opens values, so it is logged as a reading; the second names profiles by id and opens nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from cdp.audit.store import facts as fact_store
from cdp.flows.context import Context
from cdp.flows.identifiers import open_identifiers
from cdp.flows.snapshot import at_one_instant
from cdp.identity.store import listings as listing_store
from cdp.kit.db import Transaction
from cdp.kit.ids import encode_id


@dataclass(frozen=True, slots=True)
class SharedIdentifier:
    """An identifier that links nobody because several people use it; `people` were seen with it."""

    type: str
    value: str | None
    people: int
    since: datetime | None


@dataclass(frozen=True, slots=True)
class SharedList:
    """The shared identifiers with most people, and how many there are of each type."""

    total: int
    by_type: Mapping[str, int]
    identifiers: tuple[SharedIdentifier, ...]


@dataclass(frozen=True, slots=True)
class Bound:
    """A bound of the policy that a profile reached, and how many links it refused."""

    bound: str
    refusals: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A profile beyond a bound: it is kept, takes no more identifiers there, and is processed for no purpose."""

    profile: str
    identifiers: int
    merges: int
    bounds: tuple[Bound, ...]


@dataclass(frozen=True, slots=True)
class QuarantineList:
    """The largest profiles in quarantine, and how many there are."""

    total: int
    profiles: tuple[Quarantined, ...]


def list_shared(context: Context, *, limit: int, actor: str) -> SharedList:
    """Shared identifiers, those of most people first."""

    def read(tx: Transaction) -> SharedList:
        by_type = listing_store.count_shared(tx)
        rows = listing_store.shared(tx, limit)
        opened = open_identifiers(tx, context.vault, [row.identifier_id for row in rows])
        fact = {"kind": "data.read", "actor": actor, "read": "identifiers", "count": len(rows)}
        fact_store.append(tx, fact, context.clock.now())
        return SharedList(
            total=sum(by_type.values()),
            by_type=by_type,
            identifiers=tuple(
                SharedIdentifier(row.type, opened[row.identifier_id].value, row.profiles, row.since) for row in rows
            ),
        )

    return at_one_instant(context.database, read)


def list_quarantined(context: Context, *, limit: int) -> QuarantineList:
    """Profiles in quarantine, the largest first."""
    with context.database.transaction(read_only=True) as tx:
        rows = listing_store.quarantined(tx, limit)
        bounds: dict[int, list[Bound]] = {}
        for each in listing_store.reached_bounds(tx, [row.profile_id for row in rows]):
            bound = each.rule.partition(":")[2]
            bounds.setdefault(each.profile_id, []).append(Bound(bound, each.refusals, each.since))
        return QuarantineList(
            total=listing_store.count_quarantined(tx),
            profiles=tuple(
                Quarantined(
                    encode_id("prf", row.profile_id),
                    row.identifiers,
                    row.merges,
                    tuple(bounds.get(row.profile_id, ())),
                )
                for row in rows
            ),
        )
