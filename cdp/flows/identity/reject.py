"""Reject a case of the identity review: it is recorded with a reason, and listed again only if its evidence changes.

The evidence of a value that reads differently is what it reads as and who has that value; it is kept sealed under the key
of the identifier. The evidence of a claim is the messages and rows that made it.
"""

from dataclasses import dataclass
from datetime import datetime

from cdp.audit.store import facts as fact_store
from cdp.flows.context import Context
from cdp.flows.identifiers import open_identifiers
from cdp.flows.identity.review_cases import CASE_PREFIX, CLAIM_PREFIX, case_of, sealed_evidence
from cdp.flows.reads import Reading, log_read
from cdp.flows.snapshot import at_one_instant
from cdp.identity.model import CaseKind, RejectionReason
from cdp.identity.store import rejections as rejection_store
from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.kit.ids import decode_id, encode_id


@dataclass(frozen=True, slots=True)
class RejectedCase:
    """A case that a reviewer rejected; `kind` is `reread` or `left_out`, and `value` None once its key is shredded."""

    case: str
    kind: str
    type: str
    value: str | None
    reason: str
    rejected_at: datetime


@dataclass(frozen=True, slots=True)
class RejectedList:
    """The cases rejected last, and the number of all."""

    rejected_total: int
    rejected: tuple[RejectedCase, ...]


def reject(context: Context, case: str, *, reason: str, actor: str = "privacy") -> None:
    """Reject a case of `list_review` as it is now; the reason is one of `RejectionReason`.

    Faults: `unknown_case` (404), `nothing_to_review` (409), `invalid_reason` (422).
    """
    known = [known.value for known in RejectionReason]
    if reason not in known:
        detail = f"Give one of {', '.join(known)}."
        raise Fault("invalid_reason", "The reason is not one that can be given", detail, status=422)
    now = context.clock.now()
    claimed = decode_id(CLAIM_PREFIX, case)
    with context.database.transaction() as tx:
        if claimed is None:
            stored, reading = case_of(tx, context, decode_id(CASE_PREFIX, case))
            evidence = sealed_evidence(tx, context, stored.identifier_id, reading=reading)
            rejection_store.reject_reading(tx, stored.identifier_id, reason, evidence=evidence, now=now)
        elif not rejection_store.reject_claims(tx, claimed, reason, now=now):
            case_of(tx, context, None)
        kind = CaseKind.REREAD if claimed is None else CaseKind.LEFT_OUT
        fact = {"kind": "identity.case_rejected", "actor": actor, "reason": reason, "rule": kind.value}
        fact_store.append(tx, fact | {"policy": context.policy.fingerprint}, now)


def list_rejected(context: Context, *, limit: int, actor: str, token: int | None = None) -> RejectedList:
    """Up to `limit` rejected cases, the latest first; recorded in the audit log."""

    def read(tx: Transaction) -> RejectedList:
        rows = rejection_store.rejected(tx, limit)
        identifiers = [row.identifier_id for row in rows]
        opened = open_identifiers(tx, context.vault, identifiers)
        log_read(
            tx,
            context,
            Reading(actor, token, "identifiers", question={"rejected": True, "limit": limit}),
            count=len(rows),
            now=context.clock.now(),
            identifiers=identifiers,
        )
        prefixes = {CaseKind.REREAD: CASE_PREFIX, CaseKind.LEFT_OUT: CLAIM_PREFIX}
        return RejectedList(
            rejection_store.count_rejected(tx),
            tuple(
                RejectedCase(
                    encode_id(prefixes[row.kind], row.identifier_id),
                    row.kind.value,
                    row.type,
                    opened[row.identifier_id].value,
                    row.reason,
                    row.rejected_at,
                )
                for row in rows
            ),
        )

    return at_one_instant(context.database, read)
