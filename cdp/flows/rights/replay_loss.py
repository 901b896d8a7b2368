"""Steps of accepting the loss of lines of the replay file: what it lacks, and what the database can write into it again."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from cdp.audit.store import facts as fact_store
from cdp.consent.store import records as record_store
from cdp.flows.consent.acting import replay_line
from cdp.flows.context import Context
from cdp.flows.identifiers import open_identifiers
from cdp.kit.canonical import instant_text
from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.rights.replay_file import Erased, Line, OptOut, ReplayFile
from cdp.rights.replay_loss import Lacking, RememberedActs, RememberedOptOut, lacking, summary
from cdp.rights.store import replay_position as replay_store
from cdp.rights.store import requests as request_store
from cdp.rights.store import suppressions as suppression_store
from cdp.vault import store as vault_store
from cdp.vault.pseudonym import SUPPRESSION


@dataclass(frozen=True, slots=True)
class LossReport:
    """What the replay file of a state store lacks of that which the database remembers.

    `fault` is the code of the fault because of which the store is refused, with its explanation; both are empty if it is not.
    `last_line` is the last one of the file, `applied_line` the last one that the database has applied.
    """

    place: str
    fault: str
    explanation: str
    last_line: int
    applied_line: int
    erasures: Lacking
    suppressions: Lacking
    opt_outs: Lacking

    @property
    def is_empty(self) -> bool:
        """Whether the store is not refused and lacks nothing."""
        return not self.fault and not (self.erasures.count or self.suppressions.count or self.opt_outs.count)


def assess_loss(tx: Transaction, file: ReplayFile, now: datetime) -> LossReport:
    """What the file lacks. Raises the fault `replay_file_damaged` for one that cannot be read."""
    fault = replay_store.check_state(tx, file)
    lost = _lacking(tx, file, now)
    return LossReport(
        place=file.place,
        fault="" if fault is None else fault.code,
        explanation="" if fault is None else fault.detail,
        last_line=file.last_number(),
        applied_line=replay_store.applied_number(tx),
        erasures=summary([one.closed_at for one in lost.erasures]),
        suppressions=summary([one.since for one in lost.suppressions]),
        opt_outs=summary([one.recorded_at for one in lost.opt_outs]),
    )


def log_loss(tx: Transaction, file: ReplayFile, now: datetime) -> LossReport:
    """Record in the log that the loss of what a state store lacks is accepted; it changes nothing else.

    The caller binds the database to the store in a later transaction: files change before a commit, and may do so only once
    the entry cannot be lost any more. Raises the fault `nothing_lost` if it lacks nothing.
    """
    report = assess_loss(tx, file, now)
    if report.is_empty:
        raise Fault(
            "nothing_lost",
            "There is no loss to accept",
            f"{file.place} belongs to this database and contains every erasure and opt-out that the database remembers. Nothing "
            "was changed.",
            status=409,
        )
    counts = {"erasures": report.erasures, "suppressions": report.suppressions, "opt_outs": report.opt_outs}
    fact = {
        "kind": "replay.loss_accepted",
        "actor": "operator",
        "reason": report.fault or "lines_lacking",
        "tally": {name: lost.count for name, lost in counts.items()},
    }
    instants = [at for lost in counts.values() for at in (lost.first_at, lost.last_at) if at is not None]
    if instants:
        fact |= {"lost_from": instant_text(min(instants)), "lost_to": instant_text(max(instants))}
    fact_store.append(tx, fact, now)
    return report


def lost_lines(tx: Transaction, context: Context, now: datetime) -> list[Line]:
    """What the file lacks, as far as the database knows it.

    The rows of erased people cannot be named any more: a backup that still contains them brings them back, suppressed,
    unless their request is open in it, which is carried out again.
    """
    lost = _lacking(tx, context.replay, now)
    return [
        *(Erased((), (), (), (), None, one.request_id) for one in lost.erasures),
        *(Erased((), (), (), (one.pseudonym,), one.until) for one in lost.suppressions),
        *_opt_outs(tx, context, lost.opt_outs),
    ]


def _lacking(tx: Transaction, file: ReplayFile, now: datetime) -> RememberedActs:
    records = record_store.records_of(tx, record_store.identifiers_with_opt_outs(tx))
    known = RememberedActs(
        request_store.closed_erasures(tx),
        suppression_store.suppressions_in_force(tx, now),
        [
            RememberedOptOut(replay_line(record, b""), record.recorded_at)
            for record in records
            if record.act.is_refusal or record.act.is_of_restriction
        ],
    )
    lines = (numbered.line for numbered in file.lines_after(0))
    return lacking(lines, known, restorable_since=vault_store.oldest_usable_epoch_at(tx))


def _opt_outs(tx: Transaction, context: Context, lost: Sequence[RememberedOptOut]) -> list[OptOut]:
    """The lines of these opt-outs; without those of identifiers whose keys are shredded, which nobody can name any more."""
    opened = open_identifiers(tx, context.vault, {one.line.identifier_id for one in lost})
    pseudonyms = {
        one.identifier_id: context.vault.hashes.pseudonym(SUPPRESSION, one.type, one.value)
        for one in opened.values()
        if one.value is not None
    }
    return [
        replace(one.line, pseudonym=pseudonyms[one.line.identifier_id])
        for one in lost
        if one.line.identifier_id in pseudonyms
    ]
