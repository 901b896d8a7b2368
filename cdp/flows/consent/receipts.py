"""Use cases of consent receipts: a receipt of any act in the ledger, and withdrawal by the token of one."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cdp.consent.model import Act, Record, RecordId
from cdp.consent.receipt import outward_id
from cdp.consent.store import records as record_store
from cdp.consent.withdrawal_token import record_of
from cdp.flows.consent.acting import record_acts
from cdp.flows.consent.receipt_steps import find_record, issued, policy_of
from cdp.flows.context import Context
from cdp.flows.identifiers import open_identifiers
from cdp.flows.reads import Reading, log_read
from cdp.identity.store import generation as generation_store
from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.kit.ids import decode_id, new_id
from cdp.vault.pseudonym import SUPPRESSION
from cdp.vault.sign import is_signed

ACTOR: Final = "subject"
"""How the log names somebody who withdrew by a receipt."""

_RULE: Final = "receipt"


@dataclass(frozen=True, slots=True)
class Withdrawable:
    """What a token withdraws: the title and text of the purpose, when the consent was given, and whether it is refused already.

    Where the policy of the consent cannot be read any more, the title is the key of the purpose, and there is no text. Without
    an instant the record is no longer kept: it ended with its retention or was erased, and nothing is done on its basis.
    """

    purpose_name: str = ""
    purpose_text: str = ""
    given_at: datetime | None = None
    is_refused: bool = False

    @property
    def is_kept(self) -> bool:
        """Whether there is a record of the consent."""
        return self.given_at is not None


@dataclass(frozen=True, slots=True)
class TokenWithdrawal:
    """Whether a withdrawal is in force now; it is not if no record of the consent is kept. Its receipt, if one can be issued."""

    is_withdrawn: bool
    receipt: dict[str, Any] | None = None


def receipt(context: Context, record: str, *, actor: str, token: int | None = None) -> dict[str, Any]:
    """The signed receipt of an act, whichever way it came in; the read is logged.

    Faults: `unknown_record` (404), `no_consent_receipt` (422) for an act about every purpose, and `policy_outdated` if this version of the program
    cannot read the policy by which it was recorded.
    """
    number = decode_id("con", record)
    with context.database.transaction() as tx:
        found = None if number is None else find_record(tx, RecordId(number))
        if found is None:
            raise Fault(
                "unknown_record",
                "There is no such consent record",
                "Record ids look like `con_0004zc8e6w1rk`; `cdp consent show` lists those of a person.",
                status=404,
            )
        if not found.purpose:
            raise Fault(
                "no_consent_receipt",
                "A restriction has no consent receipt",
                "It is about every purpose. The request that restricted the processing has a receipt of its own.",
                status=422,
            )
        signed = issued(tx, context, found)
        if signed is None:
            raise Fault(
                "policy_outdated",
                "The policy of this act is of another version",
                "This version of cdp cannot read the policy by which the act was recorded. Ask the version that recorded it.",
                status=409,
            )
        reading = Reading(actor, token, "receipt", named={"record": record})
        log_read(tx, context, reading, count=1, now=context.clock.now(), identifiers=[found.identifier_id])
        return signed


def withdrawable(context: Context, token: str) -> Withdrawable:
    """What a token withdraws; changes nothing. Raises the fault `unknown_withdrawal_token` (404)."""
    record_id = _named(context, token)
    with context.database.transaction(read_only=True) as tx:
        record = find_record(tx, record_id)
        if record is None:
            return Withdrawable()
        policy = policy_of(tx, context, record)
        rule = None if policy is None else policy.purposes.get(record.purpose)
        name, text = (record.purpose, "") if rule is None else (rule.name, rule.text)
        return Withdrawable(name, text, record.at, _standing_refusal(tx, record) is not None)


def withdraw(context: Context, token: str) -> TokenWithdrawal:
    """Withdraw the consent of the receipt that has this token; in force when this returns. Repeating it changes nothing.

    The act has the authority of the consent it ends, which is enough to end it, and is one of the same identifier. Raises the fault
    `unknown_withdrawal_token` (404).
    """
    record_id = _named(context, token)
    with context.database.transaction() as tx:
        now = generation_store.lock_exclusive(tx).now
        granted = find_record(tx, record_id)
        if granted is None:
            return TokenWithdrawal(is_withdrawn=False)
        refusal = _standing_refusal(tx, granted) or _recorded(tx, context, granted, now=now)
        return TokenWithdrawal(is_withdrawn=True, receipt=issued(tx, context, refusal))


def _recorded(tx: Transaction, context: Context, granted: Record, *, now: datetime) -> Record:
    """A withdrawal of this grant, recorded and in force."""
    withdrawn = Record(
        record_id=RecordId(new_id()),
        identifier_id=granted.identifier_id,
        purpose=granted.purpose,
        act=Act.WITHDRAW,
        authority=granted.authority,
        jurisdiction=granted.jurisdiction,
        occurred_at=now,
        recorded_at=now,
        policy_fingerprint=bytes.fromhex(context.policy.fingerprint),
        rule=f"{_RULE}.{outward_id(granted)}",
    )
    identifier = open_identifiers(tx, context.vault, [granted.identifier_id])[granted.identifier_id]
    if identifier.value is None:
        raise RuntimeError("the key of an identifier whose records are kept is shredded")
    pseudonym = context.vault.hashes.pseudonym(SUPPRESSION, identifier.type, identifier.value)
    record_acts(tx, context, [withdrawn], pseudonyms={granted.identifier_id: pseudonym}, now=now, actor=ACTOR)
    return withdrawn


def _standing_refusal(tx: Transaction, granted: Record) -> Record | None:
    """The last act about the purpose of this grant by the same identifier, if it refuses."""
    of_purpose = [
        record for record in record_store.records_of(tx, [granted.identifier_id]) if record.purpose == granted.purpose
    ]
    last = max(of_purpose, key=lambda record: (record.last_at, record.act.is_refusal))
    return last if last.act.is_refusal else None


def _named(context: Context, token: str) -> RecordId:
    record_id = record_of(token, context.vault.root_keys.signer().public_key, is_signed)
    if record_id is None:
        raise _unknown_token()
    return record_id


def _unknown_token() -> Fault:
    return Fault(
        "unknown_withdrawal_token",
        "This is not the token of a receipt",
        "Copy the whole link, or the value of `token`, from `withdrawal_method` of the receipt that you received.",
        status=404,
    )
