"""Ed25519 by the test vectors of RFC 8032, section 7.1."""

import pytest

from cdp.vault.sign import Signer, is_signed

VECTORS = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
]


@pytest.mark.parametrize(("seed", "public_key", "message", "signature"), VECTORS)
def test_vectors_of_the_rfc(seed: str, public_key: str, message: str, signature: str) -> None:
    signer = Signer(bytes.fromhex(seed))

    assert signer.public_key.hex() == public_key
    assert signer.sign(bytes.fromhex(message)).hex() == signature
    assert is_signed(signer.public_key, bytes.fromhex(message), bytes.fromhex(signature))


def test_nothing_else_is_signed() -> None:
    signer = Signer(b"s" * 32)
    signature = signer.sign(b"message")

    assert not is_signed(signer.public_key, b"massage", signature)
    assert not is_signed(signer.public_key, b"message", signature[:-1])
    assert not is_signed(signer.public_key, b"message", b"")
    assert not is_signed(Signer(b"t" * 32).public_key, b"message", signature)
    assert not is_signed(b"too short", b"message", signature)
