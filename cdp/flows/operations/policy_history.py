"""Use cases of the policies that were in force: which, when, and what each said."""

from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from cdp.flows.consent.as_of import read_applied
from cdp.flows.context import Context
from cdp.kit.errors import Fault
from cdp.operations.model import AppliedPolicy
from cdp.operations.store import policies as policy_store
from cdp.policy.diff import PolicyDifference, differences
from cdp.policy.load import build_policy
from cdp.policy.model import Policy


@dataclass(frozen=True, slots=True)
class PolicyPeriod:
    """A policy and the time in which it was in force; `ended_at` is None for the present one.

    `differences` are those from the one before; None where the present rules refuse one of the two.
    """

    fingerprint: str
    applied_at: datetime
    ended_at: datetime | None
    differences: tuple[PolicyDifference, ...] | None


def history(context: Context) -> list[PolicyPeriod]:
    """Every policy that was in force, oldest first."""
    with context.database.transaction(read_only=True) as tx:
        applied = policy_store.policies(tx)
    ends: list[datetime | None] = [policy.applied_at for policy in applied[1:]]
    changes: list[tuple[PolicyDifference, ...] | None] = [(), *(_changes(*pair) for pair in pairwise(applied))]
    return [
        PolicyPeriod(policy.fingerprint.hex(), policy.applied_at, ended_at, changed)
        for policy, ended_at, changed in zip(applied, [*ends, None], changes, strict=True)
    ]


def policy_at(context: Context, instant: datetime) -> AppliedPolicy:
    """The policy that was in force at an instant. Raises the fault `no_policy_then` (404)."""
    with context.database.transaction(read_only=True) as tx:
        found = policy_store.policy_at(tx, instant)
    if found is None:
        raise Fault(
            "no_policy_then",
            "No policy was in force at that time",
            "`cdp policy history` lists every policy and when it was applied.",
            status=404,
        )
    return found


def readable_policy_at(context: Context, instant: datetime) -> Policy:
    """The policy in force at an instant, for use. Faults: `no_policy_then`, `policy_outdated`."""
    return read_applied(policy_at(context, instant))


def _changes(before: AppliedPolicy, after: AppliedPolicy) -> tuple[PolicyDifference, ...] | None:
    try:
        return differences(build_policy(before.content), build_policy(after.content))
    except Fault:
        return None
