"""Use case that answers who looked at a person, from the reads in the audit log."""

from dataclasses import dataclass
from datetime import datetime

from cdp.access.store import tokens as token_store
from cdp.audit.store import facts as fact_store
from cdp.audit.store.facts import LogEntry
from cdp.flows.context import Context
from cdp.flows.identifiers import find_identifiers, read_identifier
from cdp.flows.reads import Reading, log_read, subject_digests
from cdp.flows.snapshot import at_one_instant
from cdp.kit.db import Transaction


@dataclass(frozen=True, slots=True)
class ReadOfPerson:
    """One read that showed a person: when, by which role and token, what, for which purpose and segment.

    `token` is the number of the token and `name` its name; both are None for a command on the server itself. `count` is
    how many rows the whole read showed.
    """

    entry: int
    at: datetime
    role: str
    token: int | None
    name: str | None
    read: str
    purpose: str | None
    segment: str | None
    count: int


def readers_of(
    context: Context, identifier: tuple[str, str], now: datetime, *, actor: str, token: int | None = None
) -> tuple[ReadOfPerson, ...]:
    """The reads that showed the person of an identifier, newest first; none of an unknown person. The read is logged.

    A read is found as long as the key of an identifier that it showed exists. Raises the fault `invalid_identifier`.
    """
    requested = read_identifier(context.policy, *identifier)

    def read(tx: Transaction) -> tuple[ReadOfPerson, ...]:
        known = find_identifiers(tx, context.vault, [requested]).get(requested)
        if known is None:
            log_read(tx, context, Reading(actor, token, "readers"), count=0, now=now)
            return ()
        profiles = [] if known.profile_id is None else [known.profile_id]
        digests = subject_digests(tx, context, profiles=profiles, identifiers=[known.identifier_id])
        found = fact_store.reads_of(tx, digests)
        names = {int(entry.token_id): entry.name for entry in token_store.tokens(tx)}
        log_read(
            tx,
            context,
            Reading(actor, token, "readers"),
            count=len(found),
            now=now,
            profiles=profiles,
            identifiers=[known.identifier_id],
        )
        return tuple(_read(entry, names) for entry in found)

    return at_one_instant(context.database, read)


def _read(entry: LogEntry, names: dict[int, str]) -> ReadOfPerson:
    body = entry.body
    number = body.get("token")
    return ReadOfPerson(
        entry=entry.entry_id,
        at=entry.recorded_at,
        role=body["actor"],
        token=number,
        name=None if number is None else names.get(number),
        read=body["read"],
        purpose=body.get("purpose"),
        segment=body.get("segment"),
        count=body["count"],
    )
