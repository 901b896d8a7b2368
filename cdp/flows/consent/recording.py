"""Step that adds acts to the ledger, with the entry of the audit log that commits to them.

It is the only caller of the ledger's `append`, so that no act is recorded without its entry.
"""

import base64
from collections import Counter
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final

from cdp.audit.store import facts as fact_store
from cdp.consent.model import Record
from cdp.consent.store import records as record_store
from cdp.kit.db import Transaction

_EVERY: Final = "every_purpose"
"""How the log names what acts about every purpose are about."""


def append_acts(
    tx: Transaction, added: Collection[Record], repeated: Collection[Record] = (), *, actor: str, now: datetime
) -> None:
    """Add acts and repetitions of refusals to the ledger, with one entry of the log for all of them."""
    commitments = record_store.append(tx, added) + record_store.append_repetitions(tx, repeated, now=now)
    if commitments:
        tally = Counter(f"{record.purpose or _EVERY}.{record.act.value}" for record in (*added, *repeated))
        fact = {"kind": "consent.batch", "actor": actor, "count": len(commitments), "tally": dict(tally)}
        fact_store.append(tx, fact | {"acts": _listed(commitments)}, now)


def append_act(tx: Transaction, record: Record, fact: Mapping[str, Any], *, now: datetime) -> None:
    """Add one act to the ledger, with the entry that describes it."""
    fact_store.append(tx, {**fact, "acts": _listed(record_store.append(tx, [record]))}, now)


def _listed(commitments: Collection[bytes]) -> str:
    return base64.b64encode(b"".join(commitments)).decode()
