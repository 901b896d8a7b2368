"""Use cases of the replay: a database restored from a backup applies erasures and opt-outs again.

It runs before the service accepts requests. Repeating it changes nothing.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, islice
from typing import Final

from cdp.audit.store import facts as fact_store
from cdp.consent.model import Act, Authority, Record, RecordId
from cdp.consent.store import records as record_store
from cdp.flows.consent.deferred import ERASED, REFUSED, end_deferred
from cdp.flows.consent.recording import append_acts
from cdp.flows.consent.verdicts import refresh_verdicts
from cdp.flows.context import Context
from cdp.flows.rights.erase import erase
from cdp.flows.rights.erasure_steps import erase_salts, log_suppressed, recompute_remaining
from cdp.identity.store import consent_subjects as consent_subject_store
from cdp.identity.store import generation as generation_store
from cdp.identity.store import identifiers as identifier_store
from cdp.identity.store import reach as reach_store
from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.kit.ids import new_id
from cdp.rights import execute
from cdp.rights.model import Scope, Status, Verb
from cdp.rights.plan import erasure_plan
from cdp.rights.replay_file import Erased, Lifted, Numbered, OptOut, ReplayFile
from cdp.rights.store import replay_position as replay_store
from cdp.rights.store import requests as request_store
from cdp.rights.store import suppressions as suppression_store

_LINES_MAX: Final = 500
_ROWS_MAX: Final = 10**12
_KEYS: Final = "vault.subject_key"
_Statement = tuple[int, str, str, str, str, str]
"""Identifier, purpose, act, authority, jurisdiction and signal."""
_OPEN: Final = frozenset({Status.VERIFIED, Status.IN_PROGRESS})


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """How many lines were applied, and what was missing: erasures, opt-outs, and suppressions added in place of opt-outs."""

    lines: int
    erased: int
    opt_outs: int
    suppressed: int


def is_behind(context: Context) -> bool:
    """Whether the replay file has lines that the database has not applied; the service is not ready until it has."""
    with context.database.transaction(read_only=True) as tx:
        return replay_store.is_behind(tx, context.replay)


def replay(context: Context, now: datetime) -> ReplayResult:
    """Apply every line of the replay file that the database has not applied, in order.

    An erasure whose request is still open is carried out in full first, with its notifications and its receipt: it was
    killed before its last commit, or the backup was taken while it ran. Faults: `replay_file_damaged`, those of a state store
    that is not the database's, and `replay_file_incomplete` for a backup that is older than every line the file still has.
    """
    counts: Counter[str] = Counter()
    with context.database.transaction() as tx:
        generation_store.lock_exclusive(tx)
        replay_store.bind_state(tx, context.replay)
        applied = replay_store.applied_number(tx)
        if 0 < applied < context.replay.forgotten():
            raise _incomplete(context.replay)
        interrupted = _interrupted_requests(tx, context.replay.lines_after(applied))
    for request_id in interrupted:
        try:
            erase(context, request_id)
        except Fault as fault:
            # The backup lacks a decision of the reviewer: the line erases by id, and the request is reviewed again.
            if fault.code not in ("request_waits", "nothing_reached"):
                raise
            continue
        counts["erased"] += 1
    pending = context.replay.lines_after(applied)
    while lines := list(islice(pending, _LINES_MAX)):
        with context.database.transaction() as tx:
            acted_at = generation_store.lock_exclusive(tx).now
            _apply_lines(tx, context, lines, counts=counts, now=acted_at)
            replay_store.advance_position(tx, context.replay, lines[-1].number)
            generation_store.advance(tx, changed=True)
            fact_store.append(tx, {"kind": "replay.run", "actor": "operator", "tally": dict(counts)}, now)
        context.vault.subject_keys.evict_all()
    with context.database.transaction() as tx:  # the last lines may have been compacted away
        generation_store.lock_exclusive(tx)
        replay_store.advance_position(tx, context.replay, context.replay.last_number())
    return ReplayResult(counts["lines"], counts["erased"], counts["noes"], counts["suppressed"])


def _incomplete(file: ReplayFile) -> Fault:
    return Fault(
        "replay_file_incomplete",
        "The backup is too old to be restored",
        f"{file.place} no longer has lines that this database has not applied: the keys of its epoch were destroyed, so that "
        "erasures made since could not be repeated. Restore a backup that was taken after the oldest epoch that still exists.",
        status=500,
    )


def _interrupted_requests(tx: Transaction, lines: Iterable[Numbered]) -> list[int]:
    """The requests of these lines that are verified or in progress."""
    named = dict.fromkeys(numbered.line.request_id for numbered in lines if isinstance(numbered.line, Erased))
    found = [request_store.read_request(tx, request_id) for request_id in named if request_id]
    return [request.request_id for request in found if request is not None and request.status in _OPEN]


def _apply_lines(
    tx: Transaction, context: Context, lines: Sequence[Numbered], *, counts: Counter[str], now: datetime
) -> None:
    """Apply lines in their order: what an act means for an identifier depends on whether it was erased or lifted before."""
    counts["lines"] += len(lines)
    for is_opt_out, group in groupby((numbered.line for numbered in lines), key=lambda line: isinstance(line, OptOut)):
        if is_opt_out:
            opt_outs = [line for line in group if isinstance(line, OptOut)]
            refusing = {line.pseudonym for line in opt_outs if Act(line.act).is_refusal}
            end_deferred(tx, context.vault, refusing, outcome=REFUSED)
            _restore_opt_outs(tx, context, opt_outs, counts=counts, now=now)
            continue
        for line in group:
            if isinstance(line, Erased):
                counts["erased"] += _erase(tx, context, line, now=now)
                suppression_store.suppress(tx, line.pseudonyms, now, until=line.until)
                end_deferred(tx, context.vault, line.pseudonyms, outcome=ERASED)
                log_suppressed(tx, len(line.pseudonyms), now)
            elif isinstance(line, Lifted):
                suppression_store.lift(tx, line.pseudonyms, line.lifted_at)


def _erase(tx: Transaction, context: Context, line: Erased, *, now: datetime) -> bool:
    """Erase by random ids; True if any data of the person had been restored.

    The verdicts and projected traits of profiles that remain without the person are recomputed.
    """
    owners = reach_store.profiles_of(tx, line.anchors, line.identifiers)
    rows = _erase_rows(
        tx, context, Scope(0, frozenset(line.identifiers), frozenset(line.anchors), frozenset(line.profiles))
    )
    remaining = owners - set(line.profiles)
    empty = reach_store.empty_among(tx, remaining)
    rows += _erase_rows(tx, context, Scope(0, frozenset(), frozenset(), empty)) if empty else 0
    recompute_remaining(tx, context, remaining - empty, now=now)
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
    tx: Transaction, context: Context, opt_outs: Sequence[OptOut], *, counts: Counter[str], now: datetime
) -> None:
    """Add opt-outs to the ledger where their identifier is known, and as suppressed pseudonyms where it is not."""
    stored = identifier_store.sealed_of(tx, [opt_out.identifier_id for opt_out in opt_outs])
    known = {row.identifier_id for row in stored}
    recorded: defaultdict[_Statement, list[Record]] = defaultdict(list)
    for record in record_store.records_of(tx, known):
        recorded[_statement_of(record)].append(record)
    missing = [
        opt_out
        for opt_out in opt_outs
        if opt_out.identifier_id in known
        and not any(_includes(record, opt_out) for record in recorded[_statement_of(opt_out)])
    ]
    append_acts(tx, [_record(context, opt_out, now) for opt_out in missing], actor="operator", now=now)
    counts["noes"] += len(missing)
    counts["suppressed"] += _keep_by_pseudonym(tx, opt_outs, known=known, now=now)
    profiles = consent_subject_store.profiles_decided_by(tx, known)
    if missing and profiles:
        refresh_verdicts(tx, context.policy, profile_ids=profiles, now=now)


def _statement_of(act: Record | OptOut) -> _Statement:
    return act.identifier_id, act.purpose, str(act.act), str(act.authority), act.jurisdiction, act.signal or ""


def _includes(record: Record, opt_out: OptOut) -> bool:
    """Whether the ledger has this act, or it was repeated no earlier."""
    return record.occurred_at <= opt_out.occurred_at <= max(record.occurred_at, record.last_at)


def _keep_by_pseudonym(tx: Transaction, opt_outs: Sequence[OptOut], *, known: Collection[int], now: datetime) -> int:
    """Keep what is known of identifiers that this database does not have; returns how many suppressions were added.

    A restriction that was not released since suppresses its identifier for every purpose, or for the one that it is about. Its
    end ends no refusal and no erasure.
    """
    latest = {
        (opt_out.pseudonym, opt_out.purpose): opt_out for opt_out in opt_outs if Act(opt_out.act).is_of_restriction
    }
    suppression_store.release(tx, [order for order, act in latest.items() if act.act == Act.RELEASE], now)
    restricted = [order for order, act in latest.items() if act.act == Act.RESTRICT and act.identifier_id not in known]
    refused = [
        (opt_out.pseudonym, opt_out.purpose)
        for opt_out in opt_outs
        if opt_out.identifier_id not in known and not Act(opt_out.act).is_of_restriction
    ]
    return suppression_store.restrict(tx, restricted, now) + suppression_store.suppress_purposes(tx, refused, now)


def _record(context: Context, opt_out: OptOut, now: datetime) -> Record:
    return Record(
        record_id=RecordId(new_id()),
        identifier_id=opt_out.identifier_id,
        purpose=opt_out.purpose,
        act=Act(opt_out.act),
        authority=Authority(opt_out.authority),
        jurisdiction=opt_out.jurisdiction,
        occurred_at=opt_out.occurred_at,
        recorded_at=now,
        policy_fingerprint=bytes.fromhex(context.policy.fingerprint),
        signal=opt_out.signal or None,
    )
