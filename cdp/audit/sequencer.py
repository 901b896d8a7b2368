"""The sequencer: assigns positions to committed leaves, extends the tree, and signs its head.

A call needs a constant number of statements and O(log n) hashes in addition to the leaves it sequences. The copy outside
the database is written first and serves as a write-ahead log: entries that only the copy contains are sequenced exactly
as they were signed. If copy and database contradict each other, a new tree with a new origin starts; there are never two
trees with one origin.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from cdp.audit.checkpoint import Checkpoint, CheckpointSigner, VerifierKey, sign_checkpoint
from cdp.audit.merkle import EMPTY_ROOT, leaf_hash
from cdp.audit.mirror import Mirror, MirroredHead
from cdp.audit.store import facts as fact_store
from cdp.audit.store import tree as tree_store
from cdp.audit.store.tree import SignedHead, Tree
from cdp.audit.tile import TileId, edge, edge_root, grow
from cdp.audit.verify import verify_leaves
from cdp.kit.db import Transaction
from cdp.kit.errors import Fault

_PLACED_MAX: Final = 10_000


class MirrorState(StrEnum):
    """The state of the database in relation to the copy of the log, before a call."""

    EQUAL = "equal"
    COPY_EXTENDED = "copy_extended"
    REBUILT = "rebuilt"
    NEW_ORIGIN = "new_origin"


@dataclass(frozen=True, slots=True)
class Log:
    """What the sequencer needs: the signer, the copy, and the name of new logs."""

    signer: CheckpointSigner
    mirror: Mirror
    name: str

    def vkey(self, origin: str) -> VerifierKey:
        """The key that verifies checkpoints of this origin."""
        return VerifierKey(origin, self.signer.public_key)


@dataclass(frozen=True, slots=True)
class Sequenced:
    """The head after a call, the number of leaves it sequenced, and whether more are waiting."""

    head: SignedHead
    placed: int
    is_more_waiting: bool
    mirror_state: MirrorState


def log_name(public_key: bytes) -> str:
    """A unique name for logs signed by this key; their origin is this name and the number of the tree."""
    return f"cdp.internal/audit/{hashlib.sha256(public_key).hexdigest()[:16]}"


def sequence(tx: Transaction, log: Log, now: datetime) -> Sequenced:
    """Sequence waiting leaves and sign the head of the log; if needed, start the log or repair it first.

    The transaction holds the lock of the sequencer until it ends. Faults: `audit_copy_failed`, `audit_copy_broken`,
    `audit_tree_broken`.
    """
    tree_store.lock_sequencer(tx)
    tree, state = _reconciled(tx, log, now)
    waiting = tree_store.waiting_leaves(tx, _PLACED_MAX)
    if waiting:
        tree_store.place_leaves(tx, tree.tree_id, tree.size, entry_ids=[leaf.entry_id for leaf in waiting])
        commitments = [leaf.commitment for leaf in waiting]
        checkpoint = _grown(tx, tree, commitments)
        note = sign_checkpoint(checkpoint, log.signer)
        log.mirror.append(tree.tree_id, tree.size, commitments, note=note)
        tree_store.store_head(tx, tree.tree_id, checkpoint, note=note, now=now)
    head = tree_store.signed_head(tx, tree.tree_id)
    if head is None:
        raise _broken("Its tree has no checkpoint.")
    return Sequenced(head, len(waiting), len(waiting) == _PLACED_MAX, state)


def _reconciled(tx: Transaction, log: Log, now: datetime) -> tuple[Tree, MirrorState]:
    """The tree to continue with, equal to its copy outside the database."""
    tree = tree_store.newest_tree(tx)
    newest_copied = log.mirror.newest_tree()
    if tree is None or newest_copied > tree.tree_id:
        tree_id = max(newest_copied, tree.tree_id if tree else 0) + 1
        return _begin(tx, log, tree_id, now=now) if tree is None else _replace(tx, log, tree, now=now, tree_id=tree_id)
    copied = log.mirror.head(tree.tree_id)
    copied_size = copied.checkpoint.size if copied else 0
    if copied_size < tree.size:
        return _with_copy_extended(tx, log, tree, copied=copied, now=now)
    if copied_size == tree.size and _is_same_head(tree_store.signed_head(tx, tree.tree_id), copied):
        return tree, MirrorState.EQUAL
    if copied and copied_size > tree.size and _begins_copy(tx, log.mirror, tree, copied=copied):
        return _rebuilt(tx, log, tree, copied=copied, now=now), MirrorState.REBUILT
    return _replace(tx, log, tree, now=now)


def _is_same_head(head: SignedHead | None, copied: MirroredHead | None) -> bool:
    return (head.root if head else None) == (copied.checkpoint.root if copied else None)


def _begin(tx: Transaction, log: Log, tree_id: int, *, now: datetime) -> tuple[Tree, MirrorState]:
    """Start a tree with a new origin; the start is recorded as an entry of it."""
    fact_store.append(tx, {"kind": "log.started", "tree": tree_id, "actor": "system"}, now)
    tree = tree_store.add_tree(tx, tree_id, f"{log.name}/{tree_id}", now=now)
    return tree, MirrorState.NEW_ORIGIN


def _replace(
    tx: Transaction, log: Log, former: Tree, *, now: datetime, tree_id: int | None = None
) -> tuple[Tree, MirrorState]:
    """Start a tree in place of one that the copy contradicts; the end of the former one is an entry of the new one."""
    head = tree_store.signed_head(tx, former.tree_id)
    begun = _begin(tx, log, tree_id or former.tree_id + 1, now=now)
    fact = {
        "kind": "log.replaced",
        "actor": "system",
        "tree": former.tree_id,
        "size": former.size,
        "root": (head.root if head else EMPTY_ROOT).hex(),
    }
    fact_store.append(tx, fact, now)
    return begun


def _with_copy_extended(
    tx: Transaction, log: Log, tree: Tree, *, copied: MirroredHead | None, now: datetime
) -> tuple[Tree, MirrorState]:
    """Extend a copy that was lost or restored to the state of the database, if it is a copy of this tree."""
    size = copied.checkpoint.size if copied else 0
    if copied and _root(tx, tree, size) != copied.checkpoint.root:
        return _replace(tx, log, tree, now=now)
    head = tree_store.signed_head(tx, tree.tree_id)
    if head is None:
        raise _broken("Its tree has leaves but no checkpoint.")
    log.mirror.append(tree.tree_id, size, tree_store.commitments(tx, tree.tree_id, size, end=tree.size), note=head.note)
    return tree, MirrorState.COPY_EXTENDED


def _begins_copy(tx: Transaction, mirror: Mirror, tree: Tree, *, copied: MirroredHead) -> bool:
    """Whether the copy is complete and the tree in the database is a prefix of it."""
    begun = Checkpoint(copied.checkpoint.origin, tree.size, _root(tx, tree, tree.size))
    return (
        copied.checkpoint.origin == tree.origin
        and verify_leaves(mirror.entries(tree.tree_id, 0, tree.size), begun) is None
        and verify_leaves(mirror.entries(tree.tree_id, 0, copied.checkpoint.size), copied.checkpoint) is None
    )


def _rebuilt(tx: Transaction, log: Log, tree: Tree, *, copied: MirroredHead, now: datetime) -> Tree:
    """The tree extended by the leaves that only the copy contained, under the checkpoint that was signed for them."""
    commitments = list(log.mirror.entries(tree.tree_id, tree.size, copied.checkpoint.size))
    tree_store.place_copies(tx, tree.tree_id, tree.size, commitments=commitments, now=now)
    checkpoint = _grown(tx, tree, commitments)
    if checkpoint.root != copied.checkpoint.root:
        raise _broken("Its tiles do not produce the signed root.")
    tree_store.store_head(tx, tree.tree_id, checkpoint, note=copied.note, now=now)
    fact_store.append(
        tx, {"kind": "log.restored", "tree": tree.tree_id, "size": checkpoint.size, "actor": "system"}, now
    )
    return Tree(tree.tree_id, tree.origin, checkpoint.size)


def _grown(tx: Transaction, tree: Tree, commitments: Sequence[bytes]) -> Checkpoint:
    """Store the tiles of a tree with these entries added, and return its new head."""
    before: Mapping[TileId, bytes] = tree_store.tiles(tx, tree.tree_id, edge(tree.size))
    if len(before) != len(edge(tree.size)):
        raise _broken("Tiles at its right edge are missing.")
    changed = grow(tree.size, before, [leaf_hash(commitment) for commitment in commitments])
    tree_store.store_tiles(tx, tree.tree_id, changed)
    size = tree.size + len(commitments)
    return Checkpoint(tree.origin, size, edge_root(size, {**before, **changed}))


def _root(tx: Transaction, tree: Tree, size: int) -> bytes:
    return tree_store.root_at(tx, tree.tree_id, size) if size else EMPTY_ROOT


def _broken(detail: str) -> Fault:
    return Fault(
        "audit_tree_broken",
        "The audit log in the database is damaged",
        f"{detail} Restore the database from a backup; the copy of the log then extends it to the last checkpoint.",
        status=500,
    )
