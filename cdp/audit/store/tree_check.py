"""SQL of the check of a whole tree: its leaves, tiles and every signed head, held against each other in one pass."""

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
    """What a pass over a tree found: leaves that are there, sizes whose root is another one, tiles that are wrong.

    `beyond` counts leaves that have a place after the last signed head, `tiles_left_over` tiles that belong to no leaf.
    """

    leaves: int
    wrong_roots: tuple[int, ...]
    wrong_tiles: tuple[TileId, ...]
    beyond: int
    tiles_left_over: int


@dataclass(slots=True)
class _Pass:
    """A tree as it grows again from its leaves."""

    tx: Transaction
    tree_id: int
    size: int = 0
    edge: dict[TileId, bytes] = field(default_factory=dict)
    wrong_tiles: list[TileId] = field(default_factory=list)
    tiles: int = 0


def trees(tx: Transaction) -> list[Tree]:
    """Every log ever begun, oldest first."""
    rows = tx.all(select(tree.c.tree_id, tree.c.origin, tree.c.size).order_by(tree.c.tree_id))
    return [Tree(*row) for row in rows]


def heads(tx: Transaction, tree_id: int) -> list[SignedHead]:
    """The signed heads of a tree that are kept, smallest first."""
    columns = (checkpoint.c.tree_id, checkpoint.c.size, checkpoint.c.root, checkpoint.c.note, checkpoint.c.signed_at)
    rows = tx.all(select(*columns).where(checkpoint.c.tree_id == tree_id).order_by(checkpoint.c.size))
    return [SignedHead(*row) for row in rows]


def check_tree(tx: Transaction, tree_id: int, signed: Sequence[SignedHead]) -> TreeCheck:
    """Grow a tree again from its leaves, and hold its tiles and the roots of all its heads against that."""
    grown, wrong_roots = _Pass(tx, tree_id), []
    for head in signed:
        for leaves in _leaves(tx, tree_id, grown.size, end=head.size):
            _extend(grown, leaves)
        if grown.size != head.size or edge_root(grown.size, grown.edge) != head.root:
            wrong_roots.append(head.size)
    last = edge(grown.size)
    _compare(grown, {each: grown.edge[each] for each in last})
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
    """The leaf hashes from `begin` up to, but without, `end`; ends early where leaves are missing."""
    while begin < end:
        stop = min(begin + _CHUNK_LEAVES, end)
        found = commitments(tx, tree_id, begin, end=stop)
        yield [leaf_hash(each) for each in found]
        if len(found) < stop - begin:
            return
        begin = stop


def _extend(grown: _Pass, leaves: Sequence[bytes]) -> None:
    changed = grow(grown.size, grown.edge, leaves)
    grown.size += len(leaves)
    _compare(grown, {each: hashes for each, hashes in changed.items() if len(hashes) == _FULL_BYTES})
    now = {**grown.edge, **changed}
    grown.edge = {each: now[each] for each in edge(grown.size)}


def _compare(grown: _Pass, expected: Mapping[TileId, bytes]) -> None:
    stored = tiles(grown.tx, grown.tree_id, list(expected)) if expected else {}
    grown.wrong_tiles += [each for each, hashes in expected.items() if stored.get(each) != hashes]
    grown.tiles += len(expected)
