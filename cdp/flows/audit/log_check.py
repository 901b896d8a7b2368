"""The journey of checking the log: leaves, tiles and signed heads of every tree, facts against leaves, the copy, the past."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from cdp.audit.checkpoint import Checkpoint, Malformed, parse_checkpoint, parse_note
from cdp.audit.sequencer import Log
from cdp.audit.store import facts as fact_store
from cdp.audit.store import tree as tree_store
from cdp.audit.store import tree_check as tree_check_store
from cdp.audit.store.tree import SignedHead, Tree
from cdp.audit.store.tree_check import TreeCheck
from cdp.audit.verify import Unverified, verify_growth, verify_leaves, verify_note
from cdp.kit.db import Database, Transaction
from cdp.kit.errors import Fault
from cdp.vault.sign import is_signed

_CHUNK_ENTRIES: Final = 10_000
_NAMED_MAX: Final = 10


@dataclass(frozen=True, slots=True)
class LogFinding:
    """One thing that was checked; `wrong` says what does not hold, None when all is well."""

    what: str
    wrong: str | None = None


@dataclass(frozen=True, slots=True)
class LogCheck:
    """The head that was checked, and everything that was checked about it."""

    origin: str
    size: int
    vkey: str
    findings: tuple[LogFinding, ...]

    @property
    def is_sound(self) -> bool:
        """Whether nothing was wrong."""
        return all(each.wrong is None for each in self.findings)


def check_log(database: Database, log: Log, remembered: str | None = None) -> LogCheck:
    """Check the whole log; `remembered` is a checkpoint that somebody kept. Raises the fault `log_empty`."""
    with database.transaction(read_only=True) as tx:
        head = tree_store.signed_head(tx)
        if head is None:
            raise Fault("log_empty", "The log has no checkpoint yet", "Nothing was signed so far.", status=404)
        findings: list[LogFinding] = []
        for tree in tree_check_store.trees(tx):
            findings += _check_tree(tx, log, tree, is_newest=tree.tree_id == head.tree_id)
        findings.append(_check_facts(tx))
        if remembered is not None:
            findings.append(_check_remembered(tx, log, remembered))
    origin = _origin(head)
    return LogCheck(origin, head.size, log.vkey(origin).text(), tuple(findings))


def _check_tree(tx: Transaction, log: Log, tree: Tree, *, is_newest: bool) -> list[LogFinding]:
    """What is to be said of one tree; those that do not grow any more are checked as the one that does."""
    heads = tree_check_store.heads(tx, tree.tree_id)
    name = "" if is_newest else f" of the former log {tree.origin}"
    signed = LogFinding(f"{len(heads):,} signed checkpoints{name}", _unsigned(log, tree, heads))
    if not heads:
        return [signed]
    found = tree_check_store.check_tree(tx, tree.tree_id, heads)
    last = heads[-1]
    return [
        signed,
        LogFinding(f"{last.size:,} leaves{name} against the signed roots", _wrong_leaves(tree, found, last)),
        LogFinding(f"the tiles{name} that others are served", _wrong_tiles(found)),
        LogFinding(
            f"the copy{name} outside the database", _or_fault_detail(lambda: _wrong_copy(tx, log, tree, head=last))
        ),
    ]


def _unsigned(log: Log, tree: Tree, heads: list[SignedHead]) -> str | None:
    """What is wrong with the signatures of a tree's heads, or with what is stored beside them."""
    if not heads:
        return "It has none."
    for head in heads:
        checkpoint = verify_note(head.note, [log.vkey(tree.origin)], is_signed)
        if isinstance(checkpoint, Unverified):
            return f"At {head.size:,} leaves: {checkpoint.detail}"
        if (checkpoint.origin, checkpoint.size, checkpoint.root) != (tree.origin, head.size, head.root):
            return f"At {head.size:,} leaves: what is stored beside the note is not what was signed."
    return None


