"""Accept a case of the identity review: a stored value becomes what it means, or stops linking anybody.

The recorded steps are replayed, so that the outcome is what it would be if the value had always been read so.
"""

from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import datetime

from cdp.audit.store import facts as fact_store
from cdp.consent.model import RecordId
from cdp.consent.store import records as record_store
from cdp.flows.consent.clearing import clear_withdrawn_of
from cdp.flows.consent.reader_sessions import end_reader_sessions
from cdp.flows.consent.recording import append_acts
from cdp.flows.context import Context
from cdp.flows.identifiers import IDENTIFIER_PLACE, OpenedIdentifier, find_identifiers
from cdp.flows.identity.mapping_replay import replay_around
from cdp.flows.identity.review_cases import CASE_PREFIX, case_of
from cdp.flows.segments import evaluation
from cdp.identity.model import EvidenceRow, Identifier, Ignored, Rule
from cdp.identity.partition import groups_of
from cdp.identity.store import evidence as evidence_store
from cdp.identity.store import generation as generation_store
from cdp.identity.store import mapping as mapping_store
from cdp.identity.store import profiles as profile_store
from cdp.identity.store import rejections as rejection_store
from cdp.identity.store import replacing as replacing_store
from cdp.identity.store.identifiers import StoredIdentifier
from cdp.kit.db import Transaction
from cdp.kit.ids import decode_id, encode_id, new_id
from cdp.vault.pseudonym import GRAPH
from cdp.vault.vault import Item


@dataclass(frozen=True, slots=True)
class AcceptedCase:
    """What accepting a case did or would do.

    `reads_as` is the value that took the place of the stored one, None if that identifies nobody now. `before` and
    `after` are the profiles concerned; `erased_events` were stored under a consent that no longer covers them.
    """

    is_dry_run: bool
    type: str
    reads_as: str | None
    before: tuple[str, ...]
    after: tuple[str, ...]
    erased_events: int


def accept(context: Context, case: str, *, dry_run: bool, actor: str = "privacy") -> AcceptedCase:
    """Decide a case of `list_review` as it reads today; with `dry_run` the change is made and rolled back.

    Faults: `unknown_case` (404), `nothing_to_review` (409).
    """
    identifier_id = decode_id(CASE_PREFIX, case)
    with context.database.transaction() as tx:
        lock = generation_store.lock_exclusive(tx)
        stored, reading = case_of(tx, context, identifier_id)
        with tx.dry_run() if dry_run else nullcontext():
            changed = _apply(tx, context, lock, stored=stored, reading=reading, actor=actor, dry_run=dry_run)
            if dry_run:
                return _finish(tx, context, changed, reading=reading, stored=stored, dry_run=True, now=lock.now)
    with context.database.transaction() as tx:
        now = generation_store.lock_exclusive(tx).now
        end_reader_sessions(tx)
        return _finish(tx, context, changed, reading=reading, stored=stored, dry_run=False, now=now)


@dataclass(frozen=True, slots=True)
class _Changed:
    """The profiles of the identifiers that a replay touched, before and after it, and those that differ."""

    before: frozenset[int]
    after: frozenset[int]
    different: frozenset[int]


