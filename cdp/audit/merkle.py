"""The Merkle tree of RFC 6962, section 2.1: roots, inclusion proofs and consistency proofs.

Pure. Hashes are 32 bytes of SHA-256; a leaf is hashed under 0x00 and an inner node under 0x01. Proofs
are first planned as ranges of leaves, so that a store can fetch exactly the hashes it needs.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()


class Subtree(NamedTuple):
    """A complete subtree: its 2**level leaves begin at leaf position * 2**level."""

    level: int
    position: int


class LeafRange(NamedTuple):
    """The leaves from `begin` up to, but without, `end`."""

    begin: int
    end: int


NodeReader = Callable[[Sequence[Subtree]], Sequence[bytes]]


def leaf_hash(entry: bytes) -> bytes:
    """The hash of a leaf that holds `entry`."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of the node above two subtrees."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_of(hashes: Sequence[bytes]) -> bytes:
    """The root over a row of subtree hashes of one size, of which the last may stand for a smaller subtree."""
    row = list(hashes)
    if not row:
        return EMPTY_ROOT
    while len(row) > 1:
        paired = [node_hash(row[at], row[at + 1]) for at in range(0, len(row) - 1, 2)]
        row = paired + row[len(row) - len(row) % 2 :]
    return row[0]


def inclusion_spans(index: int, size: int) -> list[LeafRange]:
    """The subtrees whose hashes prove leaf `index` in a tree of `size`, nearest to the leaf first.

    Raises ValueError unless 0 <= index < size.
    """
    if not 0 <= index < size:
        raise ValueError("the leaf is not in the tree")
    spans = []
    whole = LeafRange(0, size)
    while whole.end - whole.begin > 1:
        middle = _middle(whole)
        if index < middle:
            spans.append(LeafRange(middle, whole.end))
            whole = LeafRange(whole.begin, middle)
        else:
            spans.append(LeafRange(whole.begin, middle))
            whole = LeafRange(middle, whole.end)
    return spans[::-1]


def consistency_spans(old_size: int, size: int) -> list[LeafRange]:
    """The subtrees whose hashes prove that the tree of `old_size` is a prefix of the tree of `size`.

    Nothing needs proof when one of them is empty or both are equal. Raises ValueError when the older tree is larger.
    """
    if not 0 <= old_size <= size:
        raise ValueError("the older tree is larger than the newer")
    if old_size in (0, size):
        return []
    spans = []
    whole = LeafRange(0, size)
    while whole.end != old_size:
        middle = _middle(whole)
        if old_size <= middle:
            spans.append(LeafRange(middle, whole.end))
            whole = LeafRange(whole.begin, middle)
        else:
            spans.append(LeafRange(whole.begin, middle))
            whole = LeafRange(middle, whole.end)
    if whole.begin:
        spans.append(whole)
    return spans[::-1]


def nodes_of(span: LeafRange) -> list[Subtree]:
    """The complete subtrees that make up a span of a proof, largest and leftmost first."""
    nodes = []
    begin = span.begin
    while begin < span.end:
        level = (span.end - begin).bit_length() - 1
        nodes.append(Subtree(level, begin >> level))
        begin += 1 << level
    return nodes


def prove(spans: Sequence[LeafRange], read: NodeReader) -> list[bytes]:
    """The proof for planned spans; `read` is called once for all subtree hashes."""
    parts = [nodes_of(span) for span in spans]
    hashes = iter(read([node for nodes in parts for node in nodes]))
    return [_fold([next(hashes) for _ in nodes]) for nodes in parts]


def is_included(leaf: bytes, index: int, size: int, *, proof: Sequence[bytes], root: bytes) -> bool:
    """True when `proof` shows the leaf hash at `index` of the tree with this size and root (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size or not _are_hashes([leaf, root, *proof]):
        return False
    at, last, computed = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            computed = node_hash(sibling, computed)
            at, last = _climb(at, last)
        else:
            computed = node_hash(computed, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and computed == root


def is_consistent(old_size: int, old_root: bytes, size: int, *, root: bytes, proof: Sequence[bytes]) -> bool:
    """True when `proof` shows that the older tree is a prefix of the newer one (RFC 9162, 2.1.4.2)."""
    if not 0 <= old_size <= size or not _are_hashes([old_root, root, *proof]):
        return False
    if old_size == size:
        return not proof and old_root == root
    if old_size == 0:
        return not proof and old_root == EMPTY_ROOT
    path = [old_root, *proof] if old_size & (old_size - 1) == 0 else list(proof)
    if not path:
        return False
    at, last = _drop_ones(old_size - 1, size - 1)
    old_computed = computed = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            old_computed, computed = node_hash(sibling, old_computed), node_hash(sibling, computed)
            at, last = _climb(at, last)
        else:
            computed = node_hash(computed, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and old_computed == old_root and computed == root


def _middle(span: LeafRange) -> int:
    """Where RFC 6962 splits a span of two or more leaves: after the largest power of two below its width."""
    return span.begin + (1 << ((span.end - span.begin - 1).bit_length() - 1))


def _fold(hashes: Sequence[bytes]) -> bytes:
    """The hash over complete subtrees of descending size."""
    folded = hashes[-1]
    for left in reversed(hashes[:-1]):
        folded = node_hash(left, folded)
    return folded


def _climb(at: int, last: int) -> tuple[int, int]:
    """Skip the levels on which a rightmost node has no sibling."""
    while at and not at & 1:
        at, last = at >> 1, last >> 1
    return at, last


def _drop_ones(at: int, last: int) -> tuple[int, int]:
    while at & 1:
        at, last = at >> 1, last >> 1
    return at, last


def _are_hashes(values: Iterable[bytes]) -> bool:
    return all(len(value) == HASH_BYTES for value in values)
