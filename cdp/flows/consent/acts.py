"""Use case of recording an act of consent.

Whatever changes a verdict is put in force in the transaction of the response, so that a reader whose snapshot begins
after the response sees no row of a person who withdrew.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from cdp.consent.ledger import valid_until
from cdp.consent.model import NOTICE_VERSION_MAX, STATED_ACTS, Act, Authority, Record, RecordId
from cdp.consent.opt_in import OptIns, last_opt_out_at
from cdp.consent.receipt import outward_id
from cdp.consent.store import records as record_store
from cdp.flows.consent.acting import ensure_identifiers, replay_line
from cdp.flows.consent.deferred import grant_deferred, refuse_deferred
from cdp.flows.consent.followers import put_in_force
from cdp.flows.consent.receipt_steps import receipt_of
from cdp.flows.consent.recording import append_act
from cdp.flows.consent.verdicts import deciding_records
from cdp.flows.context import Context
from cdp.flows.identifiers import read_identifier
from cdp.identity.model import Identifier
from cdp.identity.store import consent_subjects as consent_subject_store
from cdp.identity.store import generation as generation_store
from cdp.identity.store import identifiers as identifier_store
from cdp.kit.canonical import sha256
from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.kit.ids import new_id
from cdp.kit.wording import counted
from cdp.policy.jurisdictions import UNKNOWN
from cdp.policy.model import Policy, Purpose
from cdp.rights.store import replay_position as replay_store
from cdp.rights.store import suppressions as suppression_store
from cdp.sources.model import Source, SourceKind
from cdp.vault.pseudonym import SUPPRESSION

_EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NOTICE_TEXT_MAX: Final = 100_000


@dataclass(frozen=True, slots=True)
class ConsentStatement:
    """An act as submitted, not yet checked.

    `source` is the server source whose write key was used, None for privacy staff. Without `authority`, an act of staff
    has the authority of an operator, and one of a source that of the authenticated person. `is_two_step` states that the
    act confirms an opt-in which an earlier act requested, `is_subject_initiated` that nobody asked the person for it. Of `notice_text`, only a hash is stored. An imported grant without
    `occurred_at` is undated: when it was given is not known, so it overrides no refusal.
    """

    identifier: tuple[str, str]
    purpose: str
    act: str
    authority: str | None = None
    jurisdiction: str | None = None
    notice_version: str | None = None
    notice_text: str | None = None
    occurred_at: datetime | None = None
    is_two_step: bool = False
    is_subject_initiated: bool = False
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class RecordedAct:
    """The recorded act: the id of the record, the authority it was recorded with, and the signed receipt."""

    record: str
    authority: str
    receipt: Mapping[str, Any]


def record(context: Context, statement: ConsentStatement) -> RecordedAct:
    """Record one act about one identifier, known or unknown, and put the resulting verdicts in force.

    It is dated by the database, after every act before it. An instant that is stated counts if it is earlier.

    Faults: `browser_cannot_record_consent` (403), `invalid_identifier`, `unknown_purpose`, `unknown_act`, `unknown_authority`,
    `not_refusable`, `identifier_suppressed` (409), `invalid_notice`, `invalid_instant`, `opt_in_not_requested` and
    `asked_too_soon` (409).
    """
    if statement.source is not None:
        check_source(statement.source)
    identifier = read_identifier(context.policy, *statement.identifier)
    rule = _purpose(context.policy, statement.purpose)
    _check(statement, rule=rule)
    with context.database.transaction() as tx:
        now = generation_store.lock_exclusive(tx).now
        draft = _draft(context.policy, statement, rule=rule, now=now)
        suppression_pseudonym = context.vault.hashes.pseudonym(SUPPRESSION, identifier.type, identifier.value)
        state = suppression_store.suppression_states(tx, [suppression_pseudonym], now).get(suppression_pseudonym)
        if state is not None and _is_refused(draft, state):
            raise _suppressed()
        identifier_id = ensure_identifiers(tx, context, [identifier], now=now)[identifier]
        recorded = grant_deferred(tx, replace(draft, identifier_id=identifier_id), suppression_pseudonym, now=now)
        if recorded.is_two_step and rule.sale_or_sharing:
            _check_steps(tx, context.policy, recorded, rule=rule)
        append_act(tx, recorded, _fact(recorded, context.policy, statement), now=now)
        if _is_proof(context.policy, identifier, authority=recorded.authority):
            identifier_store.prove(tx, recorded.identifier_id, now)
        put_in_force(tx, context.policy, [recorded], now=now)
        generation_store.advance(tx, changed=True)
        if recorded.act.is_refusal:
            refuse_deferred(tx, context.vault, [suppression_pseudonym])
            replay_store.append(tx, context.replay, [replay_line(recorded, suppression_pseudonym)], now=now)
    receipt = receipt_of(context, recorded, context.policy, identifier_type=identifier.type)
    return RecordedAct(outward_id(recorded), recorded.authority.value, receipt)


def check_source(source: Source) -> None:
    """Raise the fault `browser_cannot_record_consent` for a browser source: its write key is public."""
    if source.kind is SourceKind.BROWSER:
        raise Fault(
            "browser_cannot_record_consent",
            "A browser source cannot record consent here",
            "Anyone can use its write key. Create a server source for your backend (`cdp source create NAME --kind server "
            "--scope consent`), or send the consent of the device with its messages to `/v1`.",
            status=403,
        )


def _draft(policy: Policy, statement: ConsentStatement, *, rule: Purpose, now: datetime) -> Record:
    act = Act(statement.act)
    authority = _authority(statement)
    occurred_at = min(statement.occurred_at or now, now)
    return Record(
        record_id=RecordId(new_id()),
        identifier_id=0,
        purpose=rule.key,
        act=act,
        authority=authority,
        jurisdiction=_jurisdiction(policy, statement),
        occurred_at=occurred_at,
        recorded_at=now,
        policy_fingerprint=bytes.fromhex(policy.fingerprint),
        valid_until=valid_until(rule, act, occurred_at),
        notice_version=statement.notice_version,
        notice_hash=None if statement.notice_text is None else sha256(statement.notice_text.encode("utf-8", "replace")),
        source_id=None if statement.source is None else int(statement.source.source_id),
        is_two_step=statement.is_two_step and act is Act.GRANT,
        is_subject_initiated=statement.is_subject_initiated and act is Act.GRANT,
        is_undated=act is Act.GRANT and authority is Authority.IMPORTED and statement.occurred_at is None,
    )


def _purpose(policy: Policy, key: str) -> Purpose:
    rule = policy.purposes.get(key)
    if rule is None:
        known = ", ".join(policy.purposes)
        raise Fault("unknown_purpose", "Unknown purpose", f"The policy declares {known}.", status=422)
    return rule


def _stated_act(text: str) -> Act:
    if text not in STATED_ACTS:
        allowed = ", ".join(act.value for act in STATED_ACTS)
        raise Fault("unknown_act", "Unknown act", f"`act` is one of {allowed}.", status=422)
    return Act(text)


def _stated_authority(text: str) -> Authority:
    try:
        return Authority(text)
    except ValueError:
        allowed = ", ".join(Authority)
        raise Fault("unknown_authority", "Unknown authority", f"`authority` is one of {allowed}.", status=422) from None


def _authority(statement: ConsentStatement) -> Authority:
    """The claimed authority; only servers and staff record acts here, because the write key of a browser is public."""
    if statement.authority is None:
        return Authority.OPERATOR if statement.source is None else Authority.AUTHENTICATED
    return _stated_authority(statement.authority)


def _is_proof(policy: Policy, identifier: Identifier, *, authority: Authority) -> bool:
    """Whether the act shows that the person has the identifier, so that what browsers say later does not take it."""
    type_ = policy.identifiers.types[identifier.type]
    return type_.person_level and not type_.unique and authority.rank >= Authority.OPERATOR.rank


def _check(statement: ConsentStatement, *, rule: Purpose) -> None:
    _stated_act(statement.act)
    _authority(statement)
    if rule.needs_unique_identifier:
        raise Fault(
            "not_refusable",
            "No act can change this purpose",
            f"`{rule.key}` is based on {rule.legal_basis.value} and can be neither granted nor refused. "
            "Acts change purposes on consent or legitimate interests.",
            status=422,
        )
    if len(statement.notice_version or "") > NOTICE_VERSION_MAX or len(statement.notice_text or "") > _NOTICE_TEXT_MAX:
        raise Fault(
            "invalid_notice",
            "The notice is too long",
            f"`notice_version` can have at most {NOTICE_VERSION_MAX} characters, `notice_text` {_NOTICE_TEXT_MAX}.",
            status=422,
        )
    if statement.occurred_at is not None and statement.occurred_at < _EARLIEST:
        raise Fault("invalid_instant", "The instant is too early", "`occurred_at` is before 1970.", status=422)


def _jurisdiction(policy: Policy, statement: ConsentStatement) -> str:
    """The stated jurisdiction if declared; otherwise unknown, to which the strictest rules apply."""
    claimed = statement.jurisdiction or (statement.source.jurisdiction if statement.source is not None else UNKNOWN)
    return claimed if claimed in policy.jurisdictions.jurisdictions else UNKNOWN


def _check_steps(tx: Transaction, policy: Policy, confirmation: Record, *, rule: Purpose) -> None:
    """Check that an earlier act requested the opt-in that this one confirms, when the person might be asked for it."""
    affected = consent_subject_store.profiles_decided_by(tx, [confirmation.identifier_id])
    known = {
        record.record_id: record
        for records in (
            record_store.records_of(tx, [confirmation.identifier_id]),
            *deciding_records(tx, affected).values(),
        )
        for record in records
        if record.purpose == rule.key
    }
    opt_ins = OptIns([*known.values(), confirmation], rule, months=policy.ask_again_after_months)
    requests = opt_ins.requests_of(confirmation)
    last_opt_out = last_opt_out_at(known.values(), rule)
    if last_opt_out is not None:
        requests = [request for request in requests if last_opt_out < request.at]
    if not requests:
        raise Fault(
            "opt_in_not_requested",
            "No earlier act requests this opt-in",
            f"After an opt-out of sale, an opt-in takes two acts of the same identifier within "
            f"{counted(rule.opt_in_window_hours, 'hour')}: record the request first, without `is_two_step`, and then the confirmation.",
            status=409,
        )
    if last_opt_out is not None and not opt_ins.is_completed(confirmation, after=last_opt_out):
        raise Fault(
            "asked_too_soon",
            "The person may not be asked to opt in yet",
            f"They opted out less than {counted(policy.ask_again_after_months, 'month')} ago. Only if they began the opt-in themselves, "
            "record it with `is_subject_initiated`.",
            status=409,
        )


def _fact(recorded: Record, policy: Policy, statement: ConsentStatement) -> dict[str, Any]:
    fact: dict[str, Any] = {
        "kind": "consent.recorded",
        "actor": "privacy" if statement.source is None else "source",
        "record": outward_id(recorded),
        "purpose": recorded.purpose,
        "act": recorded.act.value,
        "authority": recorded.authority.value,
        "jurisdiction": recorded.jurisdiction,
        "policy": policy.fingerprint,
    }
    return fact if recorded.source_id is None else fact | {"source": recorded.source_id}


def _is_refused(draft: Record, state: suppression_store.SuppressionState) -> bool:
    """Whether the identifier is suppressed, or was when the person gave the consent; a refusal counts from any time."""
    if suppression_store.EVERYTHING in state.purposes:
        return True
    return draft.act is Act.GRANT and state.lifted_at is not None and draft.at < state.lifted_at


def _suppressed() -> Fault:
    return Fault(
        "identifier_suppressed",
        "The identifier is suppressed",
        "Nothing about it is processed for any purpose until the person lifts the suppression (`cdp suppression lift`), and "
        "nothing from before.",
        status=409,
    )
