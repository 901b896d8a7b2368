"""Use cases of the scrub: after erasures, remove the residue of pseudonyms and keys from the disk."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cdp.audit.store import facts as fact_store
from cdp.flows.context import Context
from cdp.kit.db import Database
from cdp.rights.store import scrub as scrub_store

OLDER_SNAPSHOT: Final = "older_snapshot"


@dataclass(frozen=True, slots=True)
class ScrubResult:
    """The rewritten tables, and what could not be scrubbed, as names that docs/reference/erasure.md explains."""

    tables: tuple[str, ...]
    not_scrubbed: tuple[str, ...]


def scrub(database: Database, now: datetime) -> ScrubResult:
    """Rewrite the tables with pseudonyms and keys, switch the write-ahead log, and record it in the audit log.

    Takes seconds; each table is locked while it is rewritten. Run it within `scrub_within_days` of an erasure. If a
    session that started earlier is still running, rewritten tables may keep deleted rows: `older_snapshot` is reported.
    """
    done, left = [], []
    with database.transaction() as tx:
        transaction_id = scrub_store.current_transaction_id(tx)
    with database.transaction() as tx:
        if scrub_store.has_older_snapshot(tx, transaction_id):
            left.append(OLDER_SNAPSHOT)
    for table in scrub_store.tables_to_rewrite():
        if scrub_store.rewrite_table(database, table):
            done.append(table)
        else:
            left.append(table)
    left += scrub_store.switch_wal(database)
    with database.transaction() as tx:
        left += scrub_store.unscrubbable_residue(tx)
        fact = {
            "kind": "scrub.run",
            "actor": "operator",
            "is_scrubbed": not left,
            "not_scrubbed": left,
            "rows": len(done),
        }
        fact_store.append(tx, fact, now)
    return ScrubResult(tuple(done), tuple(left))


def is_scrub_due(context: Context, now: datetime) -> bool:
    """Whether half of `scrub_within_days` has passed since the oldest erasure that is not scrubbed.

    A scrub that skipped a table, or rows that a session could still see, is repeated. What this server can never scrub
    does not count.
    """
    with context.database.transaction(read_only=True) as tx:
        runs = fact_store.entries(tx, kinds=["scrub.run"], limit=1_000)
        since = next(
            (run.recorded_at for run in runs if not _is_to_be_repeated(run.body.get("not_scrubbed", ()))), None
        )
        erasures = fact_store.entries(tx, kinds=["request.fulfilled"], since=since, limit=1_000)
    oldest = [entry.recorded_at for entry in erasures if entry.body.get("request_kind") == "erasure"][-1:]
    return bool(oldest) and now - oldest[0] >= timedelta(days=context.policy.retention.scrub_within_days) / 2


def _is_to_be_repeated(not_scrubbed: Sequence[str]) -> bool:
    return any(name == OLDER_SNAPSHOT or "." in name for name in not_scrubbed)
