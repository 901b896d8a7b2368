"""Policies for tests, made from the shipped one by changing documents; never by copying files."""

import copy
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from cdp.policy.load import build_policy, load_policy
from cdp.policy.model import Policy

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "policies"
PERMIT_ALL = ROOT / "tests" / "data" / "policies" / "permit_all"

SEGMENT_LIMITS: Mapping[str, int] = {"user_id": 1, "*": 5}
"""The limits that Segment's own documentation gives as the default."""


@cache
def shipped() -> Policy:
    """The policy that the repository ships."""
    return load_policy(SHIPPED)


@cache
def permit_all() -> Policy:
    """A policy under which every event of everyone is permitted for `analytics`."""
    return load_policy(PERMIT_ALL)


def documents_of(policy: Policy) -> dict[str, Any]:
    """A copy of a policy's documents that may be changed and built again."""
    return copy.deepcopy(dict(policy.documents))


def changed(policy: Policy, file: str, **sections: Any) -> Policy:
    """The policy with top-level sections of one file merged with these; an entry of None is removed."""
    documents = documents_of(policy)
    for section, content in sections.items():
        old = documents[file].get(section)
        merged = {**old, **content} if isinstance(old, dict) and isinstance(content, Mapping) else content
        documents[file][section] = (
            {key: value for key, value in merged.items() if value is not None} if isinstance(merged, dict) else merged
        )
    return build_policy(documents)


def with_readers(policy: Policy, **purposes: tuple[str, ...]) -> Policy:
    """The policy with these further reader roles, each of which reads the named purposes and no other."""
    documents = documents_of(policy)
    roles = {role: {"legal_bases": [], "purposes": list(named)} for role, named in purposes.items()}
    documents["readers.yaml"] = {"roles": {**documents.get("readers.yaml", {}).get("roles", {}), **roles}}
    return build_policy(documents)


def combining(policy: Policy, purpose: str, *others: str) -> Policy:
    """The policy in which segments of a purpose may refer to segments of these others, and of no further ones."""
    documents = documents_of(policy)
    documents["purposes.yaml"]["purposes"][purpose]["combines_with"] = list(others)
    return build_policy(documents)


def segment_unify(limits: Mapping[str, int] = SEGMENT_LIMITS) -> Policy:
    """`permit_all` under Segment's rule: a conflicting identifier stays with its first owner; limits per type, `*` for others.

    The priority is user_id, email, then the others in alphabetical order. A user_id that may occur twice is no longer unique.
    """
    documents = documents_of(permit_all())
    types = documents["identifiers.yaml"]["types"]
    ranked = ["user_id", "email", *sorted(set(types) - {"user_id", "email"})]
    for priority, key in enumerate(ranked, start=1):
        count = limits.get(key, limits["*"])
        types[key] |= {"priority": priority, "limit": {"count": count}, "on_conflict": "first_owner"}
        types[key]["unique"] = types[key].get("unique", False) and count == 1
    return build_policy(documents)


def written(policy: Policy, folder: Path) -> Path:
    """The folder, filled with the policy's files; JSON is YAML, so nothing is lost."""
    for file, content in policy.documents.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
    return folder
