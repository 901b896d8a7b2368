"""Checkpoints as signed notes, verifier keys, and proofs as text: the formats of C2SP.

Pure. Formats: https://c2sp.org/signed-note, https://c2sp.org/tlog-checkpoint, https://c2sp.org/tlog-proof.

    <origin>              example.com/log
    <tree size>           20852163
    <root, base64>        CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
                          (an empty line)
    — <key name> <base64 of four bytes of key id and the signature>
"""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import Protocol

from cdp.audit.merkle import HASH_BYTES

_ED25519 = b"\x01"
_PUBLIC_KEY_BYTES = 32
_SIGNATURE_BYTES = 64
_SIGNATURES_MAX = 64
_NOTE_BYTES_MAX = 1_000_000
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")
_PROOF_HEADER = "c2sp.org/tlog-proof@v1"


class Malformed(ValueError):
    """Text in an invalid format; the message states what is wrong."""


class CheckpointSigner(Protocol):
    """Signs with Ed25519 without disclosing the private key."""

    @property
    def public_key(self) -> bytes: ...

    def sign(self, message: bytes) -> bytes: ...


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A name and the 32-byte Ed25519 public key that signs under it."""

    name: str
    public_key: bytes

    @property
    def key_id(self) -> bytes:
        """The four bytes that identify this key in a signature line."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public_key).digest()[:4]

    def text(self) -> str:
        """The `vkey` form: name, key id in hexadecimal, type and public key in base64, joined by plus signs."""
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(_ED25519 + self.public_key)}"


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line of a note."""

    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Note:
    """A text, ending in a newline, with the signatures under it."""

    text: str
    signatures: tuple[Signature, ...]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of a log: its origin, its number of leaves, and the root over them."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def text(self) -> str:
        """The text that is signed."""
        return "\n".join([self.origin, str(self.size), encode_base64(self.root), *self.extensions]) + "\n"


@dataclass(frozen=True, slots=True)
class TlogProof:
    """An inclusion proof as a file of its own; `extra` is not authenticated by it."""

    extra: bytes
    index: int
    hashes: tuple[bytes, ...]
    note: str

    def text(self) -> str:
        """The lines of the file."""
        extra = [f"extra {encode_base64(self.extra)}"] if self.extra else []
        lines = [_PROOF_HEADER, *extra, f"index {self.index}", *map(encode_base64, self.hashes)]
        return "\n".join(lines) + "\n\n" + self.note


def sign_checkpoint(checkpoint: Checkpoint, signer: CheckpointSigner) -> str:
    """The checkpoint as a note signed under its origin."""
    text = checkpoint.text()
    key = VerifierKey(checkpoint.origin, signer.public_key)
    return render_note(Note(text, (Signature(key.name, key.key_id, signer.sign(text.encode())),)))


def render_note(note: Note) -> str:
    """The text of a note with its signature lines."""
    lines = [f"— {line.name} {encode_base64(line.key_id + line.signature)}\n" for line in note.signatures]
    return note.text + "\n" + "".join(lines)


def parse_note(text: str) -> Note:
    """Parse a signed note. Raises Malformed."""
    if len(text) > _NOTE_BYTES_MAX or any(ord(symbol) < 0x20 and symbol != "\n" for symbol in text):
        raise Malformed("a note is text of at most 1 MB without control characters")
    body, found, tail = text.rpartition("\n\n")
    if not found or not body:
        raise Malformed("a note has an empty line between its text and its signatures")
    lines = tail.split("\n")
    if lines.pop() != "" or not lines:
        raise Malformed("a note ends with signature lines, each closed by a newline")
    if len(lines) > _SIGNATURES_MAX:
        raise Malformed(f"a note has at most {_SIGNATURES_MAX} signatures")
    return Note(body + "\n", tuple(map(_parse_signature, lines)))


def parse_checkpoint(text: str) -> Checkpoint:
    """Parse the text of a checkpoint (without signatures). Raises Malformed."""
    if not text.endswith("\n"):
        raise Malformed("a checkpoint ends in a newline")
    lines = text[:-1].split("\n")
    if len(lines) < 3 or not all(lines):
        raise Malformed("a checkpoint has an origin, a size and a root on lines of their own")
    origin, size, root, *extensions = lines
    return Checkpoint(origin, parse_number(size), parse_hash(root), tuple(extensions))


def parse_vkey(text: str) -> VerifierKey:
    """Parse a `vkey`. Raises Malformed if it is invalid, or if its key id does not match its key."""
    name, _, rest = text.strip().partition("+")
    key_id, _, encoded = rest.partition("+")
    material = decode_base64(encoded)
    if not is_key_name(name) or material[:1] != _ED25519 or len(material) != 1 + _PUBLIC_KEY_BYTES:
        raise Malformed("a verifier key is <name>+<key id>+<base64 of an Ed25519 public key>")
    key = VerifierKey(name, material[1:])
    if key.key_id.hex() != key_id:
        raise Malformed("the key id of the verifier key does not match its key")
    return key


def parse_tlog_proof(text: str) -> TlogProof:
    """Parse a tlog-proof file. Raises Malformed."""
    head, found, note = text.partition("\n\n")
    lines = head.split("\n")
    if not found or lines[0] != _PROOF_HEADER:
        raise Malformed(f"a proof begins with the line {_PROOF_HEADER} and holds a checkpoint after an empty line")
    rest = lines[1:]
    extra = b""
    if rest and rest[0].startswith("extra "):
        extra = decode_base64(rest.pop(0).removeprefix("extra "))
    if not rest or not rest[0].startswith("index "):
        raise Malformed("a proof names the index of its entry")
    index = parse_number(rest.pop(0).removeprefix("index "))
    return TlogProof(extra, index, tuple(map(parse_hash, rest)), note)


def is_key_name(name: str) -> bool:
    """Whether this may be the name of a key: not empty, no white space, no plus sign."""
    return bool(name) and "+" not in name and not any(symbol.isspace() for symbol in name)


def encode_base64(data: bytes) -> str:
    """Standard base64 with padding."""
    return base64.b64encode(data).decode("ascii")


def decode_base64(text: str) -> bytes:
    """Decode standard base64 in canonical form. Raises Malformed."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Malformed("invalid base64") from error
    if encode_base64(data) != text:
        raise Malformed("base64 is not in its canonical form")
    return data


def parse_hash(text: str) -> bytes:
    """Parse a SHA-256 hash in base64. Raises Malformed."""
    data = decode_base64(text)
    if len(data) != HASH_BYTES:
        raise Malformed("a hash has 32 bytes")
    return data


def parse_number(text: str) -> int:
    """Parse a whole number without leading zeros. Raises Malformed."""
    if not _NUMBER.fullmatch(text):
        raise Malformed("a number is written in decimal digits, without leading zeros")
    return int(text)


def _parse_signature(line: str) -> Signature:
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    data = decode_base64(encoded)
    if dash != "—" or not is_key_name(name) or len(data) < 5:
        raise Malformed("a signature line is: dash, key name, base64 of key id and signature")
    return Signature(name, data[:4], data[4:])