def _apply(
    tx: Transaction,
    context: Context,
    lock: generation_store.Lock,
    *,
    stored: OpenedIdentifier,
    reading: Identifier | Ignored,
    actor: str,
    dry_run: bool,
) -> _Changed:
    now = lock.now
    known = find_identifiers(tx, context.vault, [reading]) if isinstance(reading, Identifier) else {}
    concerned = [stored.identifier_id, *(identifier.identifier_id for identifier in known.values())]
    owners = profile_store.owners_of(tx, concerned)
    rejection_store.end_rejections(tx, [stored.identifier_id])
    if isinstance(reading, Identifier):
        remaining = _become(
            tx, context, stored.identifier_id, meant=reading, other=known.get(reading), actor=actor, now=now
        )
        around = {remaining}
        kind, rule = "link", Rule.SAME_VALUE
    else:
        remaining = stored.identifier_id
        around = {remaining, *replacing_store.leave_out(tx, remaining)}
        kind, rule = "shared", Rule.NOT_AN_IDENTIFIER
    row = EvidenceRow(lock.next_sequence, kind, rule, remaining, None, min(owners.values(), default=0), None, now)
    evidence_store.insert_evidence(tx, [row], bytes.fromhex(context.policy.fingerprint))
    written = replay_around(tx, context, sorted(around), now=now)
    generation_store.advance(tx, next_sequence=lock.next_sequence + 1, changed=True)
    before = groups_of(written.before)
    after = groups_of(mapping_store.owners(tx, list(written.run.world.types)))
    fact = {"kind": "identity.corrected", "actor": actor, "profiles": len(written.touched), "rule": rule.value}
    fact_store.append(tx, fact | {"is_dry_run": dry_run}, now)
    own = frozenset(owners.values())
    return _Changed(
        before=frozenset(before) | own,
        after=frozenset(after),
        different=own
        | frozenset(
            profile_id for profile_id in before.keys() | after.keys() if before.get(profile_id) != after.get(profile_id)
        ),
    )


def _become(
    tx: Transaction,
    context: Context,
    identifier_id: int,
    *,
    meant: Identifier,
    other: StoredIdentifier | None,
    actor: str,
    now: datetime,
) -> int:
    """Let a stored identifier become the value that it means, which `other` has already; gives the id that remains.

    That is the one with consent records, because the log commits to their rows. Where both have some, those of the other
    one are recorded again.
    """
    remaining = identifier_id
    if other is not None:
        gone = other.identifier_id
        if record_store.records_of(tx, [gone]):
            remaining, gone = gone, remaining
            _move_records(tx, gone, remaining=remaining, actor=actor, now=now)
        replacing_store.replace(tx, gone, remaining)
        context.vault.subject_keys.shred(tx, [gone])
    if remaining == identifier_id:
        _rename(tx, context, identifier_id, meant=meant)
    return remaining


def _move_records(tx: Transaction, gone: int, *, remaining: int, actor: str, now: datetime) -> None:
    """Record the acts about one identifier again, about another, with their own instants; delete the former rows."""
    acts = [
        replace(record, record_id=RecordId(new_id()), identifier_id=remaining, recorded_at=now)
        for record in record_store.records_of(tx, [gone])
    ]
    append_acts(tx, acts, acts, actor=actor, now=now)
    record_store.delete_of(tx, gone)


def _rename(tx: Transaction, context: Context, identifier_id: int, *, meant: Identifier) -> None:
    keys = context.vault.subject_keys.keys_for(tx, [identifier_id])
    item = Item(identifier_id, identifier_id, meant.value.encode())
    (sealed,) = context.vault.seal_many(keys, IDENTIFIER_PLACE, [item])
    version = context.vault.root_keys.active_versions(tx, GRAPH)[-1]
    pseudonym = context.vault.hashes.pseudonym(GRAPH, meant.type, meant.value, version=version)
    replacing_store.rename(tx, identifier_id, pseudonym=pseudonym, version=version, sealed=sealed)


def _finish(
    tx: Transaction,
    context: Context,
    changed: _Changed,
    *,
    reading: Identifier | Ignored,
    stored: OpenedIdentifier,
    dry_run: bool,
    now: datetime,
) -> AcceptedCase:
    """Erase what a consent no longer covers, and evaluate the segments of the profiles that changed."""
    cleared = clear_withdrawn_of(tx, context.policy, profile_ids=changed.different, now=now)
    evaluation.follow_profiles(tx, context, changed.different, now=now)
    return AcceptedCase(
        is_dry_run=dry_run,
        type=stored.type,
        reads_as=reading.value if isinstance(reading, Identifier) else None,
        before=tuple(encode_id("prf", profile_id) for profile_id in sorted(changed.before)),
        after=tuple(encode_id("prf", profile_id) for profile_id in sorted(changed.after)),
        erased_events=cleared.events_deleted,
    )
