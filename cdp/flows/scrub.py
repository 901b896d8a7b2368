"""The scrub: after erasures, let no byte of a person's pseudonyms and keys remain on disk."""

from dataclasses import dataclass
from datetime import datetime

from cdp.audit import store as audit_store
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
