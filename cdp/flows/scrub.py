"""The scrub: after erasures, let no byte of a person's pseudonyms and keys remain on disk."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from cdp.audit import store as audit_store
from cdp.flows.desk import Desk
from cdp.kit.db import Database
from cdp.rights import store_scrub


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """The tables written anew, and what could not be scrubbed, in words that docs/reference/erasure.md explains."""

    tables: tuple[str, ...]
    not_scrubbed: tuple[str, ...]


def scrub(database: Database, now: datetime) -> Scrubbed:
    """Rewrite the tables that hold pseudonyms and keys, renew the write-ahead log, and note it in the audit log.

    Takes seconds; each table is locked while it is written. Run it within `scrub_within_days` of an erasure.
    """
    done, left = [], []
    for table in store_scrub.telling_tables():
        if store_scrub.rewrite(database, table):
            done.append(table)
        else:
            left.append(table)
    left += store_scrub.renew_log(database)
    with database.transaction() as tx:
        left += store_scrub.residue_kept(tx)
        fact = {
            "kind": "scrub.run",
            "actor": "operator",
            "is_scrubbed": not left,
            "not_scrubbed": left,
            "rows": len(done),
        }
        audit_store.append(tx, fact, now)
    return Scrubbed(tuple(done), tuple(left))


def is_scrub_due(desk: Desk, now: datetime) -> bool:
    """Whether half of the time within which an erasure must be scrubbed has passed since the oldest that is not."""
    with desk.database.transaction(read_only=True) as tx:
        last = audit_store.entries(tx, kinds=["scrub.run"], limit=1)
        since = last[0].recorded_at if last else None
        erasures = audit_store.entries(tx, kinds=["request.fulfilled"], since=since, limit=1_000)
    oldest = [each.recorded_at for each in erasures if each.body.get("request_kind") == "erasure"][-1:]
    return bool(oldest) and now - oldest[0] >= timedelta(days=desk.policy.retention.scrub_within_days) / 2
