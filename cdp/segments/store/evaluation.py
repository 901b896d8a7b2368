"""SQL that evaluates a condition without storing anything: previews, samples, verdicts, and the plan of a statement."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Select, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import Executable
from sqlalchemy.sql.selectable import GenerativeSelect

from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.query.language.catalogue import Catalogue
from cdp.query.language.printer import write
from cdp.query.postgres.compile import CompiledSegment
from cdp.query.postgres.excluded import excluded_by_reason
from cdp.segments.model import FunnelStep, Preview

SAMPLE_MAX: Final = 1_000
_TIME_MAX = "30s"
_CANCELED = "57014"


@contextmanager
def time_limited(tx: Transaction) -> Iterator[None]:
    """Limit the time of statements, because ingest uses the same connections.

    Raises the fault `segment_too_slow` for a statement that takes longer than 30 seconds.
    """
    tx.scalar(select(func.set_config("statement_timeout", _TIME_MAX, True)))
    try:
        yield
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _CANCELED:
            raise
        raise Fault(
            "segment_too_slow",
            "The evaluation takes too long",
            f"It was canceled after {_TIME_MAX}. Use shorter windows, fewer steps or fewer conditions.",
            status=422,
        ) from error


def dry_run(tx: Transaction, compiled: CompiledSegment) -> None:
    """Evaluate a condition once for all profiles, to find out whether it takes too long. Raises `segment_too_slow`."""
    with time_limited(tx):
        tx.scalar(select(func.count()).select_from(compiled.members.subquery()))


def preview(
    tx: Transaction, compiled: CompiledSegment, catalogue: Catalogue, *, purpose: str, now: datetime
) -> Preview:
    """The sizes of a condition, in total and by part, and the numbers of refused profiles by reason."""
    row = tx.one_or_none(compiled.funnel)
    assert row is not None
    permitted, *counts = row
    steps = tuple(
        FunnelStep(write(part), alone, together)
        for part, alone, together in zip(compiled.parts, counts[::2], counts[1::2], strict=True)
    )
    refused = _refused_by_reason(tx, catalogue, purpose, now=now)
    return Preview(steps[-1].together, permitted, steps, refused)


def sample(tx: Transaction, compiled: CompiledSegment, limit: int) -> tuple[str, ...]:
    """Pseudonyms of the first members, at most `limit`."""
    return tuple(pseudonym for (pseudonym,) in tx.all(compiled.pseudonyms(min(limit, SAMPLE_MAX))))


def verdicts(tx: Transaction, compiled: CompiledSegment) -> dict[int, tuple[bool | None, ...]]:
    """The truth of each part for each permitted profile that the compilation was limited to."""
    return {profile_id: tuple(truths) for profile_id, *truths in tx.all(compiled.verdicts)}


def instants(tx: Transaction, statement: Select[tuple[int, datetime]]) -> dict[int, datetime]:
    """The instants that a statement of `cdp.query.postgres.due` finds, by profile."""
    return {profile_id: at for profile_id, at in tx.all(statement)}  # noqa: C416 - rows are not pairs to the type checker


def plan_of(tx: Transaction, statement: Select[Any]) -> str:
    """How PostgreSQL would run a statement, without running it."""
    return "\n".join(line for (line,) in tx.all(_Explain(statement)))


class _Explain(Executable, GenerativeSelect):
    """EXPLAIN of a statement: it plans only, and hides the expected numbers of rows, which may be those of small groups."""

    inherit_cache = False

    def __init__(self, statement: Select[Any]) -> None:
        self.statement = statement


@compiles(_Explain)
def _explain(element: _Explain, compiler: SQLCompiler, **kw: Any) -> str:
    return f"EXPLAIN (COSTS OFF) {compiler.process(element.statement, **kw)}"


def _refused_by_reason(tx: Transaction, catalogue: Catalogue, purpose: str, *, now: datetime) -> Mapping[str, int]:
    """Numbers of the refused by reason. Without a consent record it is a missing grant, or a missing unique identifier."""
    declared = catalogue.purpose(purpose)
    needs_identifier = declared is not None and declared.needs_unique_identifier
    default_reason = "no_unique_identifier" if needs_identifier else "no_grant"
    rows = excluded_by_reason(tx, purpose, default_reason=default_reason, now=now)
    return {row.reason: row.profiles for row in rows}
