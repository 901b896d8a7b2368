"""Writing why identifiers were linked, merged or kept apart."""

from collections.abc import Mapping, Sequence

from cdp.audit.store import facts as fact_store
from cdp.flows.ingest.batch_result import BatchResult
from cdp.identity.model import EvidenceRow, Rule
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
        )
        for message, envelope in zip(evident, sealed, strict=True)
    ]
    rows = [row for proposal in accepted for row in _rows_of(result, proposal)]
    rows.extend(_rows_of_shared(result, accepted))
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
    rows += [
        EvidenceRow(
            step.sequence,
            "quarantine" if refusal.rule is Rule.BOUND else "refusal",
            f"{refusal.rule.value}:{refusal.detail}",
            refusal.identifier,
            refusal.other,
            profile_id,
            None,
            step.at,
        )
        for refusal in proposal.refusals
    ]
    return rows


def _rows_of_shared(result: BatchResult, accepted: Sequence[Proposal]) -> list[EvidenceRow]:
    """The identifiers that turned out to be shared, each with the first accepted step that carried it."""
    rows = []
    for identifier in result.run.learned:
        proposal = next((proposal for proposal in accepted if identifier in proposal.step.members), None)
        if proposal is not None:
            step = proposal.step
            profile_id = result.profile_at(result.run.world.accepted_placement[step.anchor_id])
            rows.append(
                EvidenceRow(step.sequence, "shared", Rule.UNIQUE, identifier, proposal.base, profile_id, None, step.at)
            )
    return rows
