"""Use cases of definitions: define, list, find and delete segments."""

from cdp.audit.store import facts as fact_store
from cdp.flows.context import Context
from cdp.flows.segments.adoption import save
from cdp.flows.segments.evaluation import compiled_condition, in_force, unknown_segment
from cdp.flows.segments.memberships import refresh
from cdp.flows.segments.schedule import plan
from cdp.flows.segments.texts import checked
from cdp.identity.store import generation as generation_store
from cdp.kit.errors import Fault
from cdp.query.language import ast
from cdp.segments.model import Draft, Segment
from cdp.segments.store import definitions as definition_store
from cdp.segments.store import evaluation as evaluation_store


def define(context: Context, draft: Draft, where: str, *, is_new: bool, actor: str) -> Segment:
    """Put a definition in force and evaluate its members.

    It is first evaluated without any lock, so that ingest does not wait for a slow condition.
    Faults: `segment_rejected`, `segment_exists`, `unknown_segment`, `segment_too_slow`.
    """
    now = context.clock.now()
    with context.database.transaction(read_only=True) as tx:
        catalogue = definition_store.catalogue_of(tx, context.policy)
        condition = checked(where, catalogue, draft.purpose, now=now, key=draft.key)
        evaluation_store.dry_run(tx, compiled_condition(tx, condition, catalogue, purpose=draft.purpose, now=now))
    with context.database.transaction() as tx:
        generation_store.lock_exclusive(tx)
        existing = definition_store.find(tx, draft.key)
        if is_new and existing is not None:
            raise Fault(
                "segment_exists", "The key is already in use", "Change it with PUT, or choose another key.", status=409
            )
        if not is_new and existing is None:
            raise unknown_segment()
        catalogue = definition_store.catalogue_of(tx, context.policy)
        condition = checked(where, catalogue, draft.purpose, now=now, key=draft.key)
        save(tx, context.policy, draft, condition=condition, now=now, actor=actor)
    refresh(context, draft.key)
    plan(context, draft.key)
    return find(context, draft.key)


def list_segments(context: Context) -> list[Segment]:
    """Every segment in force, by key."""
    with context.database.transaction(read_only=True) as tx:
        return definition_store.all_segments(tx)


def find(context: Context, key: str) -> Segment:
    """One segment in force. Raises the fault `unknown_segment` (404)."""
    with context.database.transaction(read_only=True) as tx:
        return in_force(tx, key)


def delete_segment(context: Context, key: str, *, actor: str) -> None:
    """Delete a segment with its memberships. Faults: `unknown_segment`, `segment_in_use` (409)."""
    with context.database.transaction() as tx:
        generation_store.lock_exclusive(tx)
        in_force(tx, key)
        others = sorted(
            other
            for other, definition in definition_store.catalogue_of(tx, context.policy).segments.items()
            if any(isinstance(node, ast.InSegment) and node.key == key for node in ast.walk(definition.condition))
        )
        if others:
            detail = f"Change {', '.join(others)} first."
            raise Fault("segment_in_use", "Other segments refer to this one", detail, status=409)
        definition_store.delete_segment(tx, key)
        fact_store.append(tx, {"kind": "segment.deleted", "actor": actor, "segment": key}, context.clock.now())
