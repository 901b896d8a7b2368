"""The journeys of consent: an act is recorded, a person's records are looked up, grants end, rules change.

Whatever changes a verdict puts it in force in the transaction that answers, so a reader who begins
after the answer sees no row of somebody who withdrew.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from cdp.audit.store import facts as fact_store
from cdp.consent.ledger import valid_until
from cdp.consent.model import Act, Authority, Record, RecordId
from cdp.consent.receipt import outward_id, receipt_body, sign_receipt
from cdp.consent.store import records as record_store
from cdp.flows.consent.verdicts import refresh_verdicts
from cdp.flows.context import Context
from cdp.flows.identifiers import IDENTIFIER_PLACE, find_identifiers, read_identifier
from cdp.identity.model import Identifier
from cdp.identity.store import consent_subjects as consent_subject_store
from cdp.identity.store import generation as generation_store
from cdp.identity.store import identifiers as identifier_store
from cdp.kit.canonical import sha256
from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.kit.ids import new_id
from cdp.policy.jurisdictions import UNKNOWN
from cdp.policy.model import Policy, Purpose
from cdp.rights.replay_file import OptOut
from cdp.rights.store import replay_position as replay_store
from cdp.rights.store import suppressions as suppression_store
from cdp.sources.model import Source, SourceKind
from cdp.vault.pseudonym import GRAPH, SUPPRESSION
from cdp.vault.vault import Item

AnyEnum = TypeVar("AnyEnum", Act, Authority)

_EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NOTICE_VERSION_MAX: Final = 100
_NOTICE_TEXT_MAX: Final = 100_000


@dataclass(frozen=True, slots=True)
class ConsentStatement:
    """An act as somebody tells it, not yet checked.

    `source` is the source whose write key was used, None for privacy staff; without `authority` an act of
    staff counts as an operator's and one of a source as the most that it may say. `is_two_step` states
    that an opt-in was asked for and then confirmed separately. Of `notice_text` only a hash is kept.
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
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class RecordedAct:
    """What came of it: the record's outward id, the authority it was taken with, and the signed receipt."""

    record: str
    authority: str
    receipt: Mapping[str, Any]


def record(context: Context, told: ConsentStatement, now: datetime) -> RecordedAct:
    """Record one act about one identifier, known or not, and put what follows in force.

    Faults: `invalid_identifier`, `unknown_purpose`, `unknown_act`, `unknown_authority`, `not_refusable`,
    `grant_beyond_source` (403), `identifier_suppressed` (409), `invalid_notice`, `invalid_instant`.
    """
    identifier = read_identifier(context.policy, *told.identifier)
    rule = _purpose(context.policy, told.purpose)
    draft = _draft(context.policy, told, identifier, rule=rule, now=now)
    with context.database.transaction() as tx:
        generation_store.lock_exclusive(tx)
        hidden = context.vault.hashes.pseudonym(SUPPRESSION, identifier.type, identifier.value)
        if suppression_store.suppressed(tx, [hidden], now):
            raise _suppressed()
        kept = replace(draft, identifier_id=_identifier_id(tx, context, identifier, now=now))
        record_store.append(tx, [kept])
        concerned = consent_subject_store.profiles_decided_by(tx, [kept.identifier_id])
        refresh_verdicts(tx, context.vault, context.policy, profile_ids=concerned, now=now)
        generation_store.advance(tx, changed=True)
        fact_store.append(tx, _fact(kept, context.policy, told), now)
        if kept.act.is_refusal:
            replay_store.append(tx, context.replay, [_opt_out(kept, hidden)], now=now)
    receipt = sign_receipt(receipt_body(kept, rule, identifier.type), context.vault.root_keys.signer())
    return RecordedAct(outward_id(kept), kept.authority.value, receipt)


def _draft(policy: Policy, told: ConsentStatement, identifier: Identifier, *, rule: Purpose, now: datetime) -> Record:
    act = _member_of(Act, told.act, "unknown_act", name="act")
    authority = _authority(told)
    _check(policy, told, identifier, rule=rule, act=act)
    occurred_at = told.occurred_at or now
    if occurred_at < _EARLIEST:
        raise Fault("invalid_instant", "That was too long ago", "`occurred_at` lies before 1970.", status=422)
    return Record(
        record_id=RecordId(new_id()),
        identifier_id=0,
        purpose=rule.key,
        act=act,
        authority=authority,
        jurisdiction=_jurisdiction(policy, told),
        occurred_at=occurred_at,
        recorded_at=now,
        policy_fingerprint=bytes.fromhex(policy.fingerprint),
        valid_until=valid_until(rule, act, min(occurred_at, now)),
        notice_version=told.notice_version,
        notice_hash=None if told.notice_text is None else sha256(told.notice_text.encode("utf-8", "replace")),
        source_id=None if told.source is None else int(told.source.source_id),
        is_two_step=told.is_two_step and act is Act.GRANT,
    )


