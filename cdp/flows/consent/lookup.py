"""Use case of consent: what the ledger contains about one person, and what follows from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cdp.consent.model import Record, Verdict
from cdp.consent.opt_in import may_ask_from, opt_in_over_gpc
from cdp.consent.receipt import outward_id
from cdp.consent.store import records as record_store
from cdp.flows.consent.as_of import AsOf, mapping_unknown_before, situation_as_of, situation_now
from cdp.flows.context import Context
from cdp.flows.identifiers import find_identifiers, read_identifier
from cdp.flows.reads import Reading, log_read
from cdp.flows.snapshot import at_one_instant
from cdp.identity.store import identifiers as identifier_store
from cdp.kit.canonical import instant_text
from cdp.kit.db import Transaction
from cdp.policy.model import Policy


@dataclass(frozen=True, slots=True)
class Consents:
    """What the ledger contains about one person, oldest act first, and the verdict for record purpose.

    `may_ask_from` contains, for record purpose of sale that the person opted out of, the instant before which the person
    may not be asked for an opt-in again. `opt_in_over_gpc` contains the record of the opt-in that stands against a GPC
    signal which a browser of the person repeats. `incomplete` are the purposes whose verdict as of an earlier instant
    depends on an age that was deleted since. `mapping_on_record_since` is set where the answer is about an instant before the
    store kept what the mapping was: then that of this instant was used, as far as it existed.
    """

    records: tuple[Mapping[str, Any], ...]
    verdicts: Mapping[str, Verdict]
    may_ask_from: Mapping[str, datetime]
    opt_in_over_gpc: Mapping[str, str]
    incomplete: tuple[str, ...] = ()
    mapping_on_record_since: datetime | None = None


def look_up(
    context: Context,
    identifier: tuple[str, str],
    now: datetime,
    *,
    actor: str,
    token: int | None = None,
    as_of: AsOf | None = None,
) -> Consents:
    """The records about the person of an identifier, and the verdicts; with `as_of`, as of an earlier instant.

    An unknown person has no records, and the verdicts that follow from the absence of records. The read is logged.
    Faults: `invalid_identifier`, `policy_outdated`.
    """
    requested = read_identifier(context.policy, *identifier)

    def read(tx: Transaction) -> Consents:
        known = find_identifiers(tx, context.vault, [requested]).get(requested)
        if as_of is None:
            situation = situation_now(tx, context, known, now=now)
        else:
            situation = situation_as_of(tx, context, known, as_of=as_of)
        records = situation.records
        types = _types(tx, records)
        question = {} if as_of is None else {"as_of": instant_text(as_of.instant), "basis": as_of.basis.value}
        log_read(
            tx,
            context,
            Reading(actor, token, "consents", question=question),
            count=len(records),
            now=now,
            profiles=[known.profile_id] if known is not None and known.profile_id is not None else (),
            identifiers={*types, *([known.identifier_id] if known is not None else ())},
        )
        return Consents(
            records=tuple(
                record_document(record, types[record.identifier_id]) for record in record_store.in_order(records)
            ),
            verdicts=situation.verdicts(),
            may_ask_from=_may_ask_from(situation.policy, records),
            opt_in_over_gpc=_opt_ins_over_gpc(situation.policy, records, situation.instant),
            incomplete=situation.incomplete,
            mapping_on_record_since=None if as_of is None else mapping_unknown_before(tx, as_of.instant),
        )

    return at_one_instant(context.database, read)


def record_document(record: Record, identifier_type: str) -> dict[str, Any]:
    """One record as a JSON object; unknown fields are omitted."""
    fields: dict[str, Any] = {
        "record": outward_id(record),
        "identifier_type": identifier_type,
        "purpose": record.purpose,
        "act": record.act.value,
        "authority": record.authority.value,
        "jurisdiction": record.jurisdiction,
        "occurred_at": instant_text(record.occurred_at),
        "recorded_at": instant_text(record.recorded_at),
        "repeated_at": record.repeated_at and instant_text(record.repeated_at),
        "valid_until": record.valid_until and instant_text(record.valid_until),
        "shortened_to": instant_text(record.until) if record.until and record.until != record.valid_until else None,
        "notice_version": record.notice_version,
        "notice_sha256": record.notice_hash and record.notice_hash.hex(),
        "signal": record.signal,
        "signal_sha256": record.signal_hash and record.signal_hash.hex(),
        "rule": record.rule,
        "source": record.source_id,
        "policy": record.policy_fingerprint.hex(),
        "is_two_step": record.is_two_step or None,
        "is_undated": record.is_undated or None,
        "is_subject_initiated": record.is_subject_initiated or None,
        "is_shared": record.is_shared or None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _types(tx: Transaction, records: Sequence[Record]) -> dict[int, str]:
    ids = {record.identifier_id for record in records}
    return {row.identifier_id: row.type for row in identifier_store.sealed_of(tx, ids)} if ids else {}


def _opt_ins_over_gpc(policy: Policy, records: Sequence[Record], now: datetime) -> dict[str, str]:
    months = policy.ask_again_after_months
    found = {key: opt_in_over_gpc(records, rule, months=months, now=now) for key, rule in policy.purposes.items()}
    return {key: outward_id(record) for key, record in found.items() if record is not None}


def _may_ask_from(policy: Policy, records: Sequence[Record]) -> dict[str, datetime]:
    months = policy.ask_again_after_months
    if not months:
        return {}
    waits = {key: may_ask_from(records, rule, months) for key, rule in policy.purposes.items()}
    return {key: instant for key, instant in waits.items() if instant is not None}
