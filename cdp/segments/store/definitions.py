"""SQL of definitions: segments in force, their immutable versions, and the ids that a compilation needs."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import func, insert, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert as upsert

from cdp.kit.db import Row, Transaction
from cdp.policy.model import Policy
from cdp.query.language import ast
from cdp.query.language.catalogue import Catalogue, Definition
from cdp.query.language.jsonform import from_json, to_json
from cdp.query.language.printer import write
from cdp.query.language.rejection import Rejection
from cdp.query.postgres.compile import InternedIds, names_in
from cdp.schema.behavior import term
from cdp.schema.consent import purpose as purposes
from cdp.schema.segments import segment, segment_version
from cdp.segments.model import Draft, Segment, SegmentKey, SegmentVersion
from cdp.segments.store import due as due_store

_IS_IN_FORCE = (segment_version.c.key == segment.c.key) & (segment_version.c.version == segment.c.version)

_IN_FORCE = (
    select(
        segment.c.key,
        segment.c.name,
        segment.c.purpose,
        segment.c.owner,
        segment.c.text,
        segment_version.c.where_text,
        segment.c.version,
        segment.c.created_at,
        segment.c.changed_at,
        segment.c.refreshed_at,
    )
    .join(segment_version, _IS_IN_FORCE)
    .where(segment.c.ended_at.is_(None))
    .order_by(segment.c.key)
)


def catalogue_of(tx: Transaction, policy: Policy) -> Catalogue:
    """What a text can refer to now: the policy and the segments in force."""
    rows = tx.all(
        select(segment.c.key, segment.c.purpose, segment_version.c.where_json)
        .join(segment_version, _IS_IN_FORCE)
        .where(segment.c.ended_at.is_(None))
    )
    conditions = {key: (purpose, from_json(form)) for key, purpose, form in rows}
    return Catalogue(
        policy,
        {
            key: Definition(purpose, condition)
            for key, (purpose, condition) in conditions.items()
            if not isinstance(condition, Rejection)
        },
    )


def interned_ids_of(tx: Transaction, condition: ast.Condition, catalogue: Catalogue) -> InternedIds:
    """The ids of the purposes and strings that a condition uses; two statements."""
    masks = {purpose: 1 << bit for purpose, bit in tx.all(select(purposes.c.purpose, purposes.c.bit))}
    names = sorted(names_in(condition, catalogue))
    wanted = select(term.c.vocabulary, term.c.term, term.c.term_id).where(
        tuple_(term.c.vocabulary, term.c.term).in_(names)
    )
    rows = tx.all(wanted) if names else []
    return InternedIds(masks, {(vocabulary, text): number for vocabulary, text, number in rows})


def all_segments(tx: Transaction) -> list[Segment]:
    """Every segment in force, by key."""
    return [_segment(row) for row in tx.all(_IN_FORCE)]


def find(tx: Transaction, key: str) -> Segment | None:
    """A segment in force; None when there is none."""
    row = tx.one_or_none(_IN_FORCE.where(segment.c.key == key))
    return None if row is None else _segment(row)


def versions(tx: Transaction, key: str) -> list[SegmentVersion]:
    """Every version of a segment, newest first."""
    columns = segment_version.c
    rows = tx.all(
        select(
            columns.key,
            columns.version,
            columns.purpose,
            columns.where_text,
            columns.policy_fingerprint,
            columns.author,
            columns.created_at,
        )
        .where(columns.key == key)
        .order_by(columns.version.desc())
    )
    return [SegmentVersion(*row) for row in rows]


def save(tx: Transaction, draft: Draft, condition: ast.Condition, *, fingerprint: str, now: datetime) -> Segment:
    """Put a checked definition in force.

    The text is stored in its canonical form. Another purpose or condition makes a new version; a new name or description
    alone does not. `draft.author` becomes the owner of a new segment, and of one that had ended.
    """
    where = write(condition)
    existing = find(tx, draft.key)
    is_new_version = existing is None or (existing.where, existing.purpose) != (where, draft.purpose)
    latest = tx.scalar(select(func.max(segment_version.c.version)).where(segment_version.c.key == draft.key)) or 0
    version = latest + is_new_version
    statement = upsert(segment).values(
        key=draft.key,
        name=draft.name,
        purpose=draft.purpose,
        owner=draft.author,
        text=draft.text,
        version=version,
        created_at=now,
        changed_at=now,
    )
    changed: dict[str, Any] = {
        name: statement.excluded[name] for name in ("name", "purpose", "text", "version", "changed_at")
    }
    if existing is None:
        begun = {name: statement.excluded[name] for name in ("owner", "created_at")}
        changed |= begun | {"ended_at": None, "refreshed_at": None}
    tx.execute_core(statement.on_conflict_do_update(index_elements=[segment.c.key], set_=changed))
    if is_new_version:
        values = {
            "key": draft.key,
            "version": version,
            "purpose": draft.purpose,
            "where_text": where,
            "where_json": to_json(condition),
            "policy_fingerprint": fingerprint,
            "author": draft.author,
            "created_at": now,
        }
        tx.execute_core(insert(segment_version).values(values))
        due_store.request_plan(tx)
    saved = find(tx, draft.key)
    assert saved is not None
    return saved


def end_segment(tx: Transaction, key: str, now: datetime) -> bool:
    """End a segment, which has no members anymore; its versions stay. False when there is none in force."""
    ended = update(segment).where(segment.c.key == key, segment.c.ended_at.is_(None)).values(ended_at=now)
    return tx.execute_core(ended) > 0


def lock(tx: Transaction, key: str) -> bool:
    """Lock a segment for a refresh, so that two refreshes do not overlap; False when there is no such segment."""
    return (
        tx.scalar(select(segment.c.key).where(segment.c.key == key, segment.c.ended_at.is_(None)).with_for_update())
        is not None
    )


def mark_refreshed(tx: Transaction, keys: Iterable[str], now: datetime) -> None:
    """Record when memberships were last evaluated."""
    tx.execute_core(update(segment).where(segment.c.key.in_(list(keys))).values(refreshed_at=now))


def _segment(row: Row) -> Segment:
    key, *rest = row
    return Segment(SegmentKey(key), *rest)
