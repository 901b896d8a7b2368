"""Step of the check of the log: every act in the ledger of consent is the one that the log committed to."""

import base64
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final

from cdp.audit.store import facts as fact_store
from cdp.consent.store import records as record_store
from cdp.consent.store.records import CommittedRow, Place
from cdp.flows.audit.findings import LogFinding
from cdp.kit.db import Transaction
from cdp.kit.wording import counted

_CHUNK_ROWS: Final = 5_000
_START: Final = Place(0, datetime(1, 1, 1, tzinfo=UTC))
_COMMITMENT_BYTES: Final = 32


def check_acts(tx: Transaction) -> LogFinding:
    """Compare acts and repetitions with the entries of their instants.

    Acts whose entry has expired, and those recorded before acts had salts, cannot be compared and are not counted.
    """
    compared = wrong = 0
    for read in (record_store.committed_acts, record_store.committed_repetitions):
        for rows in _chunks(tx, read):
            listed = fact_store.acts_at(tx, [row.recorded_at for row in rows])
            comparable = [row for row in rows if row.recorded_at in listed]
            compared += len(comparable)
            logged = {instant: _split(acts) for instant, acts in listed.items()}
            wrong += sum(row.commitment not in logged[row.recorded_at] for row in comparable)
            wrong += _without_entry(tx, [row.recorded_at for row in rows if row.recorded_at not in listed])
    what = f"{counted(compared, 'consent act')} against their entries"
    return LogFinding(what, f"Not what was logged: {counted(wrong, 'act')}." if wrong else None)


def _without_entry(tx: Transaction, instants: list[datetime]) -> int:
    """How many of these acts lack an entry although entries of their time still exist."""
    earliest = fact_store.earliest_act_entry(tx) if instants else None
    return sum(earliest is None or instant > earliest for instant in instants)


def _chunks(
    tx: Transaction, read: Callable[[Transaction, Place, int], list[CommittedRow]]
) -> Iterator[list[CommittedRow]]:
    place = _START
    while rows := read(tx, place, _CHUNK_ROWS):
        yield rows
        place = rows[-1].place


def _split(listed: list[str]) -> set[bytes]:
    found = set()
    for text in listed:
        joined = base64.b64decode(text)
        found |= {joined[at : at + _COMMITMENT_BYTES] for at in range(0, len(joined), _COMMITMENT_BYTES)}
    return found
