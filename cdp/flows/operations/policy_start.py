"""Use case of the policy folder when a service starts: applied if that touches nothing that is stored, otherwise left waiting."""

from dataclasses import replace
from typing import Final

from cdp.flows.context import Context
from cdp.flows.operations.policy import apply_policy
from cdp.flows.operations.policy_effects import Effect
from cdp.flows.operations.policy_impact import measure_impact
from cdp.flows.segments.texts import conditions_of
from cdp.operations.store import policies as policy_store
from cdp.policy.diff import differences
from cdp.policy.model import Policy

_ASK_FOR: Final = frozenset(
    {"destinations.yaml", "identifiers.yaml", "jurisdictions.yaml", "readers.yaml", "retention.yaml"}
)
"""Files whose changes reach stored data in ways that are not all counted: who reads, who receives, who is who, what is kept."""

_OF_SEGMENTS: Final = frozenset({Effect.ENTER, Effect.LEAVE})


def start_under(context: Context, policy: Policy, *, accepted: str | None = None) -> Context:
    """The context of a starting service with the folder's policy `policy`, in force or waiting (`pending_policy`).

    It is put in force if it is in force already, if `accepted` is its fingerprint, or if it was never in force and touches
    nothing that is stored. Otherwise the service starts under the policy in force. Raises the fault `segment_rejected`.
    """
    conditions_of(policy)
    is_in_force = policy.fingerprint == context.policy.fingerprint
    if is_in_force or accepted == policy.fingerprint or _touches_nothing(context, policy):
        return apply_policy(context, policy).context
    return replace(context, pending_policy=policy.fingerprint)


def _touches_nothing(context: Context, policy: Policy) -> bool:
    """Whether this is a new policy that neither deletes, excludes, reveals nor permits anything that is stored.

    Who enters or leaves a segment by a changed condition was permitted for its purpose before, and stays so.

    One that was in force before comes from a process that was left behind: a restart must not bring it back.
    """
    with context.database.transaction(read_only=True) as tx:
        known = {applied.fingerprint.hex() for applied in policy_store.policies(tx)}
    if policy.fingerprint in known:
        return False
    if any(change.file in _ASK_FOR for change in differences(context.policy, policy)):
        return False
    return all(impact.effect in _OF_SEGMENTS for impact in measure_impact(context, policy))
