"""SQL of the check of a whole tree: its leaves, tiles and all signed heads are compared in one pass."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import func, select

from cdp.audit.merkle import HASH_BYTES, leaf_hash
from cdp.audit.store.tree import SignedHead, Tree, commitments, tiles
from cdp.audit.tile import TILE_WIDTH, TileId, edge, edge_root, grow
from cdp.kit.db import Transaction
from cdp.schema.audit import checkpoint, entry, tile, tree

_CHUNK_LEAVES: Final = 10_000
_FULL_BYTES: Final = TILE_WIDTH * HASH_BYTES


@dataclass(frozen=True, slots=True)
class TreeCheck:
    """The result of a pass over a tree: leaves present, sizes with a different root, and tiles that differ.

    `beyond` counts leaves sequenced after the last signed head, `tiles_left_over` tiles that belong to no leaf.
    """

    leaves: int
    wrong_roots: tuple[int, ...]
    wrong_tiles: tuple[TileId, ...]
    beyond: int
    tiles_left_over: int


@dataclass(slots=True)
class _Pass:
    """A tree that is being recomputed from its leaves."""

    tx: Transaction
    tree_id: int
    size: int = 0
    edge: dict[TileId, bytes] = field(default_factory=dict)
    wrong_tiles: list[TileId] = field(default_factory=list)
    tiles: int = 0


def trees(tx: Transaction) -> list[Tree]:
    """Every log ever started, oldest first."""
    rows = tx.all(select(tree.c.tree_id, tree.c.origin, tree.c.size).order_by(tree.c.tree_id))
    return [Tree(*row) for row in rows]


def heads(tx: Transaction, tree_id: int) -> list[SignedHead]:
    """The stored signed heads of a tree, smallest first."""
    columns = (checkpoint.c.tree_id, checkpoint.c.size, checkpoint.c.root, checkpoint.c.note, checkpoint.c.signed_at)
    rows = tx.all(select(*columns).where(checkpoint.c.tree_id == tree_id).order_by(checkpoint.c.size))
    return [SignedHead(*row) for row in rows]


def check_tree(tx: Transaction, tree_id: int, signed: Sequence[SignedHead]) -> TreeCheck:
    """Recompute a tree from its leaves, and compare its tiles and the roots of all its heads."""
    grown, wrong_roots = _Pass(tx, tree_id), []
    for head in signed:
        for leaves in _leaves(tx, tree_id, grown.size, end=head.size):
            _extend(grown, leaves)
        if grown.size != head.size or edge_root(grown.size, grown.edge) != head.root:
            wrong_roots.append(head.size)
    last = edge(grown.size)
    _compare(grown, {tile_id: grown.edge[tile_id] for tile_id in last})
    size = signed[-1].size if signed else 0
    beyond = select(func.count()).where(entry.c.tree_id == tree_id, entry.c.leaf_index >= size)
    stored = select(func.count()).where(tile.c.tree_id == tree_id)
    return TreeCheck(
        leaves=grown.size,
        wrong_roots=tuple(wrong_roots),
        wrong_tiles=tuple(grown.wrong_tiles),
        beyond=int(tx.scalar(beyond)),
        tiles_left_over=max(0, int(tx.scalar(stored)) - grown.tiles),
    )


def _leaves(tx: Transaction, tree_id: int, begin: int, *, end: int) -> Iterator[list[bytes]]:
    """The leaf hashes from `begin` up to, but without, `end`; stops early if leaves are missing."""
    while begin < end:
        stop = min(begin + _CHUNK_LEAVES, end)
        found = commitments(tx, tree_id, begin, end=stop)
        yield [leaf_hash(commitment) for commitment in found]
        if len(found) < stop - begin:
            return
        begin = stop


def _extend(grown: _Pass, leaves: Sequence[bytes]) -> None:
    changed = grow(grown.size, grown.edge, leaves)
    grown.size += len(leaves)
    _compare(grown, {tile_id: hashes for tile_id, hashes in changed.items() if len(hashes) == _FULL_BYTES})
    now = {**grown.edge, **changed}
    grown.edge = {tile_id: now[tile_id] for tile_id in edge(grown.size)}


def _compare(grown: _Pass, expected: Mapping[TileId, bytes]) -> None:
    stored = tiles(grown.tx, grown.tree_id, list(expected)) if expected else {}
    grown.wrong_tiles += [tile_id for tile_id, hashes in expected.items() if stored.get(tile_id) != hashes]
    grown.tiles += len(expected)
