"""The context: what every use case is given."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from cdp.audit.sequencer import Log
from cdp.behavior.rules import compile_plan, vocabularies_of
from cdp.kit.clock import Clock
from cdp.kit.db import Database
from cdp.policy.model import Policy
from cdp.rights.replay_file import ReplayFile
from cdp.vault.vault import Vault


@dataclass(frozen=True, slots=True)
class Context:
    """Database, vault, policy, clock and logs of one process.

    - `home` is CDP_HOME: keys, the copy of the audit log and the replay file.
    - `vocabularies` names, by event and property, the vocabularies whose terms are stored in plain.
    - `is_shared` when another process serves the same embedded database.
    - `notice` is to be printed prominently: it is set when a master key was created.
    """

    home: Path
    database: Database
    vault: Vault
    policy: Policy
    clock: Clock
    log: Log
    replay: ReplayFile
    vocabularies: Mapping[str, Mapping[str, str]]
    is_shared: bool = False
    notice: str | None = None

    def with_policy(self, policy: Policy) -> "Context":
        """The same context under another policy."""
        return replace(self, policy=policy, vocabularies=vocabularies_under(policy))


def vocabularies_under(policy: Policy) -> Mapping[str, Mapping[str, str]]:
    """The vocabularies whose terms are stored in plain, by event and property."""
    return vocabularies_of(compile_plan(policy.events))
