"""The tree computed twice: our planned proofs over tiles against the recursive definitions of RFC 6962, 2.1."""

import hashlib
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdp.audit.merkle import (
    consistency_spans,
    inclusion_spans,
    is_consistent,
    is_included,
    leaf_hash,
    prove,
    root_of,
)
from cdp.audit.tile import TILE_WIDTH, TileId, edge, edge_root, grow, read_nodes

LARGEST = 130
LEAVES = [leaf_hash(number.to_bytes(4, "big")) for number in range(1200)]


def split_point(size: int) -> int:
    """The largest power of two smaller than `size`."""
    power = 1
    while power * 2 < size:
        power *= 2
    return power


@cache
def tree_hash(begin: int, end: int) -> bytes:
    """MTH(D[begin:end])."""
    if begin == end:
        return hashlib.sha256().digest()
    if end - begin == 1:
        return LEAVES[begin]
    middle = begin + split_point(end - begin)
    return hashlib.sha256(b"\x01" + tree_hash(begin, middle) + tree_hash(middle, end)).digest()


def audit_path(index: int, begin: int, end: int) -> list[bytes]:
    """PATH(index, D[begin:end]), with index counted from the start of the whole tree."""
    if end - begin <= 1:
        return []
    middle = begin + split_point(end - begin)
    if index < middle:
        return [*audit_path(index, begin, middle), tree_hash(middle, end)]
    return [*audit_path(index, middle, end), tree_hash(begin, middle)]


def sub_proof(old: int, begin: int, end: int, is_known: bool) -> list[bytes]:
    """SUBPROOF(old, D[begin:end], is_known), with old counted from the start of the whole tree."""
    if old == end:
        return [] if is_known else [tree_hash(begin, end)]
    middle = begin + split_point(end - begin)
    if old <= middle:
        return [*sub_proof(old, begin, middle, is_known), tree_hash(middle, end)]
    return [*sub_proof(old, middle, end, False), tree_hash(begin, middle)]


def tiles_of(size: int) -> dict[TileId, bytes]:
    return grow(0, {}, LEAVES[:size])


@pytest.mark.parametrize("size", range(LARGEST + 1))
def test_every_inclusion_proof_of_every_size_is_the_defined_one_and_verifies(size: int) -> None:
    tiles = tiles_of(size)
    root = root_of(LEAVES[:size])
    assert root == tree_hash(0, size) == edge_root(size, tiles)

    for index in range(size):
        proof = prove(inclusion_spans(index, size), lambda nodes: read_nodes(nodes, lambda _: tiles))
        assert proof == audit_path(index, 0, size)
        assert is_included(LEAVES[index], index, size, proof=proof, root=root)
        assert not is_included(LEAVES[index + 1], index, size, proof=proof, root=root)


@pytest.mark.parametrize("size", range(1, LARGEST + 1))
def test_every_consistency_proof_of_every_size_is_the_defined_one_and_verifies(size: int) -> None:
    tiles = tiles_of(size)

    for old in range(1, size + 1):
        proof = prove(consistency_spans(old, size), lambda nodes: read_nodes(nodes, lambda _: tiles))
        assert proof == sub_proof(old, 0, size, True)
        assert is_consistent(old, tree_hash(0, old), size, root=tree_hash(0, size), proof=proof)
        assert not is_consistent(old, tree_hash(1, old + 1), size, root=tree_hash(0, size), proof=proof)


@given(st.lists(st.integers(0, 400), max_size=6))
@settings(max_examples=60, deadline=None)
def test_a_tree_grown_in_any_steps_has_the_tiles_and_the_root_of_one_grown_at_once(steps: list[int]) -> None:
    size = 0
    tiles: dict[TileId, bytes] = {}
    for step in steps:
        step = min(step, len(LEAVES) - size)
        tiles |= grow(size, {tile: tiles[tile] for tile in edge(size)}, LEAVES[size : size + step])
        size += step
        assert edge_root(size, tiles) == tree_hash(0, size)

    assert tiles == tiles_of(size)
    assert all(len(hashes) <= 32 * TILE_WIDTH for hashes in tiles.values())


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_no_altered_inclusion_proof_verifies(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, LARGEST))
    index = data.draw(st.integers(0, size - 1))
    proof = audit_path(index, 0, size)
    root = tree_hash(0, size)
    altered = data.draw(mutations(proof))

    assert not is_included(LEAVES[index], index, size, proof=altered, root=root)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_no_altered_consistency_proof_verifies(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, LARGEST))
    old = data.draw(st.integers(1, size - 1))
    altered = data.draw(mutations(sub_proof(old, 0, size, True)))

    assert not is_consistent(old, tree_hash(0, old), size, root=tree_hash(0, size), proof=altered)


@given(index=st.integers(0, LARGEST), size=st.integers(0, LARGEST), proof=st.lists(st.binary(max_size=33), max_size=9))
@settings(max_examples=300, deadline=None)
def test_invented_proofs_neither_verify_nor_fail_otherwise(index: int, size: int, proof: list[bytes]) -> None:
    assert not is_included(b"\x00" * 32, index, size, proof=proof, root=b"\x11" * 32)
    assert not is_consistent(index, b"\x00" * 32, size, root=b"\x11" * 32, proof=proof)


@st.composite
def mutations(draw: st.DrawFn, proof: list[bytes]) -> list[bytes]:
    """The proof with a bit flipped, a hash dropped, added or moved."""
    kind = draw(st.sampled_from(["flip", "drop", "add", "swap"] if len(set(proof)) > 1 else ["flip", "drop", "add"]))
    if kind == "add" or not proof:
        at = draw(st.integers(0, len(proof)))
        return [*proof[:at], draw(st.binary(min_size=32, max_size=32)), *proof[at:]]
    at = draw(st.integers(0, len(proof) - 1))
    if kind == "drop":
        return proof[:at] + proof[at + 1 :]
    if kind == "flip":
        bit = draw(st.integers(0, 255))
        flipped = bytearray(proof[at])
        flipped[bit // 8] ^= 1 << bit % 8
        return [*proof[:at], bytes(flipped), *proof[at + 1 :]]
    other = draw(st.integers(0, len(proof) - 1).filter(lambda one: proof[one] != proof[at]))
    swapped = list(proof)
    swapped[at], swapped[other] = swapped[other], swapped[at]
    return swapped
