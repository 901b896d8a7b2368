"""The replay: a database that was restored from a copy is told again who was erased and who said no.

It runs before any door opens. Doing it again changes nothing.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Final

from cdp.audit.store import facts as fact_store
from cdp.consent.model import Act, Authority, Record, RecordId
from cdp.consent.store import records as record_store
from cdp.flows.consent.verdicts import refresh_verdicts
from cdp.flows.context import Context
from cdp.flows.rights.erase import erase
from cdp.flows.rights.erasure_steps import erase_salts, recompute_remaining
from cdp.identity.store import consent_subjects as consent_subject_store
from cdp.identity.store import generation as generation_store
from cdp.identity.store import identifiers as identifier_store
from cdp.identity.store import reach as reach_store
from cdp.kit.db import Transaction
from cdp.kit.ids import new_id
from cdp.rights import execute
from cdp.rights.model import Scope, Status, Verb
from cdp.rights.plan import erasure_plan
from cdp.rights.replay_file import Erased, Numbered, OptOut
from cdp.rights.store import replay_position as replay_store
from cdp.rights.store import requests as request_store
from cdp.rights.store import suppressions as suppression_store

_LINES_MAX: Final = 500
_ROWS_MAX: Final = 10**12
_KEYS: Final = "vault.subject_key"
_UNENDED: Final = frozenset({Status.VERIFIED, Status.IN_PROGRESS})


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """How many lines were told again, and what of them the database did not hold any more."""

    lines: int
    erased: int
    opt_outs: int
    suppressed: int


def is_behind(context: Context) -> bool:
    """Whether the database must be told again before it may speak; readiness is false until then."""
    with context.database.transaction(read_only=True) as tx:
        return replay_store.is_behind(tx, context.replay)


def replay(context: Context, now: datetime) -> ReplayResult:
    """Tell the database everything in the replay file that it has not seen, in order.

    An erasure whose request waits here to be carried out goes the usual road first, with its notices and its receipt: it
    was killed before its last commit, or the copy was made while it ran. Faults: `replay_file_foreign`, `replay_file_damaged`.
    """
    counts: Counter[str] = Counter()
    with context.database.transaction() as tx:
        generation_store.lock_exclusive(tx)
        replay_store.bind_replay_file(tx, context.replay)
        seen = replay_store.applied_number(tx)
        interrupted = _interrupted_requests(tx, context.replay.lines_after(seen))
    for request_id in interrupted:
        erase(context, request_id, now)
        counts["erased"] += 1
    waiting = context.replay.lines_after(seen)
    while lines := list(islice(waiting, _LINES_MAX)):
        with context.database.transaction() as tx:
            generation_store.lock_exclusive(tx)
            _apply_lines(tx, context, lines, counts=counts, now=now)
            replay_store.advance_position(tx, lines[-1].number)
            generation_store.advance(tx, changed=True)
            fact_store.append(tx, {"kind": "replay.run", "actor": "operator", "tally": dict(counts)}, now)
        context.vault.subject_keys.evict_all()
    return ReplayResult(counts["lines"], counts["erased"], counts["noes"], counts["suppressed"])


def _interrupted_requests(tx: Transaction, lines: Iterable[Numbered]) -> list[int]:
    """The requests of these lines that are verified, or begun, and not at their end."""
    named = dict.fromkeys(each.line.request_id for each in lines if isinstance(each.line, Erased))
    found = [request_store.read_request(tx, each) for each in named if each]
    return [each.request_id for each in found if each is not None and each.status in _UNENDED]


def _apply_lines(
    tx: Transaction, context: Context, lines: Sequence[Numbered], *, counts: Counter[str], now: datetime
) -> None:
    counts["lines"] += len(lines)
    erased = [each.line for each in lines if isinstance(each.line, Erased)]
    for line in erased:
        counts["erased"] += _erase(tx, context, line, now=now)
        suppression_store.suppress(tx, line.pseudonyms, now, until=line.until)
    _restore_opt_outs(tx, context, [each for each in lines if isinstance(each.line, OptOut)], counts=counts, now=now)


def _erase(tx: Transaction, context: Context, line: Erased, *, now: datetime) -> bool:
    """Erase by random ids; True when anything of the person was there again.

    Profiles that go on without the person forget what they had of her: her traits in the projections, her verdicts.
    """
    homes = reach_store.profiles_of(tx, line.anchors, line.identifiers)
    rows = _erase_rows(
        tx, context, Scope(0, frozenset(line.identifiers), frozenset(line.anchors), frozenset(line.profiles))
    )
    left_over = homes - set(line.profiles)
    empty = reach_store.empty_among(tx, left_over)
    rows += _erase_rows(tx, context, Scope(0, frozenset(), frozenset(), empty)) if empty else 0
    recompute_remaining(tx, context, left_over - empty, now=now)
    return rows > 0


def _erase_rows(tx: Transaction, context: Context, scope: Scope) -> int:
    rows = erase_salts(tx, scope)
    for step in erasure_plan():
        if step.verb is Verb.KEEP:
            continue
        if step.table == _KEYS:
            rows += context.vault.subject_keys.shred(tx, sorted(scope.subjects))
        else:
            rows += execute.erase_chunk(tx, execute.next_chunk(tx, step, scope, size=0, rows_max=_ROWS_MAX), scope)
    return rows


def _restore_opt_outs(
    tx: Transaction, context: Context, lines: Sequence[Numbered], *, counts: Counter[str], now: datetime
) -> None:
    """Put noes back into the ledger where their identifier is known, and keep the others by pseudonym."""
    noes = [each.line for each in lines if isinstance(each.line, OptOut)]
    known = {row.identifier_id for row in identifier_store.sealed_of(tx, [each.identifier_id for each in noes])}
    here = [each for each in noes if each.identifier_id in known]
    told = {
        (each.identifier_id, each.purpose, each.act.value, each.authority.value, each.occurred_at)
        for each in record_store.records_of(tx, known)
    }
    missing = [
        each
        for each in here
        if (each.identifier_id, each.purpose, each.act, each.authority, each.occurred_at) not in told
    ]
    record_store.append(tx, [_record(context, each, now) for each in missing])
    elsewhere = [(each.pseudonym, each.purpose) for each in noes if each.identifier_id not in known]
    counts["noes"] += len(missing)
    counts["suppressed"] += suppression_store.suppress_purposes(tx, elsewhere, now)
    profiles = consent_subject_store.profiles_decided_by(tx, known)
    if missing and profiles:
        refresh_verdicts(tx, context.vault, context.policy, profile_ids=profiles, now=now)


def _record(context: Context, line: OptOut, now: datetime) -> Record:
    return Record(
        record_id=RecordId(new_id()),
        identifier_id=line.identifier_id,
        purpose=line.purpose,
        act=Act(line.act),
        authority=Authority(line.authority),
        jurisdiction=line.jurisdiction,
        occurred_at=line.occurred_at,
        recorded_at=now,
        policy_fingerprint=bytes.fromhex(context.policy.fingerprint),
        signal=line.signal or None,
    )
