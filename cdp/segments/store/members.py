"""SQL of membership: who is in since when, what changed, and what a condition would give."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
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
    text,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import Executable
from sqlalchemy.sql.selectable import GenerativeSelect
from sqlalchemy.types import BigInteger

from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.query.language.catalogue import Catalogue
from cdp.query.language.printer import write
from cdp.query.postgres.compile import Compiled
from cdp.query.postgres.excluded import excluded_by_reason
from cdp.schema.consent import permitted
from cdp.schema.segments import membership, membership_change
from cdp.segments import disclose
from cdp.segments.model import FunnelStep, Member, MemberPage, Preview, Refresh, Segment, Size

LIMIT_MAX = 1_000
_TIME_MAX = "30s"
_CANCELED = "57014"


@contextmanager
def time_limited(tx: Transaction) -> Iterator[None]:
    """Evaluate what a marketer asks, but not for ever: the connections are those that messages come in by.

    Raises the fault `segment_too_slow` for a statement that takes longer than 30 seconds.
    """
    tx.execute_core(text("SELECT set_config('statement_timeout', :most, true)"), {"most": _TIME_MAX})
    try:
        yield
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _CANCELED:
            raise
        raise Fault(
            "segment_too_slow",
            "The question takes too long",
            f"It was given up after {_TIME_MAX}. Shorter windows, fewer steps and fewer conditions are answered sooner.",
            status=422,
        ) from error


def dry_run(tx: Transaction, compiled: Compiled) -> None:
    """Evaluate a condition once for everybody, to find out whether it can be: see `in_time`."""
    with time_limited(tx):
        tx.scalar(select(func.count()).select_from(compiled.members.subquery()))


def preview(tx: Transaction, compiled: Compiled, catalogue: Catalogue, *, purpose: str, now: datetime) -> Preview:
    """What a condition would give: sizes as they may be shown, part by part, and who is refused why."""
    row = tx.one_or_none(compiled.funnel)
    assert row is not None

    def shown(at: int) -> Size:
        return _shown(row[at], row[at + 1], catalogue)

    steps = tuple(
        FunnelStep(write(part), shown(2 + 4 * at), shown(4 + 4 * at)) for at, part in enumerate(compiled.parts)
    )
    whole, size = shown(0), steps[-1].together
    return Preview(size, whole, disclose.share(size, whole), steps, _refused_by_reason(tx, catalogue, purpose, now=now))


def sample(tx: Transaction, compiled: Compiled, limit: int) -> tuple[str, ...]:
    """Pseudonyms of a few who are in; ask only when the size may be shown."""
    return tuple(row[0] for row in tx.all(compiled.pseudonyms(min(limit, LIMIT_MAX))))


def refresh(
    tx: Transaction,
    segment: Segment,
    compiled: Compiled,
    *,
    purposes: Sequence[str],
    now: datetime,
    only: Sequence[int] | None = None,
) -> Refresh:
    """Bring the stored membership of a segment up to date, and note who entered and who left.

    `purposes` are those of the segment and of the segments it asks for. A membership from before the present
    permission ends first: it rested on what was withdrawn. Hold `store.lock` before. `only` is as compiled.
    """
    outlived = tx.scalar(_end_outlived(segment, purposes, now, only=only))
    gone, entered = tx.all(_difference(segment, compiled.members, now, only=only))[0]
    return Refresh(segment.key, entered, gone + outlived)


def changing(
    tx: Transaction,
    segment: Segment,
    compiled: Compiled,
    *,
    purposes: Sequence[str],
    only: Sequence[int] | None = None,
) -> list[int]:
    """The profiles, in order, that a refresh would let in or out or give another version; touches nothing.

    `only` is as compiled.
    """
    found = compiled.members.cte("found")
    mine = (membership.c.key == segment.key, *_among(only))
    is_found = exists().where(found.c.profile_id == membership.c.profile_id)
    is_renewed = membership.c.version != segment.version
    moving = select(membership.c.profile_id).where(*mine, ~is_found | is_renewed | _is_outlived(purposes))
    is_member = exists().where(*mine, membership.c.profile_id == found.c.profile_id)
    arriving = select(found.c.profile_id).where(~is_member)
    return sorted(row[0] for row in tx.all(union_all(moving, arriving)))


def members(
    tx: Transaction,
    segment: Segment,
    purposes: Sequence[str],
    *,
    size: Size,
    now: datetime,
    after: str | None,
    limit: int,
) -> MemberPage:
    """A page of members in order of reader pseudonym: those permitted at this instant, whatever is stored.

    Withheld where the size, of `size_of`, is not shown.
    """
    if size.shown is None:
        return MemberPage((), None, f"the segment has {size.text} members, so none is listed")
    limit = max(1, min(limit, LIMIT_MAX))
    standing = _standing(segment, purposes, now)
    page = standing if after is None else standing.where(permitted.c.reader_pseudonym > after)
    rows = tx.all(page.order_by(permitted.c.reader_pseudonym).limit(limit + 1))
    found = tuple(Member(pseudonym, since) for pseudonym, since in rows[:limit])
    return MemberPage(found, found[-1].reader_pseudonym if len(rows) > limit else None, None)


def size_of(tx: Transaction, segment: Segment, purposes: Sequence[str], *, catalogue: Catalogue, now: datetime) -> Size:
    """How many members there are, as it may be shown."""
    standing = _standing(segment, purposes, now).with_only_columns(membership.c.profile_id).subquery()
    row = tx.one_or_none(select(func.count(), func.bit_xor(standing.c.profile_id)))
    assert row is not None
    return _shown(row[0], row[1], catalogue)


def profile_under(tx: Transaction, purpose: str, reader_pseudonym: str) -> int | None:
    """The profile that a reader pseudonym of a purpose stands for; None when nobody permitted has it."""
    found: int | None = tx.scalar(
        select(permitted.c.profile_id).where(
            permitted.c.purpose == purpose, permitted.c.reader_pseudonym == reader_pseudonym
        )
    )
    return found


def verdicts(tx: Transaction, compiled: Compiled) -> dict[int, tuple[bool | None, ...]]:
    """The truth of each part for each permitted profile that the compilation was limited to."""
    return {row[0]: tuple(row[1:]) for row in tx.all(compiled.verdicts)}


def plan_of(tx: Transaction, statement: Select[Any]) -> str:
    """How PostgreSQL would run a statement, without running it."""
    return "\n".join(row[0] for row in tx.all(_Explain(statement)))


class _Explain(Executable, GenerativeSelect):
    """EXPLAIN of a statement; it only plans, and keeps to itself how many rows are expected: small groups among them."""

    inherit_cache = False

    def __init__(self, statement: Select[Any]) -> None:
        self.statement = statement


@compiles(_Explain)
def _explain(element: _Explain, compiler: SQLCompiler, **kw: Any) -> str:
    return f"EXPLAIN (COSTS OFF) {compiler.process(element.statement, **kw)}"


def _shown(count: int, cell: int | None, catalogue: Catalogue) -> Size:
    return disclose.size(
        count, cell, minimum=catalogue.minimum_size, round_to=catalogue.round_to, key=catalogue.disclosure_key
    )


def _refused_by_reason(tx: Transaction, catalogue: Catalogue, purpose: str, *, now: datetime) -> Mapping[str, Size]:
    """Silence has a reason too: nobody granted, or no unique identifier where one is needed."""
    found = catalogue.purpose(purpose)
    silent = "no_unique_identifier" if found is not None and found.needs_unique_identifier else "no_grant"
    rows = excluded_by_reason(tx, purpose, default_reason=silent, now=now)
    return {row.reason: _shown(row.profiles, row.cell, catalogue) for row in rows}


def _standing(segment: Segment, purposes: Sequence[str], now: datetime) -> Select[tuple[str, datetime]]:
    """Stored members who are permitted now for every purpose, and were not let in before that began."""
    statement = (
        select(permitted.c.reader_pseudonym, membership.c.since)
        .join_from(membership, permitted, permitted.c.profile_id == membership.c.profile_id)
        .where(membership.c.key == segment.key, permitted.c.purpose == segment.purpose, *_holds(permitted, now))
    )
    for other in sorted(set(purposes) - {segment.purpose}):
        also = permitted.alias()
        is_permitted = exists().where(
            also.c.profile_id == membership.c.profile_id, also.c.purpose == other, *_holds(also, now)
        )
        statement = statement.where(is_permitted)
    return statement


def _holds(table: Any, now: datetime) -> tuple[Any, ...]:
    ends = table.c.until.is_(None) | (table.c.until > now)
    return table.c.since <= now, ends, membership.c.since >= table.c.since


def _among(only: Sequence[int] | None) -> tuple[ColumnElement[bool], ...]:
    if only is None:
        return ()
    return (membership.c.profile_id == bindparam("concerned", list(only), type_=ARRAY(BigInteger), unique=True).any_(),)


def _is_outlived(purposes: Sequence[str]) -> ColumnElement[bool]:
    return exists().where(
        permitted.c.profile_id == membership.c.profile_id,
        permitted.c.purpose.in_(list(purposes)),
        permitted.c.since > membership.c.since,
    )


def _end_outlived(
    segment: Segment, purposes: Sequence[str], now: datetime, *, only: Sequence[int] | None
) -> Select[tuple[int]]:
    """One statement: let those out whose membership is older than the present permission, and note it."""
    old = delete(membership).where(membership.c.key == segment.key, _is_outlived(purposes), *_among(only))
    gone = old.returning(membership.c.profile_id, membership.c.version).cte("outlived")
    exits = select(gone.c.profile_id, literal(segment.key), gone.c.version, literal("exited"), literal(now))
    columns = ["profile_id", "key", "version", "change", "changed_at"]
    noted = insert(membership_change).from_select(columns, exits).returning(membership_change.c.change_id).cte("noted")
    return select(select(func.count()).select_from(gone).scalar_subquery()).add_cte(noted)


def _difference(
    segment: Segment, found_now: Select[tuple[int]], now: datetime, *, only: Sequence[int] | None
) -> Select[tuple[int, int]]:
    """One statement: evaluate, delete who left, insert who entered, renew the version of who stayed, note the changes."""
    found = found_now.cte("found")
    is_found = exists().where(found.c.profile_id == membership.c.profile_id)
    mine = membership.c.key == segment.key
    left = delete(membership).where(mine, ~is_found, *_among(only))
    gone = left.returning(membership.c.profile_id, membership.c.version).cte("gone")
    is_member = exists().where(mine, membership.c.profile_id == found.c.profile_id)
    arriving = select(found.c.profile_id, literal(segment.key), literal(segment.version), literal(now)).where(
        ~is_member
    )
    entered = (
        insert(membership)
        .from_select(["profile_id", "key", "version", "since"], arriving)
        .returning(membership.c.profile_id)
        .cte("entered")
    )
    renewed = (
        update(membership)
        .where(mine, is_found, membership.c.version != segment.version)
        .values(version=segment.version)
        .returning(membership.c.profile_id)
        .cte("renewed")
    )
    noted = _noted(segment, gone, entered, now=now)
    counts = select(
        select(func.count()).select_from(gone).scalar_subquery(),
        select(func.count()).select_from(entered).scalar_subquery(),
    )
    return counts.add_cte(renewed, noted)


def _noted(segment: Segment, gone: CTE, entered: CTE, *, now: datetime) -> CTE:
    exits = select(gone.c.profile_id, literal(segment.key), gone.c.version, literal("exited"), literal(now))
    entries = select(
        entered.c.profile_id, literal(segment.key), literal(segment.version), literal("entered"), literal(now)
    )
    columns = ["profile_id", "key", "version", "change", "changed_at"]
    changes = insert(membership_change).from_select(columns, union_all(exits, entries))
    return changes.returning(membership_change.c.change_id).cte("noted")
