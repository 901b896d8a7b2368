"""List what staff should review: shared identifiers, words that were left out, and profiles in quarantine.

The first two open values, so the read is recorded in the audit log; the last shows profile ids and opens nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from cdp.flows.context import Context
from cdp.flows.identifiers import open_identifiers
from cdp.flows.identity.review_cases import CLAIM_PREFIX
from cdp.flows.reads import Reading, log_read
from cdp.flows.snapshot import at_one_instant
from cdp.identity.store import listings as listing_store
from cdp.kit.db import Transaction
from cdp.kit.ids import encode_id


@dataclass(frozen=True, slots=True)
class SharedIdentifier:
    """An identifier that links no profiles because several people use it; `people` counts the profiles seen with it."""

    type: str
    value: str | None
    people: int
    since: datetime | None


@dataclass(frozen=True, slots=True)
class SharedList:
    """The shared identifiers seen with most profiles, the number of all, and the number of each type."""

    total: int
    by_type: Mapping[str, int]
    identifiers: tuple[SharedIdentifier, ...]


@dataclass(frozen=True, slots=True)
class LeftOutIdentifier:
    """An identifier that messages or rows named in vain, because a word of a higher authority or a newer one has it.

    `case` names it when a reviewer rejects it; what was rejected counts no longer. `rule` is `authority` or `stale`;
    `words` counts the messages and rows, `people` the profiles that they belong to.
    """

    case: str
    type: str
    value: str | None
    rule: str
    words: int
    people: int
    since: datetime


@dataclass(frozen=True, slots=True)
class LeftOutList:
    """What waits for a reviewer: the identifiers that most profiles named in vain, and the number of all."""

    left_out_total: int
    left_out: tuple[LeftOutIdentifier, ...]


@dataclass(frozen=True, slots=True)
class ProfileBound:
    """A bound of the policy that a profile reached, how many links were refused because of it, and since when."""

    bound: str
    refusals: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A profile beyond a bound: it is kept, accepts no links beyond the bound, and is processed for no purpose."""

    profile: str
    identifiers: int
    merges: int
    bounds: tuple[ProfileBound, ...]


@dataclass(frozen=True, slots=True)
class QuarantineList:
    """The largest profiles in quarantine, and the number of all."""

    total: int
    profiles: tuple[Quarantined, ...]


def list_shared(context: Context, *, limit: int, actor: str, token: int | None = None) -> SharedList:
    """Up to `limit` shared identifiers, those seen with most profiles first; recorded in the audit log."""

    def read(tx: Transaction) -> SharedList:
        by_type = listing_store.count_shared(tx)
        rows = listing_store.shared(tx, limit)
        opened = open_identifiers(tx, context.vault, [row.identifier_id for row in rows])
        log_read(
            tx,
            context,
            Reading(actor, token, "identifiers", question={"limit": limit}),
            count=len(rows),
            now=context.clock.now(),
            identifiers=[row.identifier_id for row in rows],
        )
        return SharedList(
            total=sum(by_type.values()),
            by_type=by_type,
            identifiers=tuple(
                SharedIdentifier(row.type, opened[row.identifier_id].value, row.profiles, row.since) for row in rows
            ),
        )

    return at_one_instant(context.database, read)


def list_left_out(context: Context, *, limit: int, actor: str, token: int | None = None) -> LeftOutList:
    """Up to `limit` identifiers that were left out, those named by most profiles first; recorded in the audit log."""

    def read(tx: Transaction) -> LeftOutList:
        rows = listing_store.left_out(tx, limit)
        opened = open_identifiers(tx, context.vault, [row.identifier_id for row in rows])
        log_read(
            tx,
            context,
            Reading(actor, token, "identifiers", question={"left_out": True, "limit": limit}),
            count=len(rows),
            now=context.clock.now(),
            identifiers=[row.identifier_id for row in rows],
        )
        return LeftOutList(
            listing_store.count_left_out(tx),
            tuple(
                LeftOutIdentifier(
                    encode_id(CLAIM_PREFIX, row.identifier_id),
                    row.type,
                    opened[row.identifier_id].value,
                    row.rule,
                    row.words,
                    row.profiles,
                    row.since,
                )
                for row in rows
            ),
        )

    return at_one_instant(context.database, read)


def list_quarantined(context: Context, *, limit: int, actor: str, token: int | None = None) -> QuarantineList:
    """Up to `limit` profiles in quarantine, those with most identifiers first; recorded in the audit log."""

    def read(tx: Transaction) -> QuarantineList:
        rows = listing_store.quarantined(tx, limit)
        bounds: dict[int, list[ProfileBound]] = {}
        for reached in listing_store.reached_bounds(tx, [row.profile_id for row in rows]):
            bound = reached.rule.partition(":")[2]
            bounds.setdefault(reached.profile_id, []).append(ProfileBound(bound, reached.refusals, reached.since))
        log_read(
            tx,
            context,
            Reading(actor, token, "profile", question={"quarantined": True, "limit": limit}),
            count=len(rows),
            now=context.clock.now(),
            profiles=[row.profile_id for row in rows],
        )
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

    return at_one_instant(context.database, read)
