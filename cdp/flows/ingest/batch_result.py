"""What was decided about a batch, with all that is needed to write it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cdp.flows.ingest.consent_state import ConsentState
from cdp.flows.ingest.load import BatchState
from cdp.flows.ingest.plan import IngestPlan
from cdp.flows.ingest.stages import DecidedMessage
from cdp.flows.ingest.writer_cache import WriterCache
from cdp.identity.run import Run
from cdp.kit.db import Transaction
from cdp.vault.vault import Vault


@dataclass(frozen=True, slots=True)
class BatchResult:
    """The decided messages of a batch in their order, the groups and the consent that they led to."""

    tx: Transaction
    vault: Vault
    plan: IngestPlan
    state: BatchState
    run: Run
    consent: ConsentState
    decided: Sequence[DecidedMessage]
    now: datetime
    cache: WriterCache

    def profile_at(self, origin: int) -> int:
        """The profile id of the group that a group has become by the end of the batch."""
        return self.state.profile_of[self.run.world.current(origin)]

    def profile_of(self, message: DecidedMessage) -> int:
        """The profile to which a stored message belongs at the end of the batch."""
        world, anchor_id = self.run.world, message.identified.anchor_id
        return self.profile_at(world.accepted_placement.get(anchor_id, world.placement.get(anchor_id, 0)))
