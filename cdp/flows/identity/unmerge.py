"""Change the mapping on request: unmerge two identifiers, undo that, or rebuild the mapping under changed rules.

All three replay recorded steps and write the resulting mapping, so that the outcome is what it would be if the link
had never been made, or if the rules had always been these.
"""

from collections.abc import Callable, Collection
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime

from cdp.audit.store import facts as fact_store
from cdp.flows.consent.clearing import clear_withdrawn_of
from cdp.flows.consent.reader_sessions import end_reader_sessions
from cdp.flows.context import Context
from cdp.flows.identity.mapping_replay import replay_around, replay_closure, write_run
from cdp.flows.identity.names import identifier_pair
from cdp.flows.identity.profile_view import ProfileView, view_profile
from cdp.flows.reads import Reading, log_read
from cdp.flows.segments import evaluation
from cdp.identity.model import EvidenceRow, Identifier, Rule
from cdp.identity.partition import groups_of
from cdp.identity.rules import Rules
from cdp.identity.store import closure as closure_store
from cdp.identity.store import evidence as evidence_store
from cdp.identity.store import generation as generation_store
from cdp.identity.store import mapping as mapping_store
from cdp.identity.store import profiles as profile_store
from cdp.identity.store import separations as separation_store
from cdp.kit.db import Transaction
from cdp.kit.errors import Fault


@dataclass(frozen=True, slots=True)
class Unmerged:
    """What an unmerge or its undo did or would do: the profiles before, those of the two identifiers now, and the rest.

    A side is None if no profile owns its identifier: no message named it without the other. `other_profiles` counts
    further profiles that change. `erased_events` were stored under a consent that no longer covers them.
    """

    is_dry_run: bool
    before: tuple[ProfileView, ...]
    keep: ProfileView | None
    sever: ProfileView | None
    other_profiles: int
    erased_events: int


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """The result of a rebuild: replayed steps, profiles before, those of them that changed or ended, and profiles now."""

    steps: int
    before: int
    changed: int
    profiles: int


def unmerge(
    context: Context,
    keep: Identifier,
    sever: Identifier,
    *,
    dry_run: bool,
    actor: str = "privacy",
    token: int | None = None,
) -> Unmerged:
    """Undo every link between two identifiers, and keep them apart from now on.

    Afterwards everything is as if no message had linked them. With `dry_run` the change is made and rolled back, and
    the result shows what each side would have. Faults: `unknown_profile` (404), `not_merged` (409).
    """

    def separate(tx: Transaction, one: int, other: int) -> None:
        owners = profile_store.owners_of(tx, [one, other])
        if one == other or owners.get(one) is None or owners.get(one) != owners.get(other):
            raise Fault(
                "not_merged",
                "These identifiers do not belong to one profile",
                "They already belong to different profiles. `cdp profile explain` shows what keeps them apart.",
                status=409,
            )
        separation_store.separate(tx, [(one, other)], context.clock.now())

    return _Change(context, "unmerge", separate, Reading(actor, token, "profile"), dry_run).apply(keep, sever)


def remerge(
    context: Context,
    keep: Identifier,
    severed: Identifier,
    *,
    dry_run: bool,
    actor: str = "privacy",
    token: int | None = None,
) -> Unmerged:
    """Undo an unmerge: recorded and future messages may link the two again.

    Faults: `unknown_profile` (404), `not_kept_apart` (409).
    """

    def allow(tx: Transaction, one: int, other: int) -> None:
        if not separation_store.allow_together(tx, one, other):
            raise Fault(
                "not_kept_apart",
                "Nothing keeps these identifiers apart",
                "There is no unmerge of these two identifiers that could be undone.",
                status=409,
            )

    return _Change(context, "allow_again", allow, Reading(actor, token, "profile"), dry_run).apply(keep, severed)


