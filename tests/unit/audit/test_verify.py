"""Offline verification: a good receipt passes, and each altered link of the chain is named."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from cdp.audit.checkpoint import Checkpoint, VerifierKey, sign_checkpoint
from cdp.audit.fact import commitment
from cdp.audit.merkle import LeafRange, consistency_spans, inclusion_spans, leaf_hash, prove, root_of
from cdp.audit.tile import grow, read_nodes
from cdp.audit.verify import (
    Broken,
    Receipt,
    Unverified,
    Verified,
    receipt_document,
    tlog_proof_of,
    verify_growth,
    verify_leaves,
    verify_note,
    verify_receipt,
    verify_tlog_proof,
)
from cdp.vault.sign import Signer, is_signed

ORIGIN = "log.example/1"
SIGNER = Signer(b"\x07" * 32)
KEY = VerifierKey(ORIGIN, SIGNER.public_key)
BODY = {
    "kind": "request.fulfilled",
    "request": "req_0000000000001",
    "count": 12,
    "holds": ["invoices"],
    "at": "2026-01-01T00:00:00Z",
}
SALT = b"\x2a" * 32
INDEX = 300
ENTRIES = (
    [n.to_bytes(32, "big") for n in range(INDEX)]
    + [commitment(SALT, BODY)]
    + [n.to_bytes(32, "big") for n in range(400, 777)]
)


def head(size: int) -> Checkpoint:
    return Checkpoint(ORIGIN, size, root_of([leaf_hash(entry) for entry in ENTRIES[:size]]))


def proof_of(spans: list[LeafRange], size: int) -> list[bytes]:
    tiles = grow(0, {}, [leaf_hash(entry) for entry in ENTRIES[:size]])
    return prove(spans, lambda nodes: read_nodes(nodes, lambda _: tiles))


def why(result: Unverified | None) -> Broken | None:
    """The reason of a failed verification, None when it succeeded."""
    return None if result is None else result.broken


@pytest.fixture
def receipt() -> Receipt:
    size = len(ENTRIES)
    proof = tuple(proof_of(inclusion_spans(INDEX, size), size))
    return Receipt(BODY, SALT, INDEX, proof, sign_checkpoint(head(size), SIGNER))


@pytest.fixture
def document(receipt: Receipt) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(json.dumps(receipt_document(receipt, KEY)))
    return document


def test_a_receipt_is_verified_with_its_file_and_a_public_key_alone(document: dict[str, Any]) -> None:
    verified = verify_receipt(document, [KEY], is_signed)

    assert verified == Verified(BODY, INDEX, head(len(ENTRIES)))


def altered(document: dict[str, Any], change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    changed = copy.deepcopy(document)
    change(changed)
    return changed


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        (lambda d: d["body"].update(count=11), Broken.NOT_INCLUDED),
        (lambda d: d["body"].update(more=1), Broken.NOT_INCLUDED),
        (lambda d: d["body"].pop("count"), Broken.NOT_INCLUDED),
        (lambda d: d.update(salt="AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="), Broken.NOT_INCLUDED),
        (lambda d: d.update(index=INDEX + 1), Broken.NOT_INCLUDED),
        (lambda d: d["proof"].pop(), Broken.NOT_INCLUDED),
        (lambda d: d["proof"].append(d["proof"][0]), Broken.NOT_INCLUDED),
        (lambda d: d.update(checkpoint=d["checkpoint"].replace("\n678\n", "\n679\n")), Broken.WRONG_SIGNATURE),
        (lambda d: d.update(checkpoint=d["checkpoint"].replace(ORIGIN, "other.example/1")), Broken.UNTRUSTED_KEY),
        (lambda d: d.update(checkpoint="nothing"), Broken.MALFORMED),
        (lambda d: d.update(index="300"), Broken.MALFORMED),
        (lambda d: d.update(index=-1), Broken.MALFORMED),
        (lambda d: d.update(index=True), Broken.MALFORMED),
        (lambda d: d.update(salt="AAAA"), Broken.MALFORMED),
        (lambda d: d.update(salt="?"), Broken.MALFORMED),
        (lambda d: d.update(proof="none"), Broken.MALFORMED),
        (lambda d: d.update(proof=["AAAA"]), Broken.MALFORMED),
        (lambda d: d.update(format="cdp/receipt@v9"), Broken.MALFORMED),
        (lambda d: d.pop("body"), Broken.MALFORMED),
        (lambda d: d["body"].update(count=2**60), Broken.MALFORMED),
    ],
)
def test_each_altered_link_is_refused_by_name(
    document: dict[str, Any], change: Callable[[dict[str, Any]], object], broken: Broken
) -> None:
    refused = verify_receipt(altered(document, change), [KEY], is_signed)

    assert isinstance(refused, Unverified)
    assert refused.broken is broken


@pytest.mark.parametrize("document", [None, [], "x", 7, {}])
def test_what_is_no_receipt_at_all_is_refused(document: object) -> None:
    refused = verify_receipt(document, [KEY], is_signed)

    assert isinstance(refused, Unverified)
    assert refused.broken is Broken.MALFORMED


def test_a_body_nested_beyond_reason_is_refused(document: dict[str, Any]) -> None:
    for _ in range(100_000):
        document["body"] = {"a": document["body"]}

    assert isinstance(verify_receipt(document, [KEY], is_signed), Unverified)


def test_a_receipt_under_another_key_is_not_trusted_even_if_it_names_that_key(receipt: Receipt) -> None:
    mallory = Signer(b"\x66" * 32)
    forged = Receipt(
        receipt.body, receipt.salt, receipt.index, receipt.proof, sign_checkpoint(head(len(ENTRIES)), mallory)
    )
    document = receipt_document(forged, VerifierKey(ORIGIN, mallory.public_key))

    refused = verify_receipt(document, [KEY], is_signed)

    assert isinstance(refused, Unverified)
    assert refused.broken is Broken.UNTRUSTED_KEY


def test_unknown_signatures_beside_a_known_one_are_ignored() -> None:
    note = sign_checkpoint(head(5), SIGNER)
    cosigned = note + sign_checkpoint(head(5), Signer(b"\x66" * 32)).rpartition("\n\n")[2]

    assert verify_note(cosigned, [KEY], is_signed) == head(5)


def test_a_known_key_with_a_bad_signature_spoils_the_note_even_beside_a_good_one() -> None:
    good = sign_checkpoint(head(5), SIGNER)
    note = good + sign_checkpoint(head(6), SIGNER).rpartition("\n\n")[2]

    refused = verify_note(note, [KEY], is_signed)

    assert isinstance(refused, Unverified)
    assert refused.broken is Broken.WRONG_SIGNATURE


def test_the_same_receipt_as_a_proof_file_verifies_too(receipt: Receipt) -> None:
    text = tlog_proof_of(receipt).text()
    leaf = leaf_hash(commitment(SALT, BODY))

    assert verify_tlog_proof(text, leaf, [KEY], check=is_signed) == head(len(ENTRIES))
    refused = verify_tlog_proof(text, leaf_hash(b"other"), [KEY], check=is_signed)
    assert isinstance(refused, Unverified)
    assert refused.broken is Broken.NOT_INCLUDED
    assert isinstance(verify_tlog_proof("nothing", leaf, [KEY], check=is_signed), Unverified)


def test_growth_is_accepted_and_a_rewritten_shrunken_or_foreign_log_is_not() -> None:
    old, new = head(300), head(600)
    proof = proof_of(consistency_spans(300, 600), 600)
    rewritten = Checkpoint(ORIGIN, 300, root_of([leaf_hash(b"other")] + [leaf_hash(entry) for entry in ENTRIES[1:300]]))

    assert verify_growth(old, new, proof) is None
    assert verify_growth(old, old, []) is None
    assert why(verify_growth(rewritten, new, proof)) is Broken.NOT_CONSISTENT
    assert why(verify_growth(old, new, proof[1:])) is Broken.NOT_CONSISTENT
    assert why(verify_growth(new, old, proof)) is Broken.SHRUNK
    assert why(verify_growth(Checkpoint("x", 1, bytes(32)), new, proof)) is Broken.OTHER_ORIGIN


@pytest.mark.parametrize("size", [0, 1, 255, 256, 677])
def test_all_entries_in_order_give_the_signed_root(size: int) -> None:
    assert verify_leaves(ENTRIES[:size], head(size)) is None


def test_missing_added_or_swapped_entries_do_not_give_the_signed_root() -> None:
    swapped = [ENTRIES[1], ENTRIES[0], *ENTRIES[2:]]

    assert why(verify_leaves(ENTRIES[:-1], head(len(ENTRIES)))) is Broken.WRONG_ROOT
    assert why(verify_leaves([*ENTRIES, b"more"], head(len(ENTRIES)))) is Broken.WRONG_ROOT
    assert why(verify_leaves(swapped, head(len(ENTRIES)))) is Broken.WRONG_ROOT


def test_a_log_longer_than_one_chunk_is_verified_in_parts() -> None:
    entries = [n.to_bytes(32, "big") for n in range(9001)]
    whole = Checkpoint(ORIGIN, 9001, root_of([leaf_hash(entry) for entry in entries]))

    assert verify_leaves(iter(entries), whole) is None
