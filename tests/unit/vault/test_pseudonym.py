"""Pseudonyms recomputed with the standard library, domains that cannot be joined, and the hashed forms of protocols."""

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp.vault.pseudonym import GRAPH, SUPPRESSION, KeyedHash, destination, hashed_forms, names_of_forms, type_key

ROOT = bytes(range(32))


def hkdf_sha256(key: bytes, info: bytes) -> bytes:
    """RFC 5869 for one block, with the empty salt."""
    extracted = hmac.digest(b"\0" * 32, key, hashlib.sha256)
    return hmac.digest(extracted, info + b"\x01", hashlib.sha256)


@given(st.sampled_from(["email", "phone", "user_id"]), st.text(max_size=40))
def test_a_pseudonym_is_hmac_over_type_and_value_under_the_key_of_the_type(kind: str, value: str) -> None:
    key = hkdf_sha256(ROOT, b"cdp/pseudonym/v1\0" + kind.encode())
    raw = value.encode("utf-8", "surrogatepass")
    expected = hmac.digest(key, kind.encode() + b"\0" + raw, hashlib.sha256)

    keyed = KeyedHash(ROOT)

    assert type_key(ROOT, kind) == key
    assert keyed.of(kind, raw) == expected
    assert keyed.of_many(kind, [raw, raw]) == [expected, expected]


def test_types_values_and_root_keys_are_kept_apart() -> None:
    pseudonyms = {
        KeyedHash(root).of(kind, value)
        for root in (ROOT, bytes(32))
        for kind in ("email", "user_id", "e")
        for value in (b"ana@example.com", b"", b"mail\0x")
    }

    assert len(pseudonyms) == 18


def test_domains_have_keys_of_their_own() -> None:
    assert len({destination("mailer"), destination("printer"), GRAPH, SUPPRESSION}) == 4


def test_hashed_forms_of_an_email() -> None:
    forms = dict(hashed_forms("email", "test@example.com"))

    assert forms == {
        "email.md5": bytes.fromhex("55502f40dc8b7c769880b10874abc9d0"),
        "email.sha1": bytes.fromhex("567159d622ffbb50b11b0efd307be358624a26ee"),
        "email.sha256": bytes.fromhex("973dfe463ec85785f5f95af5ba3906eedb2d931c24e69824a89ea65dba4e813b"),
    }


@pytest.mark.parametrize(
    ("phone", "drop"),
    [
        ("+14155559317", "vGM7y5n+hBXRSEAklhHDPCbysyNgYTmXdMcagGUOY8E="),
        ("+84901234567", "ptzVkgbv9DonwvPCHmXmJ2SEOaolSh37z3ZzY/Gmm+U="),
    ],
)
def test_hashed_forms_of_a_phone_hold_the_one_that_drop_sends(phone: str, drop: str) -> None:
    forms = dict(hashed_forms("phone", phone))

    assert base64.b64encode(forms["phone.drop"]).decode() == drop
    assert forms["phone.sha256"] == hashlib.sha256(phone.encode()).digest()
    assert forms["phone.digits.md5"] == hashlib.md5(phone[1:].encode()).digest()
    assert len(forms) == 7


def test_a_number_with_an_extension_has_no_hashed_form_of_another_number() -> None:
    assert hashed_forms("phone", "+14155550123;ext=22") == ()


def test_other_types_have_no_hashed_forms() -> None:
    assert hashed_forms("anonymous_id", "x") == ()
    assert names_of_forms("anonymous_id", "sha256") == ()


@pytest.mark.parametrize(
    ("kind", "protocol", "names"),
    [
        ("email", "sha256", ("email.sha256",)),
        ("email", "drop", ("email.sha256",)),
        ("phone", "drop", ("phone.drop",)),
        ("phone", "md5", ("phone.md5", "phone.digits.md5")),
        ("email", "sha512", ()),
    ],
)
def test_a_received_hash_is_looked_up_under_the_forms_of_its_protocol(
    kind: str, protocol: str, names: tuple[str, ...]
) -> None:
    assert names_of_forms(kind, protocol) == names
    assert set(names) <= {form.name for form in hashed_forms(kind, "value")}
