"""What the rows of a link table did, as evidence: the same kinds that messages leave, by the rule `link_table`. Pure."""

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
    sight: LinkTableSnapshot,
    profile: int,
    first_sequence: int,
    now: datetime,
) -> Iterator[EvidenceRow]:
    """The merges of a plain group: at the row that joins two profiles, the younger one is absorbed."""
    age = {owner: at for at, owner in enumerate(group.owners)}
    side: dict[int, set[int]] = {}
    oldest: dict[int, int | None] = {}
    for member in group.members:
        known = sight.known.get(member)
        owner = None if known is None else known.profile_id
        at_home = next((each for each in side if owner is not None and oldest[each] == owner), None)
        if at_home is None:
            side[member], oldest[member] = {member}, owner
        else:
            side[at_home].add(member)
    home = {member: at for at, members in side.items() for member in members}
    for sequence, place in enumerate(group.edges, first_sequence):
        one, other = home[part.ones[place]], home[part.others[place]]
        if one == other:
            continue
        met = sorted((each for each in (oldest[one], oldest[other]) if each is not None), key=lambda each: age[each])
        if len(met) > 1:
            weaker, stronger = ids[part.others[place]], ids[part.ones[place]]
            yield EvidenceRow(sequence, "merge", Rule.LINK_TABLE, weaker, stronger, profile, met[1], now)
        oldest[one] = met[0] if met else None
        side[one] |= side[other]
        home.update(dict.fromkeys(side.pop(other), one))


def bounded_evidence(redone: WrittenReplay, sequences: Container[int]) -> list[EvidenceRow]:
    """What these steps of a replay did: links, merges of profiles that there were, refusals, quarantines, discoveries."""
    world = redone.run.world
    mine = [each for each in redone.run.accepted if each.step.sequence in sequences]
    rows: list[EvidenceRow] = []
    for proposal in mine:
        profile = redone.profile_of[world.current(world.accepted_placement[proposal.step.anchor_id])]
        rows += _of_step(redone, proposal, profile)
    for shared in redone.shared:
        met = next((each for each in mine if shared in each.step.members), None)
        if met is not None:
            profile = redone.profile_of[world.current(world.accepted_placement[met.step.anchor_id])]
            rows.append(
                EvidenceRow(met.step.sequence, "shared", Rule.UNIQUE, shared, met.base, profile, None, met.step.at)
            )
    return rows


def _of_step(redone: WrittenReplay, proposal: Proposal, profile: int) -> Iterator[EvidenceRow]:
    step = proposal.step
    left_out = {each.identifier for each in proposal.refusals}
    for member in step.members:
        if member != proposal.base and member not in left_out:
            yield EvidenceRow(step.sequence, "link", Rule.LINK_TABLE, member, proposal.base, profile, None, step.at)
    for born in proposal.absorbed:
        if born in redone.profile_of:
            absorbed, bridge = redone.profile_of[born], proposal.bridges[born]
            yield EvidenceRow(
                step.sequence, "merge", Rule.LINK_TABLE, bridge, proposal.base, profile, absorbed, step.at
            )
    for each in proposal.refusals:
        yield EvidenceRow(
            step.sequence,
            "quarantine" if each.rule is Rule.BOUND else "refusal",
            f"{each.rule.value}:{each.detail}",
            each.identifier,
            each.other,
            profile,
            None,
            step.at,
        )
