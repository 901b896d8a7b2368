"""SQL of stored memberships: who is in since when, and what changed."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Select,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import BigInteger

from cdp.kit.db import Transaction
from cdp.policy.model import MARKETER
from cdp.query.postgres.compile import CompiledSegment
from cdp.schema.consent import permitted, projection
from cdp.schema.segments import membership, membership_change
from cdp.segments.model import Member, MemberPage, RefreshResult, Segment

LIMIT_MAX = 1_000
_CHANGE_COLUMNS = ["profile_id", "key", "version", "change", "changed_at"]


def refresh(
    tx: Transaction,
    segment: Segment,
    compiled: CompiledSegment,
    *,
    purposes: Sequence[str],
    now: datetime,
    only: Sequence[int] | None = None,
) -> RefreshResult:
    """Bring the stored membership of a segment up to date, and record who entered and who left.

    `purposes` are those of the segment and of the segments it refers to. A membership from before the present
    permission ends first, because it was based on a permission that was withdrawn. The caller holds `definitions.lock`.
    `only` is as compiled.
    """
    outdated = tx.scalar(_end_outdated(segment, purposes, now, only=only))
    ((exited, entered),) = tx.all(_difference(segment, compiled.members, now, only=only))
    return RefreshResult(segment.key, entered, exited + outdated)


def changing(
    tx: Transaction,
    segment: Segment,
    compiled: CompiledSegment,
    *,
    purposes: Sequence[str],
    only: Sequence[int] | None = None,
) -> list[int]:
    """The profiles, in order, whose stored membership or version a refresh would change; nothing is stored.

    `only` is as compiled.
    """
    found = compiled.members.cte("found")
    is_stored = (membership.c.key == segment.key, *_among(only))
    is_found = exists().where(found.c.profile_id == membership.c.profile_id)
    is_renewed = membership.c.version != segment.version
    changed = select(membership.c.profile_id).where(*is_stored, ~is_found | is_renewed | _is_outdated(purposes))
    is_member = exists().where(*is_stored, membership.c.profile_id == found.c.profile_id)
    added = select(found.c.profile_id).where(~is_member)
    return sorted(profile_id for (profile_id,) in tx.all(union_all(changed, added)))


def members(
    tx: Transaction,
    segment: Segment,
    purposes: Sequence[str],
    *,
    role: str = MARKETER,
    now: datetime,
    after: str | None,
    limit: int,
) -> MemberPage:
    """A page of members in order of the pseudonyms of a reader role: stored members who are permitted now."""
    limit = max(1, min(limit, LIMIT_MAX))
    current, pseudonym = _current_members(segment, purposes, now), permitted.c.reader_pseudonym
    if role != MARKETER:
        pseudonym = projection.c.reader_pseudonym
        current = current.with_only_columns(pseudonym, membership.c.since).join(
            projection,
            (projection.c.profile_id == permitted.c.profile_id)
            & (projection.c.purpose == permitted.c.purpose)
            & (projection.c.role == role),
        )
    page = current if after is None else current.where(pseudonym > after)
    rows = tx.all(page.order_by(pseudonym).limit(limit + 1))
    found = tuple(Member(pseudonym, since.astimezone(UTC).date()) for pseudonym, since in rows[:limit])
    return MemberPage(found, found[-1].reader_pseudonym if len(rows) > limit else None)


def size_of(tx: Transaction, segment: Segment, purposes: Sequence[str], *, now: datetime) -> int:
    """The number of members who are permitted now."""
    current = _current_members(segment, purposes, now).with_only_columns(membership.c.profile_id).subquery()
    size: int = tx.scalar(select(func.count()).select_from(current))
    return size


def is_member(tx: Transaction, segment: Segment, purposes: Sequence[str], *, profile_id: int, now: datetime) -> bool:
    """Whether a profile is a stored member who is permitted now."""
    current = _current_members(segment, purposes, now).with_only_columns(membership.c.profile_id)
    return bool(tx.all(current.where(membership.c.profile_id == profile_id)))


def profiles_under(
    tx: Transaction, purpose: str, reader_pseudonyms: Sequence[str], *, role: str = MARKETER
) -> list[int]:
    """The profiles behind these pseudonyms of a reader role and purpose; those that no permitted profile has are skipped."""
    if not reader_pseudonyms:
        return []
    ids = permitted if role == MARKETER else projection
    query = select(ids.c.profile_id).where(
        ids.c.purpose == purpose, ids.c.reader_pseudonym.in_(list(reader_pseudonyms))
    )
    if role != MARKETER:
        query = query.where(projection.c.role == role)
    return [profile_id for (profile_id,) in tx.all(query)]


def profile_under(tx: Transaction, purpose: str, reader_pseudonym: str, *, role: str = MARKETER) -> int | None:
    """The profile behind a pseudonym of a reader role and purpose; None when no permitted profile has it."""
    return next(iter(profiles_under(tx, purpose, [reader_pseudonym], role=role)), None)


def _current_members(segment: Segment, purposes: Sequence[str], now: datetime) -> Select[tuple[str, datetime]]:
    """Stored members who are permitted now for every purpose, and became members under the present permission."""
    statement = (
        select(permitted.c.reader_pseudonym, membership.c.since)
        .join_from(membership, permitted, permitted.c.profile_id == membership.c.profile_id)
        .where(membership.c.key == segment.key, permitted.c.purpose == segment.purpose, *_holds(permitted, now))
    )
    for other in sorted(set(purposes) - {segment.purpose}):
        other_permitted = permitted.alias()
        is_permitted = exists().where(
            other_permitted.c.profile_id == membership.c.profile_id,
            other_permitted.c.purpose == other,
            *_holds(other_permitted, now),
        )
        statement = statement.where(is_permitted)
    return statement


def _holds(table: Any, now: datetime) -> tuple[Any, ...]:
    ends = table.c.until.is_(None) | (table.c.until > now)
    return table.c.since <= now, ends, membership.c.since >= table.c.since


def _among(only: Sequence[int] | None) -> tuple[ColumnElement[bool], ...]:
    if only is None:
        return ()
    return (membership.c.profile_id == bindparam("only", list(only), type_=ARRAY(BigInteger), unique=True).any_(),)


def _is_outdated(purposes: Sequence[str]) -> ColumnElement[bool]:
    return exists().where(
        permitted.c.profile_id == membership.c.profile_id,
        permitted.c.purpose.in_(list(purposes)),
        permitted.c.since > membership.c.since,
    )


def _end_outdated(
    segment: Segment, purposes: Sequence[str], now: datetime, *, only: Sequence[int] | None
) -> Select[tuple[int]]:
    """One statement: end memberships that are older than the present permission, and record it."""
    old = delete(membership).where(membership.c.key == segment.key, _is_outdated(purposes), *_among(only))
    ended = old.returning(membership.c.profile_id, membership.c.version).cte("outdated")
    exits = select(ended.c.profile_id, literal(segment.key), ended.c.version, literal("exited"), literal(now))
    recorded = (
        insert(membership_change)
        .from_select(_CHANGE_COLUMNS, exits)
        .returning(membership_change.c.change_id)
        .cte("recorded")
    )
    return select(select(func.count()).select_from(ended).scalar_subquery()).add_cte(recorded)


def _difference(
    segment: Segment, found_now: Select[tuple[int]], now: datetime, *, only: Sequence[int] | None
) -> Select[tuple[int, int]]:
    """One statement: evaluate, delete who left, insert who entered, update the version of who stayed, record the changes."""
    found = found_now.cte("found")
    is_found = exists().where(found.c.profile_id == membership.c.profile_id)
    is_stored = membership.c.key == segment.key
    leaving = delete(membership).where(is_stored, ~is_found, *_among(only))
    exited = leaving.returning(membership.c.profile_id, membership.c.version).cte("exited")
    is_member = exists().where(is_stored, membership.c.profile_id == found.c.profile_id)
    added = select(found.c.profile_id, literal(segment.key), literal(segment.version), literal(now)).where(~is_member)
    entered = (
        insert(membership)
        .from_select(["profile_id", "key", "version", "since"], added)
        .returning(membership.c.profile_id)
        .cte("entered")
    )
    renewed = (
        update(membership)
        .where(is_stored, is_found, membership.c.version != segment.version)
        .values(version=segment.version)
        .returning(membership.c.profile_id)
        .cte("renewed")
    )
    recorded = _recorded(segment, exited, entered, now=now)
    counts = select(
        select(func.count()).select_from(exited).scalar_subquery(),
        select(func.count()).select_from(entered).scalar_subquery(),
    )
    return counts.add_cte(renewed, recorded)


def _recorded(segment: Segment, exited: CTE, entered: CTE, *, now: datetime) -> CTE:
    exits = select(exited.c.profile_id, literal(segment.key), exited.c.version, literal("exited"), literal(now))
    entries = select(
        entered.c.profile_id, literal(segment.key), literal(segment.version), literal("entered"), literal(now)
    )
    changes = insert(membership_change).from_select(_CHANGE_COLUMNS, union_all(exits, entries))
    return changes.returning(membership_change.c.change_id).cte("recorded")
