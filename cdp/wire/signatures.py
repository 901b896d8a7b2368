"""Signatures of webhooks: whether a delivery was sent by who knows a secret. Pure.

What is compared is compared in constant time, and the body is hashed for every secret whatever else is wrong, so that the
time of the answer says nothing either. Sources: the specification of Standard Webhooks; what Shopify, Stripe, GitHub and WooCommerce
document, and their own libraries, against which tests run.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Final

from cdp.sources.hook import SECRETS_MAX, SignatureScheme

_DECOY: Final = b"no secret has this value: it takes the time of one"
_SECONDS: Final = re.compile(rb"[0-9]{1,12}")
_ID: Final = re.compile(rb"[A-Za-z0-9._:~-]{1,256}")
"""What an id may be, which is signed before a dot, the time, a dot and the body: none of it could be part of a JSON body."""
_DELIVERY_HEADERS: Final = {
    SignatureScheme.SHOPIFY: b"x-shopify-webhook-id",
    SignatureScheme.GITHUB: b"x-github-delivery",
    SignatureScheme.WOOCOMMERCE: b"x-wc-webhook-delivery-id",
}
"""Headers that name a delivery without being signed: they are shown, and decide nothing."""


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """The body and the headers of a request by their lower-case names, as they came. One that came twice has no value."""

    headers: Mapping[bytes, bytes]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class StatedSignature:
    """What a request states to prove its sender: `content` is what must have been signed, `given` are the signatures.

    `at` is the signed time in Unix seconds, None where the scheme has none; `encode` writes a digest as the scheme does.
    """

    content: bytes = field(repr=False)
    given: tuple[bytes, ...] = ()
    encode: Callable[[bytes], bytes] = base64.b64encode
    at: int | None = None
    signed_id: str = ""


@dataclass(frozen=True, slots=True)
class VerifiedSender:
    """A delivery whose sender knows a secret. `signed_id` is empty where the scheme does not sign an id of its own.

    `delivery` is how the sender names the delivery, signed or not: for people who look for it.
    """

    signed_id: str
    delivery: str


def headers_of(pairs: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """The headers by lower-case name; of those that came twice, none, because it is not clear which is meant."""
    found: dict[bytes, bytes] = {}
    repeated = set()
    for name, value in pairs:
        key = name.lower()
        if key in found:
            repeated.add(key)
        found[key] = value.strip()
    return {name: value for name, value in found.items() if name not in repeated}


def verify(
    scheme: SignatureScheme, keys: Sequence[bytes], request: SignedRequest, *, window_seconds: int, now: datetime
) -> VerifiedSender | None:
    """What is known of a delivery whose signature is right and whose time is in the window; None for every other one."""
    stated = _READERS[scheme](request)
    is_right = False
    for key in (*keys, *[_DECOY] * SECRETS_MAX)[:SECRETS_MAX]:
        digest = hmac.digest(key, stated.content, "sha256")
        expected = stated.encode(digest) if scheme is not SignatureScheme.BASIC else sha256(key).digest()
        for given in stated.given:
            is_right |= hmac.compare_digest(expected, given) and key is not _DECOY
    if not is_right:
        return None
    if scheme.signs_time and (stated.at is None or abs(stated.at - now.timestamp()) > window_seconds):
        return None
    named = request.headers.get(_DELIVERY_HEADERS.get(scheme, b""), b"").decode("latin-1")
    return VerifiedSender(stated.signed_id, stated.signed_id or named)


def _standard(request: SignedRequest) -> StatedSignature:
    prefix = b"webhook-" if b"webhook-signature" in request.headers else b"svix-"
    signed_id, at, signatures = (
        request.headers.get(prefix + name, b"") for name in (b"id", b"timestamp", b"signature")
    )
    content = b".".join((signed_id, at, request.body))
    if not _ID.fullmatch(signed_id) or not _SECONDS.fullmatch(at):
        return StatedSignature(content)
    parts = (part.partition(b",") for part in signatures.split())
    given = tuple(value for version, comma, value in parts if version == b"v1" and comma)
    return StatedSignature(content, given, at=int(at), signed_id=signed_id.decode())


def _stripe(request: SignedRequest) -> StatedSignature:
    pairs = [(name.strip(), value.strip()) for name, _, value in _pairs(request.headers.get(b"stripe-signature", b""))]
    times = [value for name, value in pairs if name == b"t"]
    at = times[0] if len(times) == 1 else b""
    content = b".".join((at, request.body))
    if not _SECONDS.fullmatch(at):
        return StatedSignature(content)
    return StatedSignature(content, tuple(value for name, value in pairs if name == b"v1"), _hexadecimal, at=int(at))


def _pairs(header: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    return (part.partition(b"=") for part in header.split(b","))


def _of_body(header: bytes, *, start: bytes = b"", encode: Callable[[bytes], bytes] = base64.b64encode) -> "_Reader":
    def read(request: SignedRequest) -> StatedSignature:
        value = request.headers.get(header, b"")
        given = (value[len(start) :],) if value and value.startswith(start) else ()
        return StatedSignature(request.body, given, encode)

    return read


def _basic(request: SignedRequest) -> StatedSignature:
    scheme, _, credentials = request.headers.get(b"authorization", b"").partition(b" ")
    try:
        decoded = base64.b64decode(credentials.strip(), validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    is_basic = scheme.lower() == b"basic" and bool(decoded)
    return StatedSignature(request.body, (sha256(decoded).digest(),) if is_basic else ())


def _hexadecimal(digest: bytes) -> bytes:
    return digest.hex().encode()


_Reader = Callable[[SignedRequest], StatedSignature]
_READERS: Final[Mapping[SignatureScheme, _Reader]] = {
    SignatureScheme.STANDARD: _standard,
    SignatureScheme.SHOPIFY: _of_body(b"x-shopify-hmac-sha256"),
    SignatureScheme.STRIPE: _stripe,
    SignatureScheme.GITHUB: _of_body(b"x-hub-signature-256", start=b"sha256=", encode=_hexadecimal),
    SignatureScheme.WOOCOMMERCE: _of_body(b"x-wc-webhook-signature"),
    SignatureScheme.BASIC: _basic,
}
