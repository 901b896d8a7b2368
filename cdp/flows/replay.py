"""The replay: a database that was restored from a copy is told again who was erased and who said no.

It runs before any door opens. Doing it again changes nothing.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Final

from cdp.audit import store as audit_store
from cdp.consent import store as consent_store
from cdp.consent.model import Act, Authority, Record, RecordId
from cdp.flows.desk import Desk
from cdp.flows.erase import erase_salts
from cdp.flows.verdicts import refresh_verdicts
from cdp.identity import store as identity_store
from cdp.identity import store_seen
from cdp.kit.db import Transaction
from cdp.kit.ids import new_id
from cdp.rights import execute, store, store_replay
from cdp.rights.model import Scope, Verb
from cdp.rights.plan import erasure_plan
from cdp.rights.replay_file import Erased, No, Numbered

_LINES_MAX: Final = 500
_ROWS_MAX: Final = 10**12
_KEYS: Final = "vault.subject_key"


@dataclass(frozen=True, slots=True)
class Replayed:
    """How many lines were told again, and what of them the database did not hold any more."""

    lines: int
    erased: int
    noes: int
    suppressed: int


def is_behind(desk: Desk) -> bool:
    """Whether the database must be told again before it may speak; readiness is false until then."""
    with desk.database.transaction(read_only=True) as tx:
        return store_replay.is_behind(tx, desk.replay)


def replay(desk: Desk, now: datetime) -> Replayed:
    """Tell the database everything in the replay file that it has not seen, in order.

    Faults: `replay_file_foreign`, `replay_file_damaged`.
    """
    counts: Counter[str] = Counter()
    with desk.database.transaction() as tx:
        identity_store.lock_exclusive(tx)
        store_replay.open_replay(tx, desk.replay)
        waiting = desk.replay.lines_after(store_replay.followed(tx))
    while lines := list(islice(waiting, _LINES_MAX)):
        with desk.database.transaction() as tx:
            identity_store.lock_exclusive(tx)
            _tell(tx, desk, lines, counts, now)
            store_replay.follow(tx, lines[-1].number)
            identity_store.advance(tx, changed=True)
            audit_store.append(tx, {"kind": "replay.run", "actor": "operator", "tally": dict(counts)}, now)
        desk.vault.forget_all()
    return Replayed(counts["lines"], counts["erased"], counts["noes"], counts["suppressed"])


def _tell(tx: Transaction, desk: Desk, lines: Sequence[Numbered], counts: Counter[str], now: datetime) -> None:
    counts["lines"] += len(lines)
    erased = [each.line for each in lines if isinstance(each.line, Erased)]
    for line in erased:
        counts["erased"] += _erase(tx, desk, line)
        store.suppress(tx, line.pseudonyms, now, line.until)
    _repeat_noes(tx, desk, [each for each in lines if isinstance(each.line, No)], counts, now)


def _erase(tx: Transaction, desk: Desk, line: Erased) -> bool:
    """Erase by random ids; True when anything of the person was there again."""
    scope = Scope(0, frozenset(line.identifiers), frozenset(line.anchors), frozenset(line.profiles))
    rows = erase_salts(tx, scope)
    for step in erasure_plan():
        if step.verb is Verb.KEEP:
            continue
        if step.table == _KEYS:
            rows += desk.vault.shred(tx, sorted(scope.subjects))
        else:
            rows += execute.erase_chunk(tx, execute.next_chunk(tx, step, scope, 0, _ROWS_MAX), scope)
    return rows > 0


def _repeat_noes(tx: Transaction, desk: Desk, lines: Sequence[Numbered], counts: Counter[str], now: datetime) -> None:
    """Put noes back into the ledger where their identifier is known, and keep the others by pseudonym."""
    noes = [each.line for each in lines if isinstance(each.line, No)]
    known = {row.identifier_id for row in identity_store.sealed_of(tx, [each.identifier_id for each in noes])}
    here = [each for each in noes if each.identifier_id in known]
    told = {
        (each.identifier_id, each.purpose, each.act.value, each.authority.value, each.occurred_at)
        for each in consent_store.records_of(tx, known)
    }
    missing = [
        each
        for each in here
        if (each.identifier_id, each.purpose, each.act, each.authority, each.occurred_at) not in told
    ]
    consent_store.append(tx, [_record(desk, each, now) for each in missing])
    elsewhere = [(each.pseudonym, each.purpose) for each in noes if each.identifier_id not in known]
    counts["noes"] += len(missing)
    counts["suppressed"] += store.suppress_purposes(tx, elsewhere, now)
    profiles = store_seen.profiles_decided_by(tx, known)
    if missing and profiles:
        refresh_verdicts(tx, desk.vault, desk.policy, profiles, now)


def _record(desk: Desk, line: No, now: datetime) -> Record:
    return Record(
        record_id=RecordId(new_id()),
        identifier_id=line.identifier_id,
        purpose=line.purpose,
        act=Act(line.act),
        authority=Authority(line.authority),
        jurisdiction=line.jurisdiction,
        occurred_at=line.occurred_at,
        recorded_at=now,
        policy_fingerprint=bytes.fromhex(desk.policy.fingerprint),
        signal=line.signal or None,
    )
