"""Opening the house: the database at its newest schema, the vault open, the policy in force."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cdp.access import store_policy
from cdp.audit import store as audit_store
from cdp.consent import store_projection
from cdp.identity import store as identity_store
from cdp.kit.clock import Clock
from cdp.kit.db import Database, Transaction
from cdp.policy.model import Policy
from cdp.vault.strongroom import Vault, open_vault


@dataclass(frozen=True, slots=True)
class House:
    """What every journey needs. `notice` is to be printed loudly when a master key was made."""

    database: Database
    vault: Vault
    policy: Policy
    clock: Clock
    notice: str | None = None


def open_house(
    database: Database,
    policy: Policy,
    clock: Clock,
    *,
    keys: Path,
    master_key: bytes | None = None,
    kms_url: str | None = None,
) -> House:
    """Open the vault over the key files in `keys`, or a KMS, and put the policy in force; the schema must be current.

    Raises the vault's faults for a missing or wrong master key, and never makes one beside a database that holds
    anything.
    """
    with database.transaction() as tx:
        # Everybody takes the lock of identity before that of the root keys, so that a start cannot deadlock a rotation.
        identity_store.lock_exclusive(tx)
        now = clock.now()
        vault, notice = open_vault(tx, keys, master_key, now, kms_url=kms_url)
        put_in_force(tx, policy, now)
    return House(database, vault, policy, clock, notice)


def put_in_force(tx: Transaction, policy: Policy, now: datetime) -> bool:
    """Make this the policy in force; True when it was another one before. Safe to repeat."""
    identity_store.lock_exclusive(tx)
    store_projection.prepare(tx, list(policy.purposes), now)
    store_projection.grant_reading(tx)
    fingerprint = bytes.fromhex(policy.fingerprint)
    latest = store_policy.latest_policy(tx)
    if latest is not None and latest.fingerprint == fingerprint:
        return False
    store_policy.add_policy(tx, fingerprint, dict(policy.documents), now)
    fact = {"kind": "policy.applied", "actor": "operator", "policy": policy.fingerprint}
    if latest is not None:
        fact["previous_policy"] = latest.fingerprint.hex()
    audit_store.append(tx, fact, now)
    identity_store.advance(tx, changed=True)
    return True
