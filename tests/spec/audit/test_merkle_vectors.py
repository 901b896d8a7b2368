"""RFC 6962 by the vectors of transparency-dev/merkle (tests/data/vectors/merkle_rfc6962.md)."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from cdp.audit.merkle import inclusion_spans, is_included, leaf_hash, prove, root_of
from cdp.audit.tile import TileId, grow, read_nodes

VECTORS = json.loads((Path(__file__).parents[2] / "data/vectors/merkle_rfc6962.json").read_text())
LEAVES = [leaf_hash(bytes.fromhex(text)) for text in VECTORS["rfc6962"]["leaf_inputs_hex"]]


@pytest.mark.parametrize(
    "vector", VECTORS["inclusion"], ids=lambda vector: vector["file"].removeprefix("testdata/inclusion/")
)
def test_inclusion_vector(vector: dict[str, Any]) -> None:
    proof = [base64.b64decode(sibling) for sibling in vector["proof"] or []]
    leaf, root = base64.b64decode(vector["leafHash"]), base64.b64decode(vector["root"])

    assert is_included(leaf, vector["leafIdx"], vector["treeSize"], proof=proof, root=root) is not vector["wantErr"]


def test_the_vectors_hold_both_good_and_bad_proofs() -> None:
    wanted = [vector["wantErr"] for vector in VECTORS["inclusion"]]

    assert (wanted.count(False), wanted.count(True)) == (6, 92)


@pytest.mark.parametrize("size", range(9))
def test_root_of_the_reference_tree(size: int) -> None:
    assert root_of(LEAVES[:size]).hex() == VECTORS["rfc6962"]["root_by_size_hex"][size]


@pytest.mark.parametrize("vector", [v for v in VECTORS["inclusion"] if not v["wantErr"] and v["treeSize"] > 1])
def test_our_proofs_of_the_reference_tree_are_the_given_ones(vector: dict[str, Any]) -> None:
    tiles = grow(0, {}, LEAVES[: vector["treeSize"]])

    proof = prove(
        inclusion_spans(vector["leafIdx"], vector["treeSize"]), lambda nodes: read_nodes(nodes, lambda _: tiles)
    )

    assert [base64.b64encode(sibling).decode() for sibling in proof] == (vector["proof"] or [])
    assert set(tiles) == {TileId(0, 0)}
