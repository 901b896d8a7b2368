"""The journey of a policy: what applying it would change, and applying it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from pydantic import JsonValue

from cdp.consent import store_projection
from cdp.flows import segments
from cdp.flows.computed import follow_definitions
from cdp.flows.consent import recompute_everybody
from cdp.flows.house import House, put_in_force
from cdp.identity import store as identity_store
from cdp.kit.errors import Fault
from cdp.policy.diff import Difference, differences
from cdp.policy.load import build_policy
from cdp.policy.model import Policy

IDENTIFIERS: Final = "identifiers.yaml"


@dataclass(frozen=True, slots=True)
class Applied:
    """What applying a policy came to; `profiles` were decided about anew."""

    house: House
    is_new: bool
    profiles: int
    differences: tuple[Difference, ...]


def apply_policy(house: House, policy: Policy) -> Applied:
    """Put a policy in force: every verdict is decided under it before it is the one in force, and its segments with it.

    Safe to repeat; a kill leaves the old policy in force and the next call does the whole work. Faults:
    `segment_rejected` for a segment of the folder that the policy itself does not allow.
    """
    segments.conditions_of(policy)
    if policy.fingerprint == house.policy.fingerprint:
        with house.database.transaction() as tx:
            identity_store.lock_exclusive(tx)
            segments.adopt(tx, policy, house.clock.now())
        follow_definitions(house.database, policy, house.clock.now())
        return Applied(house, is_new=False, profiles=0, differences=())
    changes = differences(house.policy, policy)
    with house.database.transaction() as tx:
        identity_store.lock_exclusive(tx)
        store_projection.prepare(tx, list(policy.purposes), house.clock.now())
    profiles = recompute_everybody(house.database, house.vault, policy, house.clock.now())
    with house.database.transaction() as tx:
        put_in_force(tx, policy, house.clock.now())
        segments.adopt(tx, policy, house.clock.now())
    follow_definitions(house.database, policy, house.clock.now())
    return Applied(replace(house, policy=policy), is_new=True, profiles=profiles, differences=changes)


def with_rules(policy: Policy, rules: Mapping[str, JsonValue]) -> Policy:
    """The policy with another content of `identifiers.yaml`, for rehearsing. Raises the fault `invalid_policy` (422)."""
    try:
        return build_policy({**policy.documents, IDENTIFIERS: dict(rules)})
    except Fault as fault:
        raise Fault(fault.code, fault.title, fault.detail, status=422, extra=fault.extra) from None
    except (ValueError, RecursionError):
        raise Fault(
            "invalid_policy",
            "The rules are no policy",
            "They hold a number or a nesting that JSON cannot hold.",
            status=422,
        ) from None
