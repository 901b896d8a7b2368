"""Deliveries are verified as each scheme says, and nothing else passes."""

import base64
import hashlib
import hmac
from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp.sources.hook import SignatureScheme, UnusableSecret, secret_key
from cdp.wire.signatures import SignedRequest, VerifiedSender, headers_of, verify
from tests.support.people import NOON

BODY = b'{"id":1,"note":"\xc3\xa4 \xff"}'
SECRETS = {
    SignatureScheme.STANDARD: "whsec_" + base64.b64encode(b"k" * 32).decode(),
    SignatureScheme.SHOPIFY: "shpss_0123456789abcdef",
    SignatureScheme.STRIPE: "whsec_0123456789abcdef",
    SignatureScheme.GITHUB: "It's a Secret to Everybody",
    SignatureScheme.WOOCOMMERCE: "0123456789 abcdef <&>",
    SignatureScheme.BASIC: "shop:0123456789abcdef",
}
AT = str(int(NOON.timestamp())).encode()
Headers = dict[bytes, bytes]


def mac(key: bytes, content: bytes) -> bytes:
    return hmac.new(key, content, hashlib.sha256).digest()


def standard(key: bytes, body: bytes, at: bytes = AT) -> Headers:
    signature = b"v1," + base64.b64encode(mac(key, b"msg_1." + at + b"." + body))
    return {b"webhook-id": b"msg_1", b"webhook-timestamp": at, b"webhook-signature": signature}


def stripe(key: bytes, body: bytes, at: bytes = AT) -> Headers:
    return {b"stripe-signature": b"t=" + at + b",v1=" + mac(key, at + b"." + body).hex().encode()}


SIGNERS: dict[SignatureScheme, Callable[[bytes, bytes], Headers]] = {
    SignatureScheme.STANDARD: standard,
    SignatureScheme.SHOPIFY: lambda key, body: {b"x-shopify-hmac-sha256": base64.b64encode(mac(key, body))},
    SignatureScheme.STRIPE: stripe,
    SignatureScheme.GITHUB: lambda key, body: {b"x-hub-signature-256": b"sha256=" + mac(key, body).hex().encode()},
    SignatureScheme.WOOCOMMERCE: lambda key, body: {b"x-wc-webhook-signature": base64.b64encode(mac(key, body))},
    SignatureScheme.BASIC: lambda key, _body: {b"authorization": b"Basic " + base64.b64encode(key)},
}
EVERY = pytest.mark.parametrize("scheme", SignatureScheme)
SIGNING = [scheme for scheme in SignatureScheme if scheme is not SignatureScheme.BASIC]


def key_of(scheme: SignatureScheme) -> bytes:
    return secret_key(scheme, SECRETS[scheme])


def check(
    scheme: SignatureScheme, headers: Headers, body: bytes = BODY, *, late: int = 0, keys: tuple[bytes, ...] = ()
) -> VerifiedSender | None:
    now = NOON + timedelta(seconds=late)
    return verify(scheme, keys or (key_of(scheme),), SignedRequest(headers, body), window_seconds=300, now=now)


@EVERY
def test_what_is_signed_passes_in_any_case_of_its_headers(scheme: SignatureScheme) -> None:
    signed = SIGNERS[scheme](key_of(scheme), BODY)
    shouted = headers_of((name.upper(), b" " + value + b" ") for name, value in signed.items())
    assert check(scheme, signed) == check(scheme, shouted) is not None


@EVERY
def test_another_secret_body_or_no_header_does_not(scheme: SignatureScheme) -> None:
    signed = SIGNERS[scheme](key_of(scheme), BODY)
    assert check(scheme, SIGNERS[scheme](b"another:" + key_of(scheme), BODY)) is None
    assert check(scheme, {}) is None
    for name in signed:
        assert check(scheme, {key: value for key, value in signed.items() if key != name}) is None
        assert check(scheme, headers_of([*signed.items(), (name, signed[name])])) is None, "which one is meant?"
    if scheme is not SignatureScheme.BASIC:
        assert check(scheme, signed, BODY + b" ") is None
        assert check(scheme, signed, b"") is None


