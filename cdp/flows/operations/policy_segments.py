"""Steps that count who would enter and leave each segment under another policy, as a refresh after applying it would."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from cdp.behavior.store.planned import planned_traits
from cdp.behavior.traits import TraitPlan, compile_traits
from cdp.consent.store.planned import PlannedProjection, planned_permitted
from cdp.consent.store.projection import bits_of
from cdp.flows.operations.policy_effects import EXAMPLES_MAX, Effect, Impact, examples_of
from cdp.flows.segments.adoption import ending_segments, outdated_segments, planned_catalogue
from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.policy.model import Policy
from cdp.query.language import ast
from cdp.query.language.catalogue import Catalogue, reachable
from cdp.query.language.explain import purposes_of
from cdp.query.postgres.compile import CompiledSegment, compile_segment, sql_text
from cdp.query.postgres.scope import STORED, SourceTables
from cdp.segments.store import definitions as definition_store
from cdp.segments.store import evaluation as evaluation_store
from cdp.segments.store import impact as impact_store

_NO_BIT: Final = 0
"""The mask of a purpose that is not in force: no event carries it."""


def segment_impacts(
    tx: Transaction, old: Policy, new: Policy, *, projections: Sequence[PlannedProjection], now: datetime
) -> Iterator[Impact]:
    """The people who would enter and leave each segment, and the memberships that would end with their segment.

    `projections` are those that the policy changes. A segment whose evaluation takes too long is reported as unknown. Raises the
    fault `segment_in_use`.
    """
    plan = _Plan(tx, old, new, projections=projections, now=now)
    stored: dict[str, str] = {segment.key: segment.purpose for segment in definition_store.all_segments(tx)}
    for key in ending_segments(tx, new):
        yield _ended(tx, key, stored[key], what="memberships of a segment that ends")
    outdated = outdated_segments(plan.after)
    for key in outdated:
        if key in stored:
            yield _ended(tx, key, stored[key], what="memberships of a segment that the policy does not permit")
    for key in sorted(plan.after.segments.keys() - set(outdated)):
        yield from plan.difference(key)


def _ended(tx: Transaction, key: str, purpose: str, *, what: str) -> Impact:
    found = impact_store.members_of(tx, key, EXAMPLES_MAX)
    return Impact(Effect.DELETE, what, key, found.number, examples_of(found.examples), purpose)


class _Plan:
    """Segments before and after a policy, over the permissions and computed traits of each."""

    def __init__(
        self, tx: Transaction, old: Policy, new: Policy, *, projections: Sequence[PlannedProjection], now: datetime
    ) -> None:
        self._tx = tx
        self._now = now
        self._changed_purposes = {row.purpose for row in projections}
        self._permitted = planned_permitted(projections)
        masks = bits_of(tx)
        self._masks = {**dict.fromkeys(new.purposes, _NO_BIT), **masks}
        self._traits = compile_traits(new, self._masks)
        self._classes = {name: old.events.class_of(name) for name in new.events.events}
        self._changed_traits = _changed_traits(compile_traits(old, masks), self._traits)
        self.before = definition_store.catalogue_of(tx, old)
        self.after = planned_catalogue(tx, new)
        self._outdated = set(outdated_segments(self.before))

    def difference(self, key: str) -> Iterator[Impact]:
        """Who would enter and leave one segment."""
        after = self._planned(key)
        before = self._stored(key)
        if before is not None and not self._is_affected(key, before):
            return
        purpose = after.purpose
        try:
            with self._tx.savepoint(), evaluation_store.time_limited(self._tx):
                entering, leaving = impact_store.difference(
                    self._tx,
                    key,
                    before=before,
                    after=after,
                    purposes=purposes_of(after.condition, purpose, self.after),
                    permitted=self._permitted,
                    examples_max=EXAMPLES_MAX,
                )
        except Fault as fault:
            if fault.code != "segment_too_slow":
                raise
            yield Impact(Effect.UNKNOWN, "segments whose evaluation takes too long", key, 1, (), purpose)
            return
        for effect, found in ((Effect.ENTER, entering), (Effect.LEAVE, leaving)):
            yield Impact(effect, "people", key, found.number, examples_of(found.examples), purpose)

    def _stored(self, key: str) -> CompiledSegment | None:
        """The evaluation in force; None for a segment that has none."""
        if key not in self.before.segments or key in self._outdated:
            return None
        return self._compiled(key, self.before, STORED)

    def _planned(self, key: str) -> CompiledSegment:
        """The evaluation over the permissions and computed traits that there would be."""
        tables = SourceTables(permitted=self._permitted, classes=self._classes, prefix="planned_")
        traits = _traits_used(key, self.after)
        if traits:
            planned = planned_traits(self._tx, self._traits, traits, permitted=self._permitted, now=self._now)
            tables = replace(tables, bucket=planned.buckets, landmark=planned.landmarks)
        return self._compiled(key, self.after, tables)

    def _compiled(self, key: str, catalogue: Catalogue, tables: SourceTables) -> CompiledSegment:
        definition = catalogue.segments[key]
        ids = definition_store.interned_ids_of(self._tx, definition.condition, catalogue)
        return compile_segment(
            definition.condition,
            catalogue,
            replace(ids, masks=self._masks),
            purpose=definition.purpose,
            now=self._now,
            tables=tables,
        )

    def _is_affected(self, key: str, before: CompiledSegment) -> bool:
        """Whether permissions, computed traits or the statement differ; otherwise nobody enters or leaves."""
        definition = self.after.segments[key]
        purposes = purposes_of(definition.condition, definition.purpose, self.after)
        if not self._changed_purposes.isdisjoint(purposes) or self._changed_traits & _traits_used(key, self.after):
            return True
        return sql_text(self._compiled(key, self.after, STORED).members) != sql_text(before.members)


def _changed_traits(old: TraitPlan, new: TraitPlan) -> frozenset[str]:
    """The computed traits that are new or defined otherwise."""
    return frozenset(
        key
        for key, trait in new.by_key.items()
        if key not in old.by_key or old.by_key[key].definition != trait.definition
    )


def _traits_used(key: str, catalogue: Catalogue) -> frozenset[str]:
    """The computed traits that a segment reads, directly or through others."""
    return frozenset(
        node.name
        for other in {key, *reachable(key, catalogue)}
        for node in ast.walk(catalogue.segments[other].condition)
        if isinstance(node, ast.Computed)
    )
