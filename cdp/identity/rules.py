"""The identifier policy, compiled for resolution. Pure."""

from collections.abc import Collection
from datetime import timedelta

from cdp.policy.identifiers import Identifiers, OnConflict


class Rules:
    """The identifier policy, compiled for resolution: per type whether it links, its limit and its window.

    `guarded` types, such as e-mail addresses, name a person without proving that who says them is that person: only
    words of the highest authority that names such an identifier link it. A unique type is one where the policy does not
    trust browsers with it. Identifiers of the `takeable` types, such as devices, can be taken by a higher authority: from
    then on, lower words say nothing about them.
    """

    def __init__(self, policy: Identifiers) -> None:
        self.policy = policy
        self.unique = policy.unique_types
        self.unique_in_order = sorted(self.unique, key=lambda key: (policy.types[key].priority, key))
        self.links = {key: type_.merges for key, type_ in policy.types.items()}
        self.count = {key: type_.limit.count for key, type_ in policy.types.items()}
        self.window = {
            key: None if type_.limit.within_days is None else timedelta(days=type_.limit.within_days)
            for key, type_ in policy.types.items()
        }
        self.can_be_shared = {
            key
            for key, type_ in policy.types.items()
            if not type_.unique and type_.merges and type_.on_conflict is OnConflict.SHARED
        }
        self.person_level = {key for key, type_ in policy.types.items() if type_.person_level or type_.unique}
        trusted = {key for key in self.unique if policy.types[key].trusts_browsers}
        self.guarded = {key for key in self.person_level if self.links[key] and key not in trusted}
        self.takeable = {key for key in policy.types if key not in self.unique and key not in self.guarded}
        self.bound_by_authority = self.guarded | self.takeable

    @property
    def non_linking(self) -> list[str]:
        """The types that never link profiles."""
        return [key for key, links in self.links.items() if not links]

    def in_order_of_limits(self, types: Collection[str]) -> list[str]:
        """Types in the order in which their limits are looked at: one that time does not lift decides before others."""
        if len(types) == 1:
            return list(types)
        return sorted(types, key=lambda key: (self.window.get(key) is not None, self.priority(key), key))

    def priority(self, type_: str) -> int:
        """The priority of a type, 1 is the strongest; unknown types come last and link nothing."""
        found = self.policy.types.get(type_)
        return 1_000_000 if found is None else found.priority
