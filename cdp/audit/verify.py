"""Verification without the store: a receipt, a proof file, and the log against a remembered checkpoint.

Pure: the signature check is a parameter, so that this file can be read and run without trusting the store. Each result
is a value; a negative one states which link of the chain is broken.

A receipt is a JSON object:

    {"format": "cdp/receipt@v1",
     "body": {...},                  what was done; its RFC 8785 bytes are committed to
     "salt": "<base64 of 32 bytes>",
     "index": 4711,                  the leaf in the log, from 0
     "proof": ["<base64>", ...],     RFC 6962 inclusion proof, the leaf's sibling first
     "checkpoint": "<signed note>",
     "vkey": "<key that signed>"}    for convenience; trust requires a key obtained elsewhere
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from cdp.audit.checkpoint import (
    Checkpoint,
    Malformed,
    TlogProof,
    VerifierKey,
    decode_base64,
    encode_base64,
    parse_checkpoint,
    parse_hash,
    parse_note,
    parse_tlog_proof,
)
from cdp.audit.fact import SALT_BYTES, commitment
from cdp.audit.merkle import is_consistent, is_included, leaf_hash
from cdp.audit.tile import edge, edge_root, grow
from cdp.kit.canonical import canonical_json
from cdp.kit.wording import counted

RECEIPT_FORMAT: Final = "cdp/receipt@v1"
_CHUNK_LEAVES = 4096

SignatureCheck = Callable[[bytes, bytes, bytes], bool]
"""(public key, message, signature) -> whether the signature over the message was made with that key."""


class Broken(StrEnum):
    """The link of the chain that is broken."""

    MALFORMED = "malformed"
    UNTRUSTED_KEY = "untrusted_key"
    WRONG_SIGNATURE = "wrong_signature"
    NOT_INCLUDED = "not_included"
    NOT_CONSISTENT = "not_consistent"
    WRONG_ROOT = "wrong_root"
    OTHER_ORIGIN = "other_origin"
    SHRUNK = "shrunk"


@dataclass(frozen=True, slots=True)
class Unverified:
    """Not verified: which link is broken, and how."""

    broken: Broken
    detail: str


@dataclass(frozen=True, slots=True)
class Verified:
    """A body at `index` of the log, under a checkpoint signed by a trusted key."""

    body: Mapping[str, Any]
    index: int
    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True)
class Receipt:
    """The content of a receipt file, parsed but not verified."""

    body: Mapping[str, Any]
    salt: bytes
    index: int
    proof: tuple[bytes, ...]
    note: str


def verify_note(note: str, trusted: Sequence[VerifierKey], check: SignatureCheck) -> Checkpoint | Unverified:
    """The checkpoint of a note, if a trusted key with the name of its origin signed it."""
    try:
        parsed = parse_note(note)
        checkpoint = parse_checkpoint(parsed.text)
    except Malformed as error:
        return Unverified(Broken.MALFORMED, f"The checkpoint cannot be read: {error}.")
    keys = {(key.name, key.key_id): key for key in trusted if key.name == checkpoint.origin}
    known = [(keys[line.name, line.key_id], line) for line in parsed.signatures if (line.name, line.key_id) in keys]
    if not known:
        return Unverified(Broken.UNTRUSTED_KEY, "No trusted key of this log signed the checkpoint.")
    if not all(check(key.public_key, parsed.text.encode(), line.signature) for key, line in known):
        return Unverified(
            Broken.WRONG_SIGNATURE, "The signature does not match this checkpoint: one of them was altered."
        )
    return checkpoint


def parse_receipt(document: Any) -> Receipt:
    """Parse the JSON object of a receipt. Raises Malformed."""
    if not isinstance(document, Mapping) or document.get("format") != RECEIPT_FORMAT:
        raise Malformed(f"a receipt is a JSON object of format {RECEIPT_FORMAT}")
    body, salt, index = document.get("body"), document.get("salt"), document.get("index")
    proof, note = document.get("proof"), document.get("checkpoint")
    if not isinstance(body, Mapping) or not isinstance(salt, str) or not isinstance(note, str):
        raise Malformed("a receipt has a body, a salt and a checkpoint")
    if not isinstance(index, int) or isinstance(index, bool) or index < 0:
        raise Malformed("a receipt has the index of its leaf")
    if not isinstance(proof, list) or not all(isinstance(item, str) for item in proof):
        raise Malformed("a receipt has an inclusion proof: a list of hashes in base64")
    return Receipt(body, _salt(salt), index, tuple(map(parse_hash, proof)), note)


def receipt_document(receipt: Receipt, vkey: VerifierKey) -> dict[str, Any]:
    """The JSON of a receipt."""
    return {
        "format": RECEIPT_FORMAT,
        "body": dict(receipt.body),
        "salt": encode_base64(receipt.salt),
        "index": receipt.index,
        "proof": [encode_base64(sibling) for sibling in receipt.proof],
        "checkpoint": receipt.note,
        "vkey": vkey.text(),
    }


def verify_receipt(document: Any, trusted: Sequence[VerifierKey], check: SignatureCheck) -> Verified | Unverified:
    """Whether the body of a receipt is in a log that one of the trusted keys signed."""
    try:
        receipt = parse_receipt(document)
        leaf = leaf_hash(commitment(receipt.salt, receipt.body))
    except (ValueError, RecursionError) as error:
        return Unverified(Broken.MALFORMED, f"The receipt cannot be read: {error}.")
    checkpoint = verify_note(receipt.note, trusted, check)
    if isinstance(checkpoint, Unverified):
        return checkpoint
    if not is_included(leaf, receipt.index, checkpoint.size, proof=receipt.proof, root=checkpoint.root):
        return Unverified(
            Broken.NOT_INCLUDED,
            "The body, its salt, its index or its proof was altered: they do not lead to the signed root.",
        )
    return Verified(receipt.body, receipt.index, checkpoint)


def tlog_proof_of(receipt: Receipt) -> TlogProof:
    """The receipt as a C2SP proof file; its extra data contains body and salt."""
    extra = canonical_json({"body": dict(receipt.body), "salt": encode_base64(receipt.salt)})
    return TlogProof(extra, receipt.index, receipt.proof, receipt.note)


def verify_tlog_proof(
    text: str, leaf: bytes, trusted: Sequence[VerifierKey], *, check: SignatureCheck
) -> Checkpoint | Unverified:
    """The checkpoint of a proof file, if it proves this leaf hash."""
    try:
        proof = parse_tlog_proof(text)
    except Malformed as error:
        return Unverified(Broken.MALFORMED, f"The proof cannot be read: {error}.")
    checkpoint = verify_note(proof.note, trusted, check)
    if isinstance(checkpoint, Unverified):
        return checkpoint
    if not is_included(leaf, proof.index, checkpoint.size, proof=proof.hashes, root=checkpoint.root):
        return Unverified(Broken.NOT_INCLUDED, "The proof does not lead from the leaf to the signed root.")
    return checkpoint


def verify_growth(old: Checkpoint, new: Checkpoint, proof: Sequence[bytes]) -> Unverified | None:
    """None if the tree of the older checkpoint is an unaltered prefix of the tree of the newer one."""
    if old.origin != new.origin:
        return Unverified(Broken.OTHER_ORIGIN, "The checkpoints belong to two different logs.")
    if old.size > new.size:
        return Unverified(Broken.SHRUNK, "The log is shorter than before: leaves were removed.")
    if not is_consistent(old.size, old.root, new.size, root=new.root, proof=proof):
        return Unverified(
            Broken.NOT_CONSISTENT, "The log was rewritten: the older tree is not a prefix of the newer one."
        )
    return None


def verify_leaves(entries: Iterable[bytes], checkpoint: Checkpoint) -> Unverified | None:
    """None if the entries, complete and in order, produce the root of the checkpoint."""
    size, tiles, waiting = 0, dict[Any, bytes](), list[bytes]()
    for entry in entries:
        waiting.append(leaf_hash(entry))
        if len(waiting) == _CHUNK_LEAVES:
            tiles, size, waiting = _extended(tiles, size, waiting), size + len(waiting), []
    tiles, size = _extended(tiles, size, waiting), size + len(waiting)
    if size != checkpoint.size or edge_root(size, tiles) != checkpoint.root:
        return Unverified(
            Broken.WRONG_ROOT,
            f"{counted(size, 'entry', 'entries')} do not produce the root that was signed for {checkpoint.size}.",
        )
    return None


def _extended(tiles: Mapping[Any, bytes], size: int, leaf_hashes: Sequence[bytes]) -> dict[Any, bytes]:
    grown = {**tiles, **grow(size, tiles, leaf_hashes)}
    return {tile: grown[tile] for tile in edge(size + len(leaf_hashes))}


def _salt(text: str) -> bytes:
    salt = decode_base64(text)
    if len(salt) != SALT_BYTES:
        raise Malformed("a salt has 32 bytes")
    return salt