@EVERY
def test_each_of_two_secrets_is_valid_and_no_third(scheme: SignatureScheme) -> None:
    old, new, other = (b"a:" + bytes([value]) * 32 for value in b"onx")
    for key in (old, new):
        assert check(scheme, SIGNERS[scheme](key, BODY), keys=(new, old))
    assert check(scheme, SIGNERS[scheme](other, BODY), keys=(new, old)) is None
    assert check(scheme, SIGNERS[scheme](old, BODY), keys=(new,)) is None
    assert verify(scheme, (), SignedRequest(SIGNERS[scheme](old, BODY), BODY), window_seconds=300, now=NOON) is None


@pytest.mark.parametrize("scheme", SIGNING)
@given(place=st.integers(0, len(BODY) - 1), other=st.integers(1, 255))
def test_any_other_byte_of_the_body_fails(scheme: SignatureScheme, place: int, other: int) -> None:
    changed = BODY[:place] + bytes([BODY[place] ^ other]) + BODY[place + 1 :]
    assert check(scheme, SIGNERS[scheme](key_of(scheme), BODY), changed) is None


@EVERY
@given(data=st.data())
def test_any_other_byte_of_a_header_fails(scheme: SignatureScheme, data: st.DataObject) -> None:
    signed = SIGNERS[scheme](key_of(scheme), BODY)
    name = data.draw(st.sampled_from(sorted(signed)))
    value = signed[name]
    place = data.draw(st.integers(0, len(value) - 1))
    changed = value[:place] + bytes([value[place] ^ data.draw(st.integers(1, 255))]) + value[place + 1 :]
    before = check(scheme, signed)
    after = check(scheme, {**signed, name: changed})
    is_same_scheme = scheme is SignatureScheme.BASIC and changed[:6].lower() == b"basic " and changed[6:] == value[6:]
    assert before is not None
    assert after is None or is_same_scheme


@given(
    headers=st.dictionaries(
        st.sampled_from(sorted({name for sign in SIGNERS.values() for name in sign(b"k:k", b"")})),
        st.binary(max_size=80),
    ),
    body=st.binary(max_size=40),
)
def test_whatever_the_headers_are_nothing_is_raised(headers: Headers, body: bytes) -> None:
    for scheme in SignatureScheme:
        assert check(scheme, headers, body) is None


@pytest.mark.parametrize("sign", [standard, stripe])
def test_the_signed_time_is_in_the_window_on_both_sides(sign: Callable[[bytes, bytes], Headers]) -> None:
    scheme = SignatureScheme.STANDARD if sign is standard else SignatureScheme.STRIPE
    signed = sign(key_of(scheme), BODY)
    assert [bool(check(scheme, signed, late=late)) for late in (-301, -300, 0, 300, 301)] == [
        False, True, True, True, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "at", [b"1.7e9", b"1764504000.5", b"+1764504000", b" 1764504000", b"", b"-1", b"9" * 400, "١".encode()]
)
def test_a_time_is_whole_seconds_in_digits(at: bytes) -> None:
    for scheme, sign in ((SignatureScheme.STANDARD, standard), (SignatureScheme.STRIPE, stripe)):
        assert check(scheme, sign(key_of(scheme), BODY, at)) is None


def test_signatures_of_other_versions_stand_beside_the_right_one() -> None:
    key = key_of(SignatureScheme.STANDARD)
    signed = standard(key, BODY)
    right = signed[b"webhook-signature"]
    for others in (b"v1a,abc " + right, right + b" v2,x", b"nocomma " + right, b", ,, v1, " + right, right + b" v1"):
        assert check(SignatureScheme.STANDARD, {**signed, b"webhook-signature": others})
    for wrong in (right.replace(b"v1", b"v1a"), right.replace(b"v1", b"V1"), right.replace(b",", b""), b"v1,", b" "):
        assert check(SignatureScheme.STANDARD, {**signed, b"webhook-signature": wrong}) is None


