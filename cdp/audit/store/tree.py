"""SQL of the tree: waiting leaves, tiles, checkpoints, and what clients of the log read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from cdp.audit.checkpoint import Checkpoint
from cdp.audit.merkle import HASH_BYTES, LeafRange, NodeReader, Subtree, consistency_spans, prove
from cdp.audit.tile import TILE_WIDTH, TileId, TilePath, entry_bundle, read_nodes
from cdp.kit.db import Transaction


@dataclass(frozen=True, slots=True)
class Tree:
    """One log: its number, its origin, and how many leaves it has."""

    tree_id: int
    origin: str
    size: int


@dataclass(frozen=True, slots=True)
class SignedHead:
    """A signed checkpoint as it is served."""

    tree_id: int
    size: int
    root: bytes
    note: str
    signed_at: datetime


class Leaf(NamedTuple):
    """An entry that is not sequenced yet."""

    entry_id: int
    commitment: bytes


def lock_sequencer(tx: Transaction) -> None:
    """Become the only sequencer until the transaction ends; readers of the log are not blocked."""
    tx.execute("LOCK TABLE audit.tree IN SHARE ROW EXCLUSIVE MODE")


def newest_tree(tx: Transaction) -> Tree | None:
    """The tree that grows."""
    rows = tx.execute("SELECT tree_id, origin, size FROM audit.tree ORDER BY tree_id DESC LIMIT 1")
    return Tree(*rows[0]) if rows else None


def tree_of(tx: Transaction, entry_id: int) -> Tree | None:
    """The tree of an entry; None if it is not sequenced yet."""
    rows = tx.execute(
        """
        SELECT tree.tree_id, tree.origin, tree.size
        FROM audit.tree JOIN audit.entry USING (tree_id)
        WHERE entry.entry_id = %(entry)s
        """,
        {"entry": entry_id},
    )
    return Tree(*rows[0]) if rows else None


def add_tree(tx: Transaction, tree_id: int, origin: str, *, now: datetime) -> Tree:
    """Start a tree."""
    tx.execute(
        "INSERT INTO audit.tree (tree_id, origin, size, started_at) VALUES (%(tree)s, %(origin)s, 0, %(now)s)",
        {"tree": tree_id, "origin": origin, "now": now},
    )
    return Tree(tree_id, origin, 0)


def waiting_leaves(tx: Transaction, limit: int) -> list[Leaf]:
    """Committed entries that are not sequenced yet, in order of insertion."""
    rows = tx.execute(
        "SELECT entry_id, commitment FROM audit.entry WHERE leaf_index IS NULL ORDER BY entry_id LIMIT %(limit)s",
        {"limit": limit},
    )
    return [Leaf(*row) for row in rows]


def place_leaves(tx: Transaction, tree_id: int, begin: int, *, entry_ids: Sequence[int]) -> None:
    """Assign consecutive leaf indexes to entries, starting at `begin`."""
    tx.execute(
        """
        UPDATE audit.entry
        SET tree_id = %(tree)s, leaf_index = %(begin)s::bigint + placed.ordinal - 1
        FROM unnest(%(entries)s::bigint[]) WITH ORDINALITY AS placed (entry_id, ordinal)
        WHERE entry.entry_id = placed.entry_id
        """,
        {"tree": tree_id, "begin": begin, "entries": list(entry_ids)},
    )


def place_copies(tx: Transaction, tree_id: int, begin: int, *, commitments: Sequence[bytes], now: datetime) -> None:
    """Sequence entries from the copy of the log: those waiting in the database, and those that it lost."""
    tx.execute(
        """
        INSERT INTO audit.entry (commitment, recorded_at, tree_id, leaf_index)
        SELECT copied.commitment, %(now)s, %(tree)s, %(begin)s::bigint + copied.ordinal - 1
        FROM unnest(%(commitments)s::bytea[]) WITH ORDINALITY AS copied (commitment, ordinal)
        ON CONFLICT (commitment) DO UPDATE SET tree_id = EXCLUDED.tree_id, leaf_index = EXCLUDED.leaf_index
        """,
        {"tree": tree_id, "begin": begin, "commitments": list(commitments), "now": now},
    )


def commitments(tx: Transaction, tree_id: int, begin: int, *, end: int) -> list[bytes]:
    """The entries of a tree from `begin` up to, but without, `end`."""
    rows = tx.execute(
        """
        SELECT commitment
        FROM audit.entry
        WHERE tree_id = %(tree)s AND leaf_index >= %(begin)s AND leaf_index < %(end)s
        ORDER BY leaf_index
        """,
        {"tree": tree_id, "begin": begin, "end": end},
    )
    return [commitment for (commitment,) in rows]


def tiles(tx: Transaction, tree_id: int, wanted: Sequence[TileId]) -> dict[TileId, bytes]:
    """The stored tiles among those wanted."""
    rows = tx.execute(
        """
        SELECT tile.level, tile.number, tile.hashes
        FROM audit.tile
        JOIN unnest(%(levels)s::smallint[], %(numbers)s::bigint[]) AS wanted (level, number) USING (level, number)
        WHERE tile.tree_id = %(tree)s
        """,
        {"tree": tree_id, "levels": [tile.level for tile in wanted], "numbers": [tile.number for tile in wanted]},
    )
    return {TileId(level, number): hashes for level, number, hashes in rows}


def store_tiles(tx: Transaction, tree_id: int, changed: Mapping[TileId, bytes]) -> None:
    """Store tiles that are new or have grown."""
    tx.execute(
        """
        INSERT INTO audit.tile (tree_id, level, number, hashes)
        SELECT %(tree)s, grown.level, grown.number, grown.hashes
        FROM unnest(%(levels)s::smallint[], %(numbers)s::bigint[], %(hashes)s::bytea[]) AS grown (level, number, hashes)
        ON CONFLICT (tree_id, level, number) DO UPDATE SET hashes = EXCLUDED.hashes
        """,
        {
            "tree": tree_id,
            "levels": [tile.level for tile in changed],
            "numbers": [tile.number for tile in changed],
            "hashes": list(changed.values()),
        },
    )


def store_head(tx: Transaction, tree_id: int, signed: Checkpoint, *, note: str, now: datetime) -> None:
    """Record a signed checkpoint as the head of its tree."""
    values = {"tree": tree_id, "size": signed.size, "root": signed.root, "note": note, "now": now}
    tx.execute(
        """
        INSERT INTO audit.checkpoint (tree_id, size, root, note, signed_at)
        VALUES (%(tree)s, %(size)s, %(root)s, %(note)s, %(now)s)
        """,
        values,
    )
    tx.execute("UPDATE audit.tree SET size = %(size)s WHERE tree_id = %(tree)s", values)


def signed_head(tx: Transaction, tree_id: int | None = None) -> SignedHead | None:
    """The last signed checkpoint, of the growing tree unless another is given."""
    rows = tx.execute(
        """
        SELECT tree_id, size, root, note, signed_at
        FROM audit.checkpoint
        WHERE tree_id = coalesce(%(tree)s::smallint, (SELECT max(tree_id) FROM audit.checkpoint))
        ORDER BY size DESC
        LIMIT 1
        """,
        {"tree": tree_id},
    )
    return SignedHead(*rows[0]) if rows else None


def thin_heads(tx: Transaction, before: datetime) -> int:
    """Delete checkpoints signed before an instant except the last of each day; returns how many."""
    rows = tx.execute(
        """
        WITH deleted AS (
            DELETE FROM audit.checkpoint AS old
            WHERE old.signed_at < %(before)s AND EXISTS (
                SELECT FROM audit.checkpoint AS later
                WHERE later.tree_id = old.tree_id AND later.size > old.size
                  AND date_trunc('day', later.signed_at) = date_trunc('day', old.signed_at)
            )
            RETURNING 1
        )
        SELECT count(*) FROM deleted
        """,
        {"before": before},
    )
    return int(rows[0][0])


def node_reader(tx: Transaction, tree_id: int) -> NodeReader:
    """A reader of subtree hashes of a tree, which needs one statement per proof."""

    def read(nodes: Sequence[Subtree]) -> list[bytes]:
        return read_nodes(nodes, lambda wanted: tiles(tx, tree_id, wanted))

    return read


def root_at(tx: Transaction, tree_id: int, size: int) -> bytes:
    """The root that a tree had when it had `size` leaves, at least one."""
    return prove([LeafRange(0, size)], node_reader(tx, tree_id))[0]


def consistency_proof(tx: Transaction, tree_id: int, old_size: int, *, size: int) -> list[bytes]:
    """The proof that the tree of `old_size` leaves is a prefix of the tree of `size`."""
    return prove(consistency_spans(old_size, size), node_reader(tx, tree_id))


def served_tile(tx: Transaction, path: TilePath) -> bytes | None:
    """The bytes of a tile or of a bundle of entries under `/audit/log/tile/`; None if the log is shorter."""
    head = signed_head(tx)
    begin = path.number * TILE_WIDTH
    if head is None or path.number < 0:
        return None
    if path.level is None:
        found = commitments(tx, head.tree_id, begin, end=begin + path.width) if begin + path.width <= head.size else []
        return entry_bundle(found) if len(found) == path.width else None
    wanted = TileId(path.level, path.number)
    if (begin + path.width) << (8 * path.level) > head.size:
        return None
    hashes = tiles(tx, head.tree_id, [wanted]).get(wanted, b"")[: path.width * HASH_BYTES]
    return hashes if len(hashes) == path.width * HASH_BYTES else None
