"""Steps that record acts of identifiers: the identifiers that act, and what the replay file keeps of an act."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from cdp.consent.model import Act, Record
from cdp.flows.consent.deferred import refuse_deferred
from cdp.flows.consent.followers import put_in_force
from cdp.flows.consent.recording import append_acts
from cdp.flows.consent.verdicts import add_uncovered, current_verdicts
from cdp.flows.context import Context
from cdp.flows.identifiers import IDENTIFIER_PLACE, find_identifiers
from cdp.identity.model import Identifier
from cdp.identity.store import consent_subjects as consent_subject_store
from cdp.identity.store import generation as generation_store
from cdp.identity.store import identifiers as identifier_store
from cdp.kit.db import Transaction
from cdp.kit.ids import new_ids
from cdp.rights.replay_file import OptOut
from cdp.rights.store import replay_position as replay_store
from cdp.rights.store import suppressions as suppression_store
from cdp.vault.pseudonym import GRAPH
from cdp.vault.vault import Item


def ensure_identifiers(
    tx: Transaction, context: Context, identifiers: Sequence[Identifier], *, now: datetime
) -> dict[Identifier, int]:
    """The id of each identifier; an unknown one gets a row and a key, so that its act applies once the person appears."""
    ids = {
        identifier: stored.identifier_id
        for identifier, stored in find_identifiers(tx, context.vault, identifiers).items()
    }
    unknown = [identifier for identifier in dict.fromkeys(identifiers) if identifier not in ids]
    if unknown:
        new = dict(zip(unknown, new_ids(len(unknown)), strict=True))
        keys = context.vault.subject_keys.create(tx, list(new.values()))
        sealed = context.vault.seal_many(
            keys, IDENTIFIER_PLACE, [Item(id_, id_, identifier.value.encode()) for identifier, id_ in new.items()]
        )
        version = context.vault.root_keys.active_versions(tx, GRAPH)[-1]
        pseudonyms = context.vault.hashes.pseudonyms(GRAPH, unknown, version=version)
        identifier_store.insert_identifiers(
            tx,
            [
                identifier_store.NewIdentifier(id_, identifier.type, pseudonym, version, envelope, now, now.date())
                for (identifier, id_), pseudonym, envelope in zip(new.items(), pseudonyms, sealed, strict=True)
            ],
        )
        ids |= new
    return ids


def record_acts(
    tx: Transaction,
    context: Context,
    records: Sequence[Record],
    *,
    pseudonyms: Mapping[int, bytes],
    now: datetime,
    clears: bool = False,
    actor: str = "privacy",
) -> set[int]:
    """Record acts, put the verdicts that follow in force, and keep them in the replay file; returns the profiles.

    One entry of the log commits to all of them. `pseudonyms` are those of the suppression domain, by identifier. With `clears`, data that is not permitted is recorded
    for clearing even where no permission ended: after a restriction that kept it. The caller holds the exclusive lock.
    """
    if not records:
        return set()
    append_acts(tx, records, actor=actor, now=now)
    put_in_force(tx, context.policy, records, now=now)
    affected = consent_subject_store.profiles_decided_by(tx, {record.identifier_id for record in records})
    if clears and affected:
        add_uncovered(tx, current_verdicts(tx, context.policy, affected, now=now), now=now)
    generation_store.advance(tx, changed=True)
    kept = [record for record in records if record.act.is_refusal or record.act.is_of_restriction]
    ended = [record for record in records if record.act is Act.RELEASE]
    suppression_store.release(tx, [(pseudonyms[record.identifier_id], record.purpose) for record in ended], now)
    refuse_deferred(tx, context.vault, {pseudonyms[record.identifier_id] for record in kept if record.act.is_refusal})
    replay_store.append(
        tx, context.replay, [replay_line(record, pseudonyms[record.identifier_id]) for record in kept], now=now
    )
    return affected


def replay_line(recorded: Record, pseudonym: bytes) -> OptOut:
    """An act as the replay file keeps it; `pseudonym` is that of the suppression domain."""
    return OptOut(
        identifier_id=recorded.identifier_id,
        pseudonym=pseudonym,
        purpose=recorded.purpose,
        act=recorded.act.value,
        authority=recorded.authority.value,
        jurisdiction=recorded.jurisdiction,
        occurred_at=recorded.at,
        signal=recorded.signal or "",
    )
