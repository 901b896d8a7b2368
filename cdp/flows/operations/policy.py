"""Use case of applying a policy, and policies with changed rules for simulation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from cdp.consent.store import projection as projection_store
from cdp.flows.consent.recompute import recompute_all_verdicts
from cdp.flows.context import Context
from cdp.flows.operations.computed_traits import apply_definitions
from cdp.flows.operations.policy_activation import put_in_force, validities_changed_by
from cdp.flows.segments import adoption, texts
from cdp.identity.store import generation as generation_store
from cdp.kit.errors import Fault
from cdp.policy.diff import PolicyDifference, differences
from cdp.policy.load import build_policy
from cdp.policy.model import Policy

IDENTIFIERS: Final = "identifiers.yaml"


@dataclass(frozen=True, slots=True)
class PolicyApplication:
    """The result of applying a policy; `profiles` counts profiles whose verdicts were recomputed."""

    context: Context
    is_new: bool
    profiles: int
    differences: tuple[PolicyDifference, ...]


def apply_policy(context: Context, policy: Policy) -> PolicyApplication:
    """Put a policy in force, with its segments; every verdict is computed under it before.

    Segments that an earlier folder had and this one has not end. Safe to repeat; after a kill the old policy is still in force,
    and the next call starts over. Faults: `segment_rejected` for a segment of the folder that the policy does not permit, and
    `segment_in_use` for one that ends while another refers to it.
    """
    texts.conditions_of(policy)
    if policy.fingerprint == context.policy.fingerprint:
        with context.database.transaction() as tx:
            generation_store.lock_exclusive(tx)
            adoption.adopt(tx, policy, context.clock.now())
        apply_definitions(context.database, policy, context.clock.now())
        return PolicyApplication(context, is_new=False, profiles=0, differences=())
    changes = differences(context.policy, policy)
    with context.database.transaction() as tx:
        generation_store.lock_exclusive(tx)
        adoption.planned_catalogue(tx, policy)
        projection_store.prepare_purposes(tx, list(policy.purposes), context.clock.now())
        validities = validities_changed_by(tx, policy)
    profiles = recompute_all_verdicts(context.database, policy, validities=validities)
    with context.database.transaction() as tx:
        put_in_force(tx, policy, context.clock.now())
        adoption.adopt(tx, policy, context.clock.now())
        adoption.end_former(tx, policy, context.clock.now())
    apply_definitions(context.database, policy, context.clock.now())
    return PolicyApplication(
        context.with_policy(policy, applied_at=context.clock.now()), is_new=True, profiles=profiles, differences=changes
    )


def with_rules(policy: Policy, rules: Mapping[str, JsonValue]) -> Policy:
    """The policy with a different `identifiers.yaml`, for simulation. Raises the fault `invalid_policy` (422)."""
    try:
        return build_policy({**policy.documents, IDENTIFIERS: dict(rules)})
    except Fault as fault:
        raise Fault(fault.code, fault.title, fault.detail, status=422, extra=fault.extra) from None
    except (ValueError, RecursionError):
        raise Fault(
            "invalid_policy",
            "Invalid rules",
            "They contain a number or a nesting that JSON cannot represent.",
            status=422,
        ) from None
