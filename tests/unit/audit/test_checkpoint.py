"""Signed notes, checkpoints, verifier keys and proof files: read what is right, refuse what is not."""

import pytest

from cdp.audit.checkpoint import (
    Checkpoint,
    Malformed,
    Note,
    Signature,
    TlogProof,
    VerifierKey,
    parse_checkpoint,
    parse_note,
    parse_tlog_proof,
    parse_vkey,
    render_note,
    sign_checkpoint,
)
from cdp.vault.sign import Signer, is_signed

HEAD = Checkpoint("log.example/1", 7, bytes(range(32)))


def test_a_signed_checkpoint_is_read_back_and_its_signature_holds() -> None:
    signer = Signer(b"\x05" * 32)

    note = parse_note(sign_checkpoint(HEAD, signer))

    (line,) = note.signatures
    assert parse_checkpoint(note.text) == HEAD
    assert (line.name, line.key_id) == (HEAD.origin, VerifierKey(HEAD.origin, signer.public_key).key_id)
    assert is_signed(signer.public_key, note.text.encode(), line.signature)


def test_extension_lines_are_kept() -> None:
    head = Checkpoint("log.example/1", 0, bytes(32), ("first", "second"))

    assert parse_checkpoint(head.text()) == head


def test_a_note_keeps_several_signatures_and_empty_lines_in_its_text() -> None:
    note = Note("one\n\ntwo\n", tuple(Signature(f"key{number}", b"1234", b"x" * 64) for number in range(16)))

    assert parse_note(render_note(note)) == note


@pytest.mark.parametrize(
    "text",
    [
        "",
        "text only\n",
        "text\n\n",
        "text\n\n— name AAAAAAAA",
        "text\n\n- name AAAAAAAA\n",
        "text\n\n— AAAAAAAA\n",
        "text\n\n— na+me AAAAAAAA\n",
        "text\n\n— name AAAA\n",
        "text\n\n— name AAAAAAA\n",
        "text\n\n— name AAAAAAB=\n",
        "te\rxt\n\n— name AAAAAAAA\n",
        "te\0xt\n\n— name AAAAAAAA\n",
        "text\n\n" + "— name AAAAAAAA\n" * 65,
        "x" * 1_000_001,
    ],
)
def test_what_is_no_note_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        parse_note(text)


@pytest.mark.parametrize(
    "text",
    [
        "origin\n7\n",
        "origin\n07\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
        "origin\n-7\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
        "origin\n7\nAAAA\n",
        "\n7\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
        "origin\n7\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "origin\n7\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\nmore\n",
        "origin\n99999999999999999999\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        parse_checkpoint(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name+12345678",
        "name+00000000+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+530d903a+AukyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3Q==",
        "example.com foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
    ],
)
def test_what_is_no_verifier_key_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        parse_vkey(text)


@pytest.mark.parametrize("extra", [b"", b'{"a":1}'])
def test_a_proof_file_is_read_back(extra: bytes) -> None:
    proof = TlogProof(extra, 5, (b"\x01" * 32, b"\x02" * 32), sign_checkpoint(HEAD, Signer(b"\x05" * 32)))

    assert parse_tlog_proof(proof.text()) == proof


@pytest.mark.parametrize(
    "text",
    ["", "c2sp.org/tlog-proof@v1\n\nnote", "c2sp.org/tlog-proof@v2\nindex 1\n\nnote", "c2sp.org/tlog-proof@v1\nindex x\n\nnote",
     "c2sp.org/tlog-proof@v1\nindex 1\nAAAA\n\nnote", "c2sp.org/tlog-proof@v1\nindex 1\n"],
)  # fmt: skip
def test_what_is_no_proof_file_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        parse_tlog_proof(text)