def _purpose(policy: Policy, key: str) -> Purpose:
    rule = policy.purposes.get(key)
    if rule is None:
        known = ", ".join(policy.purposes)
        raise Fault("unknown_purpose", "There is no such purpose", f"The policy declares {known}.", status=422)
    return rule


def _member_of(words: type[AnyEnum], given: str, code: str, *, name: str) -> AnyEnum:
    try:
        return words(given)
    except ValueError:
        allowed = ", ".join(each.value for each in words)
        raise Fault(code, f"That is no {name}", f"`{name}` is one of {allowed}.", status=422) from None


def _authority(told: ConsentStatement) -> Authority:
    """What was claimed, capped by what the source may say: a browser's write key is public."""
    is_browser = told.source is not None and told.source.kind is SourceKind.BROWSER
    if told.authority is None:
        if is_browser:
            return Authority.DEVICE
        return Authority.OPERATOR if told.source is None else Authority.AUTHENTICATED
    claimed = _member_of(Authority, told.authority, "unknown_authority", name="authority")
    return Authority.DEVICE if is_browser and claimed.rank > Authority.DEVICE.rank else claimed


def _check(policy: Policy, told: ConsentStatement, identifier: Identifier, *, rule: Purpose, act: Act) -> None:
    if rule.needs_unique_identifier:
        raise Fault(
            "not_refusable",
            "OptOut act decides about this purpose",
            f"`{rule.key}` rests on {rule.legal_basis.value}: it is neither granted nor refused. Only consent can be "
            "given and withdrawn, and only legitimate interests and direct marketing can be objected to.",
            status=422,
        )
    is_browser = told.source is not None and told.source.kind is SourceKind.BROWSER
    if is_browser and act is Act.GRANT and not policy.identifiers.types[identifier.type].device:
        raise Fault(
            "grant_beyond_source",
            "This source cannot grant for a person",
            f"A browser source grants only for a device; `{identifier.type}` is none. Send it from a server source.",
            status=403,
        )
    if len(told.notice_version or "") > _NOTICE_VERSION_MAX or len(told.notice_text or "") > _NOTICE_TEXT_MAX:
        raise Fault(
            "invalid_notice",
            "The notice is too long",
            f"`notice_version` has at most {_NOTICE_VERSION_MAX} characters, `notice_text` {_NOTICE_TEXT_MAX}.",
            status=422,
        )


def _jurisdiction(policy: Policy, told: ConsentStatement) -> str:
    """A declared one; anything else is unknown, for which the strictest rules hold."""
    claimed = told.jurisdiction or (told.source.jurisdiction if told.source is not None else UNKNOWN)
    return claimed if claimed in policy.jurisdictions.jurisdictions else UNKNOWN


def _identifier_id(tx: Transaction, context: Context, identifier: Identifier, *, now: datetime) -> int:
    """The identifier's id; one never seen before gets its row and key, so that a no waits for its person."""
    known = find_identifiers(tx, context.vault, [identifier]).get(identifier)
    if known is not None:
        return known.identifier_id
    identifier_id = new_id()
    keys = context.vault.subject_keys.create(tx, [identifier_id])
    item = Item(identifier_id, identifier_id, identifier.value.encode())
    (sealed,) = context.vault.seal_many(keys, IDENTIFIER_PLACE, [item])
    version = context.vault.root_keys.active_versions(tx, GRAPH)[-1]
    pseudonym = context.vault.hashes.pseudonym(GRAPH, identifier.type, identifier.value, version=version)
    row = identifier_store.NewIdentifier(identifier_id, identifier.type, pseudonym, version, sealed, now, now.date())
    identifier_store.insert_identifiers(tx, [row])
    return identifier_id


def _fact(kept: Record, policy: Policy, told: ConsentStatement) -> dict[str, Any]:
    fact: dict[str, Any] = {
        "kind": "consent.recorded",
        "actor": "privacy" if told.source is None else "source",
        "record": outward_id(kept),
        "purpose": kept.purpose,
        "act": kept.act.value,
        "authority": kept.authority.value,
        "jurisdiction": kept.jurisdiction,
        "policy": policy.fingerprint,
    }
    return fact if kept.source_id is None else fact | {"source": kept.source_id}


def _opt_out(kept: Record, hidden: bytes) -> OptOut:
    return OptOut(
        identifier_id=kept.identifier_id,
        pseudonym=hidden,
        purpose=kept.purpose,
        act=kept.act.value,
        authority=kept.authority.value,
        jurisdiction=kept.jurisdiction,
        occurred_at=kept.at,
        signal=kept.signal or "",
    )


def _suppressed() -> Fault:
    return Fault(
        "identifier_suppressed",
        "Nothing is recorded about this identifier",
        "It is suppressed: nothing about it is processed for any purpose until the person lifts that.",
        status=409,
    )
