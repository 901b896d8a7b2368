"""Steps that record a policy as the one in force."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from cdp.audit.store import facts as fact_store
from cdp.consent.store import projection as projection_store
from cdp.consent.store import role_projections as role_projection_store
from cdp.consent.store import validities as validity_store
from cdp.identity.store import generation as generation_store
from cdp.kit.db import Transaction
from cdp.operations.store import policies as policy_store
from cdp.policy.model import MARKETER, Policy


def put_in_force(tx: Transaction, policy: Policy, now: datetime) -> bool:
    """Record this as the policy in force; True if it changed. Safe to repeat."""
    generation_store.lock_exclusive(tx)
    projection_store.prepare_purposes(tx, list(policy.purposes), now)
    projection_store.grant_reading(tx, policy.purposes_read_by(MARKETER))
    others = [role for role in policy.readers.names if role != MARKETER]
    role_projection_store.prepare_roles(tx, {role: policy.purposes_read_by(role) for role in others})
    fingerprint = bytes.fromhex(policy.fingerprint)
    latest = policy_store.latest_policy(tx)
    if latest is not None and latest.fingerprint == fingerprint:
        return False
    validity_store.record_validities(tx, validities_changed_by(tx, policy), now=now)
    policy_store.add_policy(tx, fingerprint, dict(policy.documents), now=now)
    fact = {"kind": "policy.applied", "actor": "operator", "policy": policy.fingerprint}
    if latest is not None:
        fact["previous_policy"] = latest.fingerprint.hex()
    fact_store.append(tx, fact, now)
    generation_store.advance(tx, changed=True)
    return True


def validities_changed_by(tx: Transaction, policy: Policy) -> dict[str, int | None]:
    """By purpose, the days for which grants are valid under this policy, where the policy in force says otherwise."""
    latest = policy_store.latest_policy(tx)
    if latest is None:
        return {}
    return validity_store.changed_validities(tx, _validities(latest.content), _validities(policy.documents))


def _validities(documents: Mapping[str, Any]) -> dict[str, int | None]:
    purposes = documents["purposes.yaml"]["purposes"]
    return {purpose: rule.get("validity_days") for purpose, rule in purposes.items()}