def test_svix_names_its_headers_itself() -> None:
    signed = standard(key_of(SignatureScheme.STANDARD), BODY)
    renamed = {name.replace(b"webhook-", b"svix-"): value for name, value in signed.items()}
    assert check(SignatureScheme.STANDARD, renamed) == VerifiedSender("msg_1", "msg_1")
    assert check(SignatureScheme.STANDARD, {**renamed, b"webhook-signature": b"v1,x"}) is None


def test_what_is_signed_cannot_be_divided_otherwise() -> None:
    """An id that ends in a part of the body, with a time that the body contains, has the same signed bytes."""
    inner = b'{"name":"x.' + AT + b'.{}"}'
    signed = standard(key_of(SignatureScheme.STANDARD), inner)
    moved = {**signed, b"webhook-id": b"msg_1." + AT + b'.{"name":"x'}
    assert check(SignatureScheme.STANDARD, moved, b'{}"}') is None


def test_names_of_deliveries_are_shown_and_only_signed_ones_identify() -> None:
    for scheme, header in (
        (SignatureScheme.SHOPIFY, b"x-shopify-webhook-id"),
        (SignatureScheme.GITHUB, b"x-github-delivery"),
        (SignatureScheme.WOOCOMMERCE, b"x-wc-webhook-delivery-id"),
    ):
        signed = SIGNERS[scheme](key_of(scheme), BODY)
        assert check(scheme, {**signed, header: b"b54557e4"}) == VerifiedSender("", "b54557e4")
    assert check(SignatureScheme.STANDARD, standard(key_of(SignatureScheme.STANDARD), BODY)) == VerifiedSender(
        "msg_1", "msg_1"
    )


def test_stripe_may_sign_with_two_secrets_and_older_versions() -> None:
    key = key_of(SignatureScheme.STRIPE)
    right = stripe(key, BODY)[b"stripe-signature"]
    other = stripe(b"x" * 20, BODY)[b"stripe-signature"].partition(b",")[2]
    for header in (
        right + b"," + other,
        right.replace(b",", b"," + other + b","),
        right + b",v0=abc",
        b"scheme," + right,
    ):
        assert check(SignatureScheme.STRIPE, {b"stripe-signature": header})
    for header in (right.replace(b"v1=", b"v0="), right + b",t=1", right.partition(b",")[2]):
        assert check(SignatureScheme.STRIPE, {b"stripe-signature": header}) is None


@pytest.mark.parametrize(
    ("scheme", "secret"),
    [
        (SignatureScheme.STANDARD, "whsec_" + base64.b64encode(b"k" * 23).decode()),
        (SignatureScheme.STANDARD, "whsec_" + base64.b64encode(b"k" * 65).decode()),
        (SignatureScheme.STANDARD, "whsec_" + base64.urlsafe_b64encode(b"\xff\xfe" * 16).decode()),
        (SignatureScheme.STANDARD, "whsec_ä" + base64.b64encode(b"k" * 32).decode()),
        (SignatureScheme.STANDARD, ""),
        (SignatureScheme.SHOPIFY, "short"),
        (SignatureScheme.STRIPE, "x" * 257),
        (SignatureScheme.GITHUB, "0123456789abcdef\n"),
        (SignatureScheme.BASIC, "0123456789abcdef"),
        (SignatureScheme.BASIC, "name-0123456789abcdef:short"),
        (SignatureScheme.BASIC, ":0123456789abcdef"),
    ],
)
def test_a_secret_that_cannot_be_used_is_refused_without_naming_it(scheme: SignatureScheme, secret: str) -> None:
    with pytest.raises(UnusableSecret) as caught:
        secret_key(scheme, secret)
    assert not secret or secret not in str(caught.value)


def test_the_padding_of_a_secret_may_be_missing() -> None:
    padded = "whsec_" + base64.b64encode(b"k" * 32).decode()
    keys = {secret_key(SignatureScheme.STANDARD, secret) for secret in (padded, padded.rstrip("="), padded[6:])}
    assert keys == {b"k" * 32}
