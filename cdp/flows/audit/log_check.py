"""Use case of checking the log: leaves, tiles, signed heads, facts, the copy, and a remembered checkpoint."""

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
from cdp.flows.audit.act_check import check_acts
from cdp.flows.audit.findings import LogFinding
from cdp.kit.db import Database, Transaction
from cdp.kit.errors import Fault
from cdp.kit.wording import counted
from cdp.vault.sign import is_signed

_CHUNK_ENTRIES: Final = 10_000
_NAMED_MAX: Final = 10


@dataclass(frozen=True, slots=True)
class LogCheck:
    """The head of the checked log, and everything that was checked."""

    origin: str
    size: int
    vkey: str
    findings: tuple[LogFinding, ...]

    @property
    def is_sound(self) -> bool:
        """Whether nothing was wrong."""
        return all(finding.wrong is None for finding in self.findings)


def check_log(database: Database, log: Log, remembered: str | None = None) -> LogCheck:
    """Check the whole log; `remembered` is a checkpoint kept from earlier.

    Faults: `log_empty`, `checkpoint_malformed`.
    """
    with database.transaction(read_only=True) as tx:
        head = tree_store.signed_head(tx)
        if head is None:
            raise Fault("log_empty", "The log has no checkpoint yet", "Nothing has been signed yet.", status=404)
        findings: list[LogFinding] = []
        for tree in tree_check_store.trees(tx):
            findings += _check_tree(tx, log, tree, is_newest=tree.tree_id == head.tree_id)
        findings.append(_check_facts(tx))
        findings.append(check_acts(tx))
        if remembered is not None:
            findings.append(_check_remembered(tx, log, remembered))
    origin = _origin(head)
    return LogCheck(origin, head.size, log.vkey(origin).text(), tuple(findings))


def _check_tree(tx: Transaction, log: Log, tree: Tree, *, is_newest: bool) -> list[LogFinding]:
    """The findings about one tree; former trees are checked like the current one."""
    heads = tree_check_store.heads(tx, tree.tree_id)
    name = "" if is_newest else f" of the former log {tree.origin}"
    signed = LogFinding(f"{counted(len(heads), 'signed checkpoint')}{name}", _unsigned(log, tree, heads))
    if not heads:
        return [signed]
    found = tree_check_store.check_tree(tx, tree.tree_id, heads)
    last = heads[-1]
    return [
        signed,
        LogFinding(
            f"{counted(last.size, 'leaf', 'leaves')}{name} against the signed roots", _wrong_leaves(tree, found, last)
        ),
        LogFinding(f"the tiles{name} served to clients", _wrong_tiles(found)),
        LogFinding(
            f"the copy{name} outside the database", _or_fault_detail(lambda: _wrong_copy(tx, log, tree, head=last))
        ),
    ]


def _unsigned(log: Log, tree: Tree, heads: list[SignedHead]) -> str | None:
    """What is wrong with the signatures of the heads of a tree, or with the data stored with them."""
    if not heads:
        return "There are none."
    for head in heads:
        checkpoint = verify_note(head.note, [log.vkey(tree.origin)], is_signed)
        if isinstance(checkpoint, Unverified):
            return f"At {counted(head.size, 'leaf', 'leaves')}: {checkpoint.detail}"
        if (checkpoint.origin, checkpoint.size, checkpoint.root) != (tree.origin, head.size, head.root):
            return f"At {counted(head.size, 'leaf', 'leaves')}: the data stored with the note differs from what was signed."
    return None


def _wrong_leaves(tree: Tree, found: TreeCheck, last: SignedHead) -> str | None:
    if found.leaves != last.size:
        return f"Leaves are missing: only the first {found.leaves:,} are present."
    if found.wrong_roots:
        sizes = ", ".join(f"{size:,}" for size in found.wrong_roots[:_NAMED_MAX])
        return f"The leaves do not produce the root that was signed at these sizes: {sizes}."
    if found.beyond or tree.size != last.size:
        return (
            f"Not covered by a checkpoint: {counted(found.beyond, 'leaf', 'leaves')}; or the size of the tree differs."
        )
    return None


def _wrong_tiles(found: TreeCheck) -> str | None:
    if found.wrong_tiles:
        named = ", ".join(f"{tile_id.level}/{tile_id.number}" for tile_id in found.wrong_tiles[:_NAMED_MAX])
        return f"{len(found.wrong_tiles)} are missing or differ from what the leaves produce: {named}."
    if found.tiles_left_over:
        return f"{found.tiles_left_over} belong to no leaf."
    return None


def _wrong_copy(tx: Transaction, log: Log, tree: Tree, *, head: SignedHead) -> str | None:
    copied = log.mirror.head(tree.tree_id)
    if copied is None or copied.checkpoint.size < head.size:
        return "It is behind the database; the next signature updates it."
    signed = verify_note(copied.note, [log.vkey(tree.origin)], is_signed)
    if isinstance(signed, Unverified):
        return signed.detail
    entries = log.mirror.entries(tree.tree_id, 0, signed.size)
    refused = verify_leaves(entries, signed)
    if refused is not None:
        return refused.detail
    both = zip_longest(_leaves(tx, head), log.mirror.entries(tree.tree_id, 0, head.size))
    return None if all(stored == kept for stored, kept in both) else "Its leaves differ from those in the database."


def _or_fault_detail(check: Callable[[], str | None]) -> str | None:
    """The result of a check, or the detail of its fault, such as an unreadable copy."""
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
    what = f"{counted(checked.checked, 'fact')} against their leaves"
    if not checked.altered:
        return LogFinding(what)
    named = ", ".join(map(str, checked.altered[:_NAMED_MAX]))
    return LogFinding(
        what, f"Altered after they were logged: {counted(len(checked.altered), 'fact')}, entries {named}."
    )


def _check_remembered(tx: Transaction, log: Log, remembered: str) -> LogFinding:
    """Whether the remembered checkpoint is a prefix of its log, which may be a former one."""
    what = "the remembered checkpoint"
    try:
        old = parse_checkpoint(parse_note(remembered).text)
    except Malformed as error:
        raise Fault("checkpoint_malformed", "Invalid checkpoint", f"It cannot be read: {error}.", status=422) from None
    signed = verify_note(remembered, [log.vkey(old.origin)], is_signed)
    if isinstance(signed, Unverified):
        return LogFinding(what, signed.detail)
    tree = next((tree for tree in tree_check_store.trees(tx) if tree.origin == old.origin), None)
    head = tree_store.signed_head(tx) if tree is None else tree_store.signed_head(tx, tree.tree_id)
    if head is None:
        return LogFinding(what, "The store has no checkpoint of its log.")
    now = Checkpoint(_origin(head), head.size, head.root)
    is_comparable = old.origin == now.origin and 0 < old.size <= now.size
    try:
        proof = tree_store.consistency_proof(tx, head.tree_id, old.size, size=now.size) if is_comparable else []
    except KeyError:
        return LogFinding(what, "Tiles are missing, so it cannot be proven to be a prefix of this log.")
    refused = verify_growth(old, now, proof)
    return LogFinding(what, None if refused is None else refused.detail)
