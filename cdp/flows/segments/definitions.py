"""Use cases of definitions: define, list, find and delete segments."""

from cdp.flows.context import Context
from cdp.flows.reader_limits import check_reads
from cdp.flows.segments.adoption import check_unused, end, save
from cdp.flows.segments.evaluation import compiled_condition, in_force, unknown_segment
from cdp.flows.segments.memberships import refresh
from cdp.flows.segments.schedule import plan
from cdp.flows.segments.texts import checked
from cdp.identity.store import generation as generation_store
from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.policy.model import STAFF
from cdp.query.language.catalogue import Catalogue
from cdp.query.language.explain import purposes_of
from cdp.segments.model import Draft, Segment
from cdp.segments.store import definitions as definition_store
from cdp.segments.store import evaluation as evaluation_store


def define(context: Context, draft: Draft, where: str, *, is_new: bool, actor: str) -> Segment:
    """Put a definition in force and evaluate its members.

    It is first evaluated without any lock, so that ingest does not wait for a slow condition.
    Marketers define segments for purposes that they read. Faults: `segment_rejected`, `segment_exists`,
    `unknown_segment`, `purpose_not_readable`, `segment_too_slow`.
    """
    now = context.clock.now()
    with context.database.transaction(read_only=True) as tx:
        catalogue = definition_store.catalogue_of(tx, context.policy)
        condition = checked(where, catalogue, draft.purpose, now=now, key=draft.key)
        if actor not in STAFF:
            check_reads(context, purposes_of(condition, draft.purpose, catalogue), actor=actor)
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
        if existing is not None:
            _check_access(tx, context, existing, actor=actor)
        catalogue = definition_store.catalogue_of(tx, context.policy)
        condition = checked(where, catalogue, draft.purpose, now=now, key=draft.key)
        save(tx, context.policy, draft, condition=condition, now=now, actor=actor)
    refresh(context, draft.key)
    plan(context, draft.key)
    return find(context, draft.key)


def list_segments(context: Context, *, actor: str = "operator") -> list[Segment]:
    """Every segment in force, by key; for reader roles, those of the purposes that they read."""
    with context.database.transaction(read_only=True) as tx:
        found = definition_store.all_segments(tx)
        if actor in STAFF:
            return found
        catalogue = definition_store.catalogue_of(tx, context.policy)
    readable = context.policy.purposes_read_by(actor)
    return [segment for segment in found if readable.issuperset(_purposes(segment, catalogue))]


def find(context: Context, key: str, *, actor: str = "operator") -> Segment:
    """One segment in force. Faults: `unknown_segment` (404), and `purpose_not_readable` (403) for reader roles."""
    with context.database.transaction(read_only=True) as tx:
        segment = in_force(tx, key)
        _check_access(tx, context, segment, actor=actor)
        return segment


def delete_segment(context: Context, key: str, *, actor: str) -> None:
    """End a segment: every membership ends as an exit; the definitions and changes of the past stay.

    Faults: `unknown_segment`, `segment_in_use` (409), and `purpose_not_readable` (403) for reader roles.
    """
    with context.database.transaction() as tx:
        generation_store.lock_exclusive(tx)
        _check_access(tx, context, in_force(tx, key), actor=actor)
        check_unused(definition_store.catalogue_of(tx, context.policy).segments, [key])
        end(tx, key, context.clock.now(), actor=actor)


def _check_access(tx: Transaction, context: Context, segment: Segment, *, actor: str) -> None:
    if actor not in STAFF:
        purposes = _purposes(segment, definition_store.catalogue_of(tx, context.policy))
        check_reads(context, purposes, actor=actor)


def _purposes(segment: Segment, catalogue: Catalogue) -> tuple[str, ...]:
    definition = catalogue.segments.get(segment.key)
    return (segment.purpose,) if definition is None else purposes_of(definition.condition, segment.purpose, catalogue)
