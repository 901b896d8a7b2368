"""A policy compiled for ingest. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from cdp.behavior.model import Classified
from cdp.behavior.rules import PlanRules, compile_plan
from cdp.consent.model import Reason
from cdp.consent.signals.model import SignalMap, signal_map_of
from cdp.consent.signals.repeated import SignalReader
from cdp.identity.normalize import IdentifierReader
from cdp.identity.rules import Rules
from cdp.policy.model import Policy


class CoveringPurpose(NamedTuple):
    """A purpose that could count a message, and the reason for a refusal where the profile has no verdict for it."""

    key: str
    without_verdict: Reason


@dataclass(frozen=True, slots=True)
class IngestPlan:
    """What ingest needs of a policy. `covering` caches the answers of `purposes_for`."""

    policy: Policy
    reader: IdentifierReader
    rules: Rules
    events: PlanRules
    signal_reader: SignalReader
    fingerprint: bytes
    ask_again_after_months: int
    keep_for_days: Mapping[str, int]
    covering: dict[tuple[str | None, str, bool], tuple[CoveringPurpose, ...]] = field(default_factory=dict)

    @property
    def signals(self) -> SignalMap:
        """Which purposes each kind of signal concerns."""
        return self.signal_reader.mapping

    def purposes_for(self, classified: Classified, *, is_server: bool) -> tuple[CoveringPurpose, ...]:
        """The purposes that could count a message of this name and category from this kind of source."""
        key = (classified.name, classified.category, is_server)
        purposes = self.covering.get(key)
        if purposes is None:
            purposes = self.covering[key] = tuple(
                CoveringPurpose(
                    purpose.key, Reason.NO_UNIQUE_IDENTIFIER if purpose.needs_unique_identifier else Reason.NO_GRANT
                )
                for purpose in self.policy.purposes.values()
                if (purpose.events == "*" or (classified.name is not None and purpose.covers(classified.name)))
                and purpose.allows(classified.category)
                and (is_server or not purpose.needs_unique_identifier)
            )
        return purposes


def compile_ingest_plan(policy: Policy) -> IngestPlan:
    """Compile a policy once for many batches."""
    return IngestPlan(
        policy=policy,
        reader=IdentifierReader(policy.identifiers),
        rules=Rules(policy.identifiers),
        events=compile_plan(policy.events, policy.traits.values()),
        signal_reader=SignalReader(signal_map_of(policy)),
        ask_again_after_months=policy.ask_again_after_months,
        fingerprint=bytes.fromhex(policy.fingerprint),
        keep_for_days={name: rule.keep_for_days for name, rule in policy.retention.classes.items()},
    )
