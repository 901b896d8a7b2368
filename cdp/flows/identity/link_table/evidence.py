"""The evidence of the rows of a link table: of the same kinds as for messages, by the rule `link_table`. Pure."""

from collections.abc import Container, Iterator, Sequence
from datetime import datetime

from cdp.flows.identity.link_table.identifiers import LinkTableSnapshot
from cdp.flows.identity.link_table.judge import EdgeGroup
from cdp.flows.identity.link_table.rows import Part
from cdp.flows.identity.mapping_replay import WrittenReplay
from cdp.identity.model import EvidenceRow, Rule
from cdp.identity.resolve import Proposal


def merges_of(
    group: EdgeGroup,
    part: Part,
    ids: Sequence[int],
    *,
    snapshot: LinkTableSnapshot,
    profile: int,
    first_sequence: int,
    now: datetime,
) -> Iterator[EvidenceRow]:
    """The merges of a plain group: at the row that links two profiles, the younger one is absorbed."""
    rank = {owner: at for at, owner in enumerate(group.owners)}
    sets: dict[int, set[int]] = {}  # the sets of members linked so far, each under one of them
    oldest: dict[int, int | None] = {}  # the oldest profile of each set
    for member in group.members:
        stored = snapshot.stored.get(member)
        owner = None if stored is None else stored.profile_id
        same = next((key for key in sets if owner is not None and oldest[key] == owner), None)
        if same is None:
            sets[member], oldest[member] = {member}, owner
        else:
            sets[same].add(member)
    set_of = {member: key for key, members in sets.items() for member in members}
    for sequence, position in enumerate(group.edges, first_sequence):
        one, other = set_of[part.ones[position]], set_of[part.others[position]]
        if one == other:
            continue
        owners = sorted((owner for owner in (oldest[one], oldest[other]) if owner is not None), key=rank.__getitem__)
        if len(owners) > 1:
            weaker, stronger = ids[part.others[position]], ids[part.ones[position]]
            yield EvidenceRow(sequence, "merge", Rule.LINK_TABLE, weaker, stronger, profile, owners[1], now)
        oldest[one] = owners[0] if owners else None
        sets[one] |= sets[other]
        set_of.update(dict.fromkeys(sets.pop(other), one))


def bounded_evidence(written: WrittenReplay, sequences: Container[int]) -> list[EvidenceRow]:
    """The evidence of these steps of a replay: links, merges of existing profiles, refusals, quarantines, shared ones."""
    world = written.run.world
    accepted = [proposal for proposal in written.run.accepted if proposal.step.sequence in sequences]
    rows: list[EvidenceRow] = []
    for proposal in accepted:
        profile = written.profile_of[world.current(world.accepted_placement[proposal.step.anchor_id])]
        rows += _of_step(written, proposal, profile)
    for shared in written.shared:
        first = next((proposal for proposal in accepted if shared in proposal.step.members), None)
        if first is not None:
            step = first.step
            profile = written.profile_of[world.current(world.accepted_placement[step.anchor_id])]
            rows.append(EvidenceRow(step.sequence, "shared", Rule.UNIQUE, shared, first.base, profile, None, step.at))
    return rows


def refused_rows(written: WrittenReplay, sequences: Container[int]) -> dict[int, Rule]:
    """The rule that refused the link of each of these steps of a replay; steps that linked are absent."""
    return {
        proposal.step.sequence: proposal.refusals[0].rule
        for proposal in written.run.accepted
        if proposal.refusals and proposal.step.sequence in sequences
    }


def _of_step(written: WrittenReplay, proposal: Proposal, profile: int) -> Iterator[EvidenceRow]:
    step = proposal.step
    refused = {refusal.identifier for refusal in proposal.refusals}
    for member in step.members:
        if member != proposal.base and member not in refused:
            yield EvidenceRow(step.sequence, "link", Rule.LINK_TABLE, member, proposal.base, profile, None, step.at)
    for origin in proposal.absorbed:
        if origin in written.profile_of:
            absorbed, bridge = written.profile_of[origin], proposal.bridges[origin]
            yield EvidenceRow(
                step.sequence, "merge", Rule.LINK_TABLE, bridge, proposal.base, profile, absorbed, step.at
            )
    for refusal in proposal.refusals:
        yield EvidenceRow(
            step.sequence,
            "quarantine" if refusal.rule is Rule.BOUND else "refusal",
            f"{refusal.rule.value}:{refusal.detail}",
            refusal.identifier,
            refusal.other,
            profile,
            None,
            step.at,
        )