def _wrong_leaves(tree: Tree, found: TreeCheck, last: SignedHead) -> str | None:
    if found.leaves != last.size:
        return f"Leaves were taken away: only {found.leaves:,} are there in a row."
    if found.wrong_roots:
        sizes = ", ".join(f"{size:,}" for size in found.wrong_roots[:_NAMED_MAX])
        return f"The leaves do not give the root that was signed at {sizes} leaves."
    if found.beyond or tree.size != last.size:
        return f"{found.beyond:,} leaves have a place that no checkpoint covers, or the tree says another size."
    return None


def _wrong_tiles(found: TreeCheck) -> str | None:
    if found.wrong_tiles:
        named = ", ".join(f"{each.level}/{each.number}" for each in found.wrong_tiles[:_NAMED_MAX])
        return f"{len(found.wrong_tiles)} are missing or not what the leaves give: {named}."
    if found.tiles_left_over:
        return f"{found.tiles_left_over} belong to no leaf."
    return None


def _wrong_copy(tx: Transaction, log: Log, tree: Tree, *, head: SignedHead) -> str | None:
    copied = log.mirror.head(tree.tree_id)
    if copied is None or copied.checkpoint.size < head.size:
        return "It ends before the database does; the next signature brings it up to date."
    signed = verify_note(copied.note, [log.vkey(tree.origin)], is_signed)
    if isinstance(signed, Unverified):
        return signed.detail
    entries = log.mirror.entries(tree.tree_id, 0, signed.size)
    refused = verify_leaves(entries, signed)
    if refused is not None:
        return refused.detail
    both = zip_longest(_leaves(tx, head), log.mirror.entries(tree.tree_id, 0, head.size))
    return None if all(stored == kept for stored, kept in both) else "It holds other leaves than the database."


def _or_fault_detail(check: Callable[[], str | None]) -> str | None:
    """What a check found; a copy that cannot even be read is wrong as well."""
    try:
        return check()
    except Fault as fault:
        return fault.detail


def _origin(head: SignedHead) -> str:
    return head.note.partition("\n")[0]


def _leaves(tx: Transaction, head: SignedHead) -> Iterator[bytes]:
    for begin in range(0, head.size, _CHUNK_ENTRIES):
        yield from tree_store.commitments(tx, head.tree_id, begin, end=min(begin + _CHUNK_ENTRIES, head.size))


def _check_facts(tx: Transaction) -> LogFinding:
    checked = fact_store.check_facts(tx)
    what = f"{checked.checked:,} facts against their leaves"
    if not checked.altered:
        return LogFinding(what)
    named = ", ".join(map(str, checked.altered[:_NAMED_MAX]))
    return LogFinding(what, f"{len(checked.altered)} facts were altered after they were logged: entries {named}.")


def _check_remembered(tx: Transaction, log: Log, remembered: str) -> LogFinding:
    """Whether the log begins with the remembered checkpoint; one of a former log is held against that log."""
    what = "the remembered checkpoint"
    try:
        old = parse_checkpoint(parse_note(remembered).text)
    except Malformed as error:
        raise Fault(
            "checkpoint_malformed", "That is no checkpoint", f"It cannot be read: {error}.", status=422
        ) from None
    signed = verify_note(remembered, [log.vkey(old.origin)], is_signed)
    if isinstance(signed, Unverified):
        return LogFinding(what, signed.detail)
    tree = next((each for each in tree_check_store.trees(tx) if each.origin == old.origin), None)
    head = tree_store.signed_head(tx) if tree is None else tree_store.signed_head(tx, tree.tree_id)
    if head is None:
        return LogFinding(what, "Its log has no checkpoint here.")
    now = Checkpoint(_origin(head), head.size, head.root)
    is_comparable = old.origin == now.origin and 0 < old.size <= now.size
    try:
        proof = tree_store.consistency_proof(tx, head.tree_id, old.size, size=now.size) if is_comparable else []
    except KeyError:
        return LogFinding(what, "Tiles are missing, so that nothing proves it to be the beginning of this log.")
    refused = verify_growth(old, now, proof)
    return LogFinding(what, None if refused is None else refused.detail)
