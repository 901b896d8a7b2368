"""Whom a batch met: what it read or wrote about people, for the process to recognize them by the next time."""

from collections.abc import Sequence

from cdp.accounting.model import State
from cdp.consent.store.verdicts import has_stored_row
from cdp.flows.ingest.judge import BatchJudge, ConsentInputs
from cdp.flows.ingest.load import BatchState
from cdp.flows.ingest.profile_cache import CacheEntry
from cdp.flows.ingest.stages import Work
from cdp.identity.model import Identifier
from cdp.identity.resolve import Run
from cdp.identity.store.anchors import StoredAnchor
from cdp.identity.store.profiles import StoredProfile


def cacheable(
    scene: BatchState, known: ConsentInputs, run: Run, *, judge: BatchJudge, works: Sequence[Work]
) -> list[CacheEntry]:
    """People with a settled anchor: those about whom nothing was at stake, and those whom the batch made.

    To be called when all is written and no closure was replayed.
    """
    found: dict[tuple[Identifier, ...], CacheEntry] = {}
    for work in works:
        if work.cached is None and work.identifiers not in found and _is_named_plainly(work):
            met = _made(scene, run, judge, work=work) if work.is_novel else _read(scene, known, work)
            if met is not None:
                found[work.identifiers] = met
    return list(found.values())


def _is_named_plainly(work: Work) -> bool:
    """Whether no suppression, and nobody else whom it may name, has a say about who it is."""
    if work.has_other_names or len(work.carried) != len(work.identifiers):
        return False
    return not any(each.refused_purposes for each in work.carried)


def _read(scene: BatchState, known: ConsentInputs, work: Work) -> CacheEntry | None:
    anchor = scene.anchors[work.digest]
    profile = scene.profiles[anchor.profile_id]
    verdicts = known.standing.get(profile.origin)
    return None if verdicts is None else CacheEntry(work, anchor, profile, verdicts)


def _made(scene: BatchState, run: Run, judge: BatchJudge, *, work: Work) -> CacheEntry | None:
    """Somebody new whose messages land on the profile made for them, whatever comes with time."""
    born = run.world.placement.get(work.anchor_id)
    if work.outcome is None or work.outcome.state is not State.STORED or work.digest in scene.anchors or born is None:
        return None
    born = run.world.current(born)
    if born not in judge.people or scene.profile_of[born] in scene.profiles or run.world.groups[born].is_quarantined:
        return None
    profile_id = scene.profile_of[born]
    source = int(work.message.source.source_id)
    decided = judge.people[born].verdicts
    verdicts = {key: each for key, each in decided.items() if has_stored_row(each)}
    anchor = StoredAnchor(work.anchor_id, profile_id, True, frozenset({source}))
    return CacheEntry(work, anchor, StoredProfile(profile_id, born, 0, False), verdicts)
