"""List what staff should decide about who is who: stored identifiers that the present rules read differently.

They were stored under earlier rules or an earlier policy. Nothing is merged or separated by itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from cdp.flows.context import Context
from cdp.flows.identifiers import OpenedIdentifier, find_identifiers, open_identifiers
from cdp.flows.identity.listings import LeftOutIdentifier, list_left_out
from cdp.flows.identity.review_cases import CASE_PREFIX, unchanged_rejections
from cdp.flows.reads import Reading, log_read
from cdp.flows.snapshot import at_one_instant
from cdp.identity.model import Identifier, Ignored
from cdp.identity.normalize import IdentifierReader
from cdp.identity.store import rereading as rereading_store
from cdp.identity.store.identifiers import StoredIdentifier
from cdp.kit.db import Transaction
from cdp.kit.ids import encode_id


@dataclass(frozen=True, slots=True)
class RereadIdentifier:
    """A stored identifier that a message would not be read as today.

    `reads_as` is the value that it means, None if it is not an identifier; then `reason` says why. `profile` owns it, with
    `identifiers` in all; `other_profile` owns the value that it means, if that is stored and somebody else's.
    """

    identifier: str
    type: str
    value: str
    reads_as: str | None
    reason: str | None
    profile: str | None
    identifiers: int
    other_profile: str | None


@dataclass(frozen=True, slots=True)
class RereadList:
    """The stored identifiers that read differently, those of the largest profiles first, and the number of all.

    Cases that a reviewer rejected are left out, unless their evidence changed since.
    """

    reread_total: int
    reread: tuple[RereadIdentifier, ...]


@dataclass(frozen=True, slots=True)
class Review:
    """What waits for a reviewer: claims that were left out, and values that read differently, each with their number."""

    left_out_total: int
    left_out: tuple[LeftOutIdentifier, ...]
    reread_total: int
    reread: tuple[RereadIdentifier, ...]


def list_review(context: Context, *, limit: int, actor: str, token: int | None = None) -> Review:
    """Up to `limit` claims and up to `limit` values to decide about; recorded in the audit log."""
    claims = list_left_out(context, limit=limit, actor=actor, token=token)
    values = list_reread(context, limit=limit, actor=actor, token=token)
    return Review(claims.left_out_total, claims.left_out, values.reread_total, values.reread)


def list_reread(context: Context, *, limit: int, actor: str, token: int | None = None) -> RereadList:
    """Up to `limit` identifiers to review. Every value is opened; the cases that are shown are recorded in the audit log.

    Not listed is what is not an identifier and links nobody anyway: it is shared, or no profile owns it.
    """

    def read(tx: Transaction) -> RereadList:
        odd = _odd_identifiers(tx, context)
        rejected = unchanged_rejections(tx, context, {at: reading for at, (_, reading) in odd.items()})
        odd = {at: case for at, case in odd.items() if at not in rejected}
        meant = find_identifiers(
            tx, context.vault, [reading for _, reading in odd.values() if isinstance(reading, Identifier)]
        )
        owners = rereading_store.owners_with_size(tx, list(odd))
        found = {
            identifier_id: listed
            for identifier_id, (identifier, reading) in odd.items()
            if (listed := _listed(identifier, reading, owners.get(identifier_id), meant=meant)) is not None
        }
        shown = sorted(found, key=lambda identifier_id: (-found[identifier_id].identifiers, identifier_id))[:limit]
        log_read(
            tx,
            context,
            Reading(actor, token, "identifiers", question={"limit": limit}),
            count=len(shown),
            now=context.clock.now(),
            identifiers=shown,
        )
        return RereadList(len(found), tuple(found[identifier_id] for identifier_id in shown))

    return at_one_instant(context.database, read)


_Odd = Mapping[int, tuple[OpenedIdentifier, Identifier | Ignored]]


def _odd_identifiers(tx: Transaction, context: Context) -> _Odd:
    """The identifiers that read differently, by id, with what they read as."""
    reader = IdentifierReader(context.policy.identifiers)
    odd: dict[int, tuple[OpenedIdentifier, Identifier | Ignored]] = {}
    for page in rereading_store.pages_of_identifiers(tx):
        for identifier in open_identifiers(tx, context.vault, page).values():
            if identifier.value is None:
                continue
            reading = reader.read(identifier.type, identifier.value)
            if reading != Identifier(identifier.type, identifier.value):
                odd[identifier.identifier_id] = (identifier, reading)
    return odd


def _listed(
    identifier: OpenedIdentifier,
    reading: Identifier | Ignored,
    owner: rereading_store.IdentifierOwner | None,
    *,
    meant: Mapping[Identifier, StoredIdentifier],
) -> RereadIdentifier | None:
    """The case as it is listed; None if it is not an identifier and links nobody."""
    if not isinstance(reading, Identifier) and (owner is None or identifier.is_shared):
        return None
    other = meant[reading].profile_id if isinstance(reading, Identifier) and reading in meant else None
    assert identifier.value is not None
    return RereadIdentifier(
        identifier=encode_id(CASE_PREFIX, identifier.identifier_id),
        type=identifier.type,
        value=identifier.value,
        reads_as=reading.value if isinstance(reading, Identifier) else None,
        reason=None if isinstance(reading, Identifier) else reading.value,
        profile=None if owner is None else encode_id("prf", owner.profile_id),
        identifiers=0 if owner is None else owner.identifiers,
        other_profile=None if other is None else encode_id("prf", other),
    )


def reading_of(reading: RereadIdentifier) -> str:
    """What a case means, in words."""
    if reading.reads_as is not None:
        return reading.reads_as
    return f"not an identifier ({(reading.reason or '').replace('_', ' ')})"
