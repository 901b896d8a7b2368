"""Writing why identifiers were linked, merged or kept apart."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from cdp.audit.store import facts as fact_store
from cdp.flows.ingest.batch_result import BatchResult
from cdp.identity.knowledge import FactKind
from cdp.identity.model import EvidenceRow, LinkRefusal, Rule
from cdp.identity.resolve import Proposal
from cdp.identity.store import evidence as evidence_store
from cdp.vault.seal import SealedColumn
from cdp.vault.vault import Item

MESSAGE_PLACE = SealedColumn("identity.resolution", "message_sealed")
"""Where the message id of a recorded step is stored; its row is the sequence."""


def write_evidence(result: BatchResult, keys: Mapping[int, bytes]) -> None:
    """Write the accepted steps of this batch with their evidence, and the audit fact of its merges."""
    messages = {message.identified.sequence: message for message in result.decided}
    accepted = [proposal for proposal in result.run.accepted if proposal.step.sequence in messages]
    evident = [messages[proposal.step.sequence] for proposal in accepted]
    sealed = result.vault.seal_many(
        keys,
        MESSAGE_PLACE,
        (
            Item(
                message.identified.anchor_id,
                message.identified.sequence,
                message.read.message.message_id.encode("utf-8", "replace"),
            )
            for message in evident
        ),
    )
    steps = [
        evidence_store.NewResolution(
            message.identified.sequence,
            message.identified.anchor_id,
            int(message.read.message.source.source_id),
            message.read.message.received_at,
            envelope,
            message.read.message.occurred_at,
        )
        for message, envelope in zip(evident, sealed, strict=True)
    ]
    rows = [row for proposal in accepted for row in _rows_of(result, proposal)]
    rows.extend(_rows_of_shared(result, accepted))
    rows.extend(_rows_of_raised(result))
    evidence_store.record(result.tx, steps, rows, policy_fingerprint=result.plan.fingerprint)
    merges = sum(len(proposal.absorbed) for proposal in accepted)
    if merges:
        policy = result.plan.policy.fingerprint
        fact = {"kind": "identity.merged", "actor": "source", "profiles": merges, "policy": policy}
        fact_store.append(result.tx, fact, result.now)


def _rows_of(result: BatchResult, proposal: Proposal) -> list[EvidenceRow]:
    """What one step joined, merged and refused."""
    step = proposal.step
    profile_id = result.profile_at(result.run.world.accepted_placement[step.anchor_id])
    rows = [
        EvidenceRow(
            step.sequence,
            "link",
            Rule.SAME_MESSAGE,
            identifier,
            None if identifier == proposal.base else proposal.base,
            profile_id,
            None,
            step.at,
        )
        for identifier in proposal.joining
    ]
    rows += [
        EvidenceRow(
            step.sequence,
            "merge",
            Rule.SAME_MESSAGE,
            proposal.bridges[origin],
            proposal.base,
            profile_id,
            result.state.profile_of.get(origin),
            step.at,
        )
        for origin in proposal.absorbed
    ]
    rows += [_row_of_refusal(step.sequence, refusal, profile_id, at=step.at) for refusal in proposal.refusals]
    return rows


def _rows_of_shared(result: BatchResult, accepted: Sequence[Proposal]) -> list[EvidenceRow]:
    """The identifiers that turned out to be shared, each with the first accepted step that carried it."""
    rows = []
    for identifier in result.run.shared:
        proposal = next((proposal for proposal in accepted if identifier in proposal.step.members), None)
        if proposal is not None:
            step = proposal.step
            profile_id = result.profile_at(result.run.world.accepted_placement[step.anchor_id])
            rows.append(
                EvidenceRow(step.sequence, "shared", Rule.UNIQUE, identifier, proposal.base, profile_id, None, step.at)
            )
    return rows


def _rows_of_raised(result: BatchResult) -> Iterator[EvidenceRow]:
    """The identifiers that a higher authority took, each with the step that did, and the earlier words left out since."""
    world = result.run.world
    raised = {
        fact.subject: step
        for fact, step in result.run.learned.items()
        if fact.kind in (FactKind.AUTHORITY, FactKind.TAKEN)
    }
    for identifier, step in raised.items():
        placed = world.accepted_placement.get(step.anchor_id, world.placement.get(step.anchor_id))
        if placed is not None:
            profile_id = result.profile_at(placed)
            yield EvidenceRow(step.sequence, "authority", Rule.AUTHORITY, identifier, None, profile_id, None, step.at)
    first = min((step.sequence for step in raised.values()), default=0)
    for proposal in result.run.accepted:
        if proposal.step.sequence < first:
            profile_id = result.profile_at(world.accepted_placement[proposal.step.anchor_id])
            for refusal in proposal.refusals:
                if refusal.rule is Rule.AUTHORITY and refusal.identifier in raised:
                    yield _row_of_refusal(proposal.step.sequence, refusal, profile_id, at=raised[refusal.identifier].at)


def _row_of_refusal(sequence: int, refusal: LinkRefusal, profile_id: int, *, at: datetime) -> EvidenceRow:
    return EvidenceRow(
        sequence,
        "quarantine" if refusal.rule is Rule.BOUND else "refusal",
        f"{refusal.rule.value}:{refusal.detail}",
        refusal.identifier,
        refusal.other,
        profile_id,
        None,
        at,
    )
