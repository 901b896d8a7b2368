"""Steps that put definitions in force and record them in the audit log."""

from datetime import datetime
from typing import Any, Final

from cdp.audit.store import facts as fact_store
from cdp.flows.segments.texts import conditions_of
from cdp.kit.canonical import sha256
from cdp.kit.db import Transaction
from cdp.policy.model import Policy
from cdp.query.language import ast
from cdp.segments.model import Draft, Segment, SegmentKey
from cdp.segments.store import definitions as definition_store
from cdp.segments.store import due as due_store

POLICY: Final = "policy"
"""The owner of segments that the policy folder defines."""


def adopt(tx: Transaction, policy: Policy, now: datetime) -> int:
    """Put the segments of the policy folder in force; the number of new or changed ones. Raises `segment_rejected`."""
    conditions = conditions_of(policy, definition_store.catalogue_of(tx, policy).segments)
    changed = 0
    for key, text in policy.segments.items():
        draft = Draft(SegmentKey(key), text.name, text.purpose, POLICY, text.text)
        before = definition_store.find(tx, key)
        after = definition_store.save(tx, draft, conditions[key], fingerprint=policy.fingerprint, now=now)
        if before is None or before.version != after.version:
            changed += 1
            _log_definition(tx, after, "operator", now=now)
    due_store.request_plan(tx)  # windows, retention and the time zone may be others now
    return changed


def save(tx: Transaction, policy: Policy, draft: Draft, *, condition: ast.Condition, now: datetime, actor: str) -> None:
    """Put a checked definition in force and record it."""
    saved = definition_store.save(tx, draft, condition, fingerprint=policy.fingerprint, now=now)
    _log_definition(tx, saved, actor, now=now)


def _log_definition(tx: Transaction, saved: Segment, actor: str, *, now: datetime) -> None:
    fact: dict[str, Any] = {
        "kind": "segment.defined",
        "actor": actor,
        "segment": saved.key,
        "version": saved.version,
        "purpose": saved.purpose,
        "definition": sha256(saved.where.encode()).hex(),
    }
    fact_store.append(tx, fact, now)
