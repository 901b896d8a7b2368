"""The context that every use case receives."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from cdp.audit.sequencer import Log
from cdp.behavior.rules import compile_plan, vocabularies_of
from cdp.kit.clock import Clock
from cdp.kit.db import Database
from cdp.kit.state import StateStore
from cdp.policy.model import Policy
from cdp.rights.replay_file import ReplayFile
from cdp.vault.vault import Vault


@dataclass(frozen=True, slots=True)
class Context:
    """Database, vault, policy, clock and logs of one process.

    - `home` is CDP_HOME: the embedded database, the file of the master key and the admin token.
    - `state` is the state store: wrapped keys, the copy of the audit log and the replay file; CDP_HOME unless set.
    - `vocabularies` gives, by event and property, the vocabulary whose terms are stored unsealed.
    - `is_shared` is set if another process serves the same embedded database.
    - `notice` must be shown prominently: it is set when a master key was created.
    - `policy_applied_at` is when the policy was put in force; None before that.
    - `pending_policy` is the fingerprint of the policy folder that a service found at its start and did not put in force.
    """

    home: Path
    state: StateStore
    database: Database
    vault: Vault
    policy: Policy
    clock: Clock
    log: Log
    replay: ReplayFile
    vocabularies: Mapping[str, Mapping[str, str]]
    is_shared: bool = False
    notice: str | None = None
    policy_applied_at: datetime | None = None
    pending_policy: str | None = None

    def with_policy(self, policy: Policy, *, applied_at: datetime | None = None) -> "Context":
        """The same context under another policy, which was put in force at an instant, or is not."""
        pending = None if self.pending_policy == policy.fingerprint else self.pending_policy
        return replace(
            self,
            policy=policy,
            vocabularies=vocabularies_under(policy),
            policy_applied_at=applied_at,
            pending_policy=pending,
        )


def vocabularies_under(policy: Policy) -> Mapping[str, Mapping[str, str]]:
    """By event and property, the vocabulary whose terms are stored unsealed."""
    return vocabularies_of(compile_plan(policy.events))