def rebuild(context: Context, *, actor: str = "operator") -> Rebuilt:
    """Apply the policy in force to the whole recorded sequence, in one transaction.

    The result equals that of ingesting the recorded steps again; a profile whose identifiers stay together keeps its id.
    """
    with context.database.transaction() as tx:
        lock = generation_store.lock_exclusive(tx)
        recorded = closure_store.recorded(tx)
        before = mapping_store.owners(tx)
        groups = groups_of(before)
        run = replay_closure(tx, Rules(context.policy.identifiers), recorded)
        touched = write_run(tx, context, run, closure=recorded, now=lock.now, before=before).touched
        generation_store.advance(tx, next_sequence=lock.next_sequence, changed=True)
        after = groups_of(mapping_store.owners(tx))
        changed = {profile_id for profile_id, identifiers in groups.items() if after.get(profile_id) != identifiers}
        fact = {
            "kind": "identity.rebuilt",
            "actor": actor,
            "profiles": len(changed),
            "policy": context.policy.fingerprint,
        }
        fact_store.append(tx, fact, lock.now)
        return Rebuilt(len(recorded.steps), len(groups), len(changed), len(touched))


@dataclass(frozen=True, slots=True)
class _Change:
    """An unmerge or its undo: `decide` changes what is stored about the pair, everything else follows from a replay."""

    context: Context
    kind: str
    decide: Callable[[Transaction, int, int], None]
    reading: Reading
    is_dry_run: bool

    def apply(self, keep: Identifier, sever: Identifier) -> Unmerged:
        """Apply the change in one transaction, and erase what a consent no longer covers in a second one.

        The erasure must follow the commit, so that older readers of the projection can be ended before it. Only the owner of
        the store rewrites the identity map, deletes events and ends sessions.
        """
        database = self.context.database.owner
        with database.transaction() as tx:
            lock = generation_store.lock_exclusive(tx)
            pair = identifier_pair(tx, self.context, keep, other=sever)
            shown = sorted(set(profile_store.owners_of(tx, pair).values()))
            before = tuple(view_profile(tx, self.context, profile_id) for profile_id in shown)
            log_read(tx, self.context, self.reading, count=len(shown), now=lock.now, profiles=shown)
            with tx.dry_run() if self.is_dry_run else nullcontext():
                self.decide(tx, *pair)
                changed = self._replay(tx, pair, lock)
                if self.is_dry_run:
                    return self._finish(tx, pair, before, changed=changed, now=lock.now)
        with database.transaction() as tx:
            now = generation_store.lock_exclusive(tx).now
            end_reader_sessions(tx)
            return self._finish(tx, pair, before, changed=changed, now=now)

    def _replay(self, tx: Transaction, pair: tuple[int, int], lock: generation_store.Lock) -> set[int]:
        """Write the mapping that the recorded steps result in now; returns the profiles whose identifiers changed."""
        now = lock.now
        written = replay_around(tx, self.context, pair, now=now)
        owners = profile_store.owners_of(tx, pair)
        kept, severed = owners.get(pair[0]), owners.get(pair[1])
        profile_id = kept or severed
        assert profile_id is not None
        kinds = (self.kind, "never") if self.kind == "unmerge" else (self.kind,)
        evidence_store.insert_evidence(
            tx,
            [EvidenceRow(lock.next_sequence, kind, Rule.NEVER, *pair, profile_id, severed, now) for kind in kinds],
            bytes.fromhex(self.context.policy.fingerprint),
        )
        generation_store.advance(tx, next_sequence=lock.next_sequence + 1, changed=True)
        fact = {
            "kind": "identity.unmerged",
            "actor": self.reading.actor,
            "profiles": len(written.touched),
            "rule": self.kind,
        }
        fact_store.append(tx, fact | {"is_dry_run": self.is_dry_run}, now)
        before, after = groups_of(written.before), groups_of(mapping_store.owners(tx, list(written.run.world.types)))
        return {
            profile_id for profile_id in before.keys() | after.keys() if before.get(profile_id) != after.get(profile_id)
        }

    def _finish(
        self,
        tx: Transaction,
        pair: tuple[int, int],
        before: tuple[ProfileView, ...],
        *,
        changed: Collection[int],
        now: datetime,
    ) -> Unmerged:
        cleared = clear_withdrawn_of(tx, self.context.policy, profile_ids=changed, now=now)
        evaluation.follow_profiles(tx, self.context, changed, now=now)
        owners = profile_store.owners_of(tx, pair)
        kept, severed = (owners.get(identifier_id) for identifier_id in pair)
        return Unmerged(
            is_dry_run=self.is_dry_run,
            before=before,
            keep=None if kept is None else view_profile(tx, self.context, kept),
            sever=None if severed is None else view_profile(tx, self.context, severed),
            other_profiles=len(mapping_store.owning(tx, changed) - {kept, severed}),
            erased_events=cleared.events_deleted,
        )
