"""Steps of consent receipts: the record, the policy by which it was recorded, and the signed copy of it."""

from collections.abc import Collection, Iterator
from typing import Any

from cdp.consent.model import Act, Record, RecordId
from cdp.consent.receipt import outward_id, receipt_body, sign_receipt
from cdp.consent.store import records as record_store
from cdp.consent.withdrawal_token import withdrawal_token
from cdp.flows.consent.as_of import read_applied
from cdp.flows.context import Context
from cdp.identity.store import identifiers as identifier_store
from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.operations.store import policies as policy_store
from cdp.policy.model import Policy


def receipt_of(context: Context, record: Record, policy: Policy, *, identifier_type: str) -> dict[str, Any]:
    """The signed receipt of a record; that of a grant contains the token that withdraws it."""
    signer = context.vault.root_keys.signer()
    token = withdrawal_token(record.record_id, signer) if record.act is Act.GRANT else None
    return sign_receipt(receipt_body(record, policy, identifier_type, token=token), signer)


def receipts_about(
    tx: Transaction, context: Context, identifier_ids: Collection[int]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The receipts of all acts about these identifiers by the id of their record, for the person, oldest first.

    Left out are acts about every purpose, and those by a policy that this version of the program cannot read.
    """
    types = {row.identifier_id: row.type for row in identifier_store.sealed_of(tx, identifier_ids)}
    policies: dict[bytes, Policy | None] = {}
    for record in record_store.in_order(record_store.records_of(tx, identifier_ids)):
        if record.policy_fingerprint not in policies:
            policies[record.policy_fingerprint] = policy_of(tx, context, record)
        policy = policies[record.policy_fingerprint]
        if policy is not None and record.purpose in policy.purposes:
            type_ = types[record.identifier_id]
            yield outward_id(record), receipt_of(context, record, policy, identifier_type=type_)


def find_record(tx: Transaction, record_id: RecordId) -> Record | None:
    """The act with this id; None if the ledger has none."""
    identifier_id = record_store.identifier_of(tx, record_id)
    records = [] if identifier_id is None else record_store.records_of(tx, [identifier_id])
    return next((record for record in records if record.record_id == record_id), None)


def type_of(tx: Transaction, identifier_id: int) -> str:
    """The type of an identifier about which there is an act."""
    return next(row.type for row in identifier_store.sealed_of(tx, [identifier_id]))


def policy_of(tx: Transaction, context: Context, record: Record) -> Policy | None:
    """The policy by which an act was recorded; None if it is not on record, or this version of the program cannot read it."""
    if record.policy_fingerprint.hex() == context.policy.fingerprint:
        return context.policy
    applied = policy_store.policy_of(tx, record.policy_fingerprint)
    try:
        return None if applied is None else read_applied(applied)
    except Fault:
        return None


def issued(tx: Transaction, context: Context, record: Record) -> dict[str, Any] | None:
    """The receipt of a record; None if the policy that it would state is not known."""
    policy = policy_of(tx, context, record)
    if policy is None or record.purpose not in policy.purposes:
        return None
    return receipt_of(context, record, policy, identifier_type=type_of(tx, record.identifier_id))
