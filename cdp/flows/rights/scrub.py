"""Use cases of the scrub: after erasures, remove the residue of pseudonyms and keys from the disk."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from cdp.audit.store import facts as fact_store
from cdp.flows.consent.reader_sessions import end_reader_sessions
from cdp.flows.context import Context
from cdp.flows.rights.person import unknown_request
from cdp.flows.rights.receipts import log_receipt, receipt_of_entry
from cdp.kit.db import Database, Transaction
from cdp.kit.errors import Fault
from cdp.rights.model import Request
from cdp.rights.receipt import scrub_fact
from cdp.rights.store import requests as request_store
from cdp.rights.store import scrub as scrub_store

OLDER_SNAPSHOT: Final = "older_snapshot"


@dataclass(frozen=True, slots=True)
class ScrubResult:
    """The rewritten tables, and what could not be scrubbed, as names that docs/reference/erasure.md explains."""

    tables: tuple[str, ...]
    not_scrubbed: tuple[str, ...]


def scrub(database: Database, now: datetime) -> ScrubResult:
    """Rewrite the tables with pseudonyms and keys, switch the write-ahead log, and record it in the audit log.

    Erasures that were fulfilled before it receive their second receipt, unless the scrub is to be repeated. Takes seconds; each table is locked while it is rewritten. Run it within `scrub_within_days` of an erasure. The sessions of readers are ended first. If another
    session that started earlier is still running, rewritten tables may keep deleted rows: `older_snapshot` is reported.
    """
    done, left = [], []
    with database.transaction() as tx:
        transaction_id = scrub_store.current_transaction_id(tx)
        erasures = request_store.fulfilled_erasures(tx)
    with database.transaction() as tx:
        end_reader_sessions(tx)
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
        if not _is_to_be_repeated(left):
            _issue_receipts(tx, erasures, not_scrubbed=left, now=now)
    return ScrubResult(tuple(done), tuple(left))


def receipt(context: Context, request_id: int, *, actor: str = "operator", token: int | None = None) -> dict[str, Any]:
    """The second receipt of an erasure: whether a scrub overwrote its residue on disk, and what it could not reach.

    It names the leaf of the first receipt, and the read is recorded in the audit log. Faults: `unknown_request`,
    `not_scrubbed_yet`, and `receipt_not_ready` until the log has sequenced the entry.
    """
    with context.database.transaction() as tx:
        request = request_store.read_request(tx, request_id)
        if request is None:
            raise unknown_request()
        if request.scrub_entry_id is None:
            raise Fault(
                "not_scrubbed_yet",
                "There is no receipt of a scrub",
                "It is issued for a fulfilled erasure by the next scrub: at the latest after half of `scrub_within_days` "
                "of policies/retention.yaml, or at once with `cdp scrub`.",
                status=409,
            )
        log_receipt(tx, context, request, actor=actor, token=token)
        return receipt_of_entry(tx, context, request.scrub_entry_id)


def _issue_receipts(
    tx: Transaction, erasures: Sequence[Request], *, not_scrubbed: Sequence[str], now: datetime
) -> None:
    """The second receipts of these erasures; one that states the same residue as an earlier one is not issued again."""
    new = [request for request in erasures if request.scrub_entry_id is None or not not_scrubbed]
    leaves = fact_store.leaves(tx, [request.entry_id for request in new if request.entry_id is not None])
    facts = [
        scrub_fact(request, leaves[request.entry_id], not_scrubbed=not_scrubbed)
        for request in new
        if request.entry_id is not None
    ]
    entries = fact_store.append_many(tx, facts, now)
    stated = {int(request.request_id): entry_id for request, entry_id in zip(new, entries, strict=True)}
    scrub_store.note_scrub(tx, stated, is_scrubbed=not not_scrubbed)


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
