"""The journey of checking the log: its leaves against its signed head, its facts against its leaves, its copy, its past."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from cdp.audit import store, store_tree
from cdp.audit.checkpoint import Checkpoint, Malformed, parse_checkpoint, parse_note
from cdp.audit.sequencer import Log
from cdp.audit.store_tree import SignedHead
from cdp.audit.verify import Refused, verify_growth, verify_leaves, verify_note
from cdp.kit.db import Database, Transaction
from cdp.kit.errors import Fault
from cdp.vault.sign import is_signed

_CHUNK_ENTRIES: Final = 10_000


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked; `wrong` says what does not hold, None when all is well."""

    what: str
    wrong: str | None = None


@dataclass(frozen=True, slots=True)
class LogCheck:
    """The head that was checked, and everything that was checked about it."""

    origin: str
    size: int
    vkey: str
    findings: tuple[Finding, ...]

    @property
    def is_sound(self) -> bool:
        """Whether nothing was wrong."""
        return all(each.wrong is None for each in self.findings)


def check_log(database: Database, log: Log, remembered: str | None = None) -> LogCheck:
    """Check the whole log; `remembered` is a checkpoint that somebody kept. Raises the fault `log_empty`."""
    with database.transaction(read_only=True) as tx:
        head = store_tree.signed_head(tx)
        if head is None:
            raise Fault("log_empty", "The log has no checkpoint yet", "Nothing was signed so far.", status=404)
        checkpoint = verify_note(head.note, [log.vkey(_origin(head))], is_signed)
        if isinstance(checkpoint, Refused):
            return LogCheck(
                _origin(head), head.size, log.vkey(_origin(head)).text(), (_finding("signature", checkpoint),)
            )
        findings = [
            Finding("the signature under the checkpoint"),
            _finding(
                f"{checkpoint.size:,} leaves against the signed root", verify_leaves(_leaves(tx, head), checkpoint)
            ),
            _facts(tx),
            _copy(log, head),
        ]
        if remembered is not None:
            findings.append(_past(tx, log, head, checkpoint, remembered))
    return LogCheck(checkpoint.origin, checkpoint.size, log.vkey(checkpoint.origin).text(), tuple(findings))


def _origin(head: SignedHead) -> str:
    return head.note.partition("\n")[0]


def _finding(what: str, refused: Refused | None) -> Finding:
    return Finding(what, None if refused is None else refused.detail)


def _leaves(tx: Transaction, head: SignedHead) -> Iterator[bytes]:
    for begin in range(0, head.size, _CHUNK_ENTRIES):
        yield from store_tree.commitments(tx, head.tree_id, begin, min(begin + _CHUNK_ENTRIES, head.size))


def _facts(tx: Transaction) -> Finding:
    checked = store.check_facts(tx)
    what = f"{checked.checked:,} facts against their leaves"
    if not checked.altered:
        return Finding(what)
    return Finding(
        what, f"{len(checked.altered)} facts were altered after they were logged: entries {checked.altered[:10]}"
    )


def _copy(log: Log, head: SignedHead) -> Finding:
    what = "the copy outside the database"
    copied = log.mirror.head(head.tree_id)
    if copied is None or copied.checkpoint.size < head.size:
        return Finding(what, "It ends before the database does; the next signature brings it up to date.")
    entries = log.mirror.entries(head.tree_id, 0, copied.checkpoint.size)
    return _finding(what, verify_leaves(entries, copied.checkpoint))


def _past(tx: Transaction, log: Log, head: SignedHead, now: Checkpoint, remembered: str) -> Finding:
    what = "the remembered checkpoint"
    try:
        old = parse_checkpoint(parse_note(remembered).text)
    except Malformed as error:
        raise Fault(
            "checkpoint_malformed", "That is no checkpoint", f"It cannot be read: {error}.", status=422
        ) from None
    signed = verify_note(remembered, [log.vkey(old.origin)], is_signed)
    if isinstance(signed, Refused):
        return _finding(what, signed)
    if old.origin != now.origin or old.size > now.size:
        return _finding(what, verify_growth(old, now, ()))
    if old.size == 0:
        return Finding(what)
    proof = store_tree.consistency_proof(tx, head.tree_id, old.size, now.size)
    return _finding(what, verify_growth(old, now, proof))
