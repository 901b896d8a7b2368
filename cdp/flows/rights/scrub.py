"""The scrub: after erasures, let no byte of a person's pseudonyms and keys remain on disk."""

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
    """The tables written anew, and what could not be scrubbed, in words that docs/reference/erasure.md explains."""

    tables: tuple[str, ...]
    not_scrubbed: tuple[str, ...]


def scrub(database: Database, now: datetime) -> ScrubResult:
    """Rewrite the tables that hold pseudonyms and keys, renew the write-ahead log, and note it in the audit log.

    Takes seconds; each table is locked while it is written. Run it within `scrub_within_days` of an erasure. A session
    that began before and goes on may keep what was deleted in the rewritten tables: then `older_snapshot` is told.
    """
    done, left = [], []
    with database.transaction() as tx:
        begun = scrub_store.current_transaction_id(tx)
    with database.transaction() as tx:
        if scrub_store.has_older_snapshot(tx, begun):
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
    """Whether half of the time within which an erasure must be scrubbed has passed since the oldest that is not.

    A scrub that had to leave a table, or rows that somebody still saw, is repeated; what this server never allows is not
    waited for.
    """
    with context.database.transaction(read_only=True) as tx:
        runs = fact_store.entries(tx, kinds=["scrub.run"], limit=1_000)
        since = next(
            (each.recorded_at for each in runs if not _is_to_be_repeated(each.body.get("not_scrubbed", ()))), None
        )
        erasures = fact_store.entries(tx, kinds=["request.fulfilled"], since=since, limit=1_000)
    oldest = [each.recorded_at for each in erasures if each.body.get("request_kind") == "erasure"][-1:]
    return bool(oldest) and now - oldest[0] >= timedelta(days=context.policy.retention.scrub_within_days) / 2


def _is_to_be_repeated(words: Sequence[str]) -> bool:
    return any(word == OLDER_SNAPSHOT or "." in word for word in words)
