"""Webhooks of a running ingest endpoint: deliveries that are signed as platforms sign them."""

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Any, Final

import httpx

from cdp.flows.hooks.manage import set_hook
from cdp.flows.operations.sources import create_source
from cdp.sources.hook import SignatureScheme, secret_key
from cdp.sources.model import SourceKind
from tests.support.ingest_endpoint import IngestEndpoint
from tests.support.waits import PATIENCE_SECONDS

SECRETS: Final = {
    SignatureScheme.STANDARD: "whsec_" + base64.b64encode(b"standard webhooks secret").decode(),
    SignatureScheme.SHOPIFY: "shpss_0123456789abcdef",
    SignatureScheme.STRIPE: "whsec_0123456789abcdef",
    SignatureScheme.GITHUB: "It's a Secret to Everybody",
    SignatureScheme.WOOCOMMERCE: "woo 0123456789abcdef",
    SignatureScheme.BASIC: "hook:0123456789abcdef",
}


NAMED: Final = {
    SignatureScheme.STANDARD: (
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
        "svix-id",
        "svix-timestamp",
        "svix-signature",
    ),
    SignatureScheme.SHOPIFY: ("x-shopify-hmac-sha256", "x-shopify-webhook-id"),
    SignatureScheme.STRIPE: ("stripe-signature",),
    SignatureScheme.GITHUB: ("x-hub-signature-256", "x-github-delivery"),
    SignatureScheme.WOOCOMMERCE: ("x-wc-webhook-signature", "x-wc-webhook-delivery-id"),
    SignatureScheme.BASIC: ("authorization",),
}
"""The headers that each scheme reads."""


def body_of(document: Any) -> bytes:
    """A document as it is sent; bytes as they are."""
    return document if isinstance(document, bytes) else json.dumps(document).encode()


@dataclass(frozen=True, slots=True)
class Webhook:
    """The webhook of one source, and its platform."""

    endpoint: IngestEndpoint
    name: str
    scheme: SignatureScheme
    secret: str

    @property
    def url(self) -> str:
        return f"{self.endpoint.url}/v1/hook/{self.name}"

    def headers(self, body: bytes, *, delivery: str = "delivery-0001") -> dict[str, str]:
        """The headers with which the platform signs a body now."""
        key, at = secret_key(self.scheme, self.secret), str(int(self.endpoint.context.clock.now().timestamp()))

        def mac(content: bytes) -> bytes:
            return hmac.new(key, content, hashlib.sha256).digest()

        match self.scheme:
            case SignatureScheme.STANDARD:
                signature = base64.b64encode(mac(f"{delivery}.{at}.".encode() + body)).decode()
                return {"webhook-id": delivery, "webhook-timestamp": at, "webhook-signature": f"v1,{signature}"}
            case SignatureScheme.STRIPE:
                return {"stripe-signature": f"t={at},v1={mac(f'{at}.'.encode() + body).hex()}"}
            case SignatureScheme.SHOPIFY:
                signature = base64.b64encode(mac(body)).decode()
                return {"x-shopify-hmac-sha256": signature, "x-shopify-webhook-id": delivery}
            case SignatureScheme.GITHUB:
                return {"x-hub-signature-256": f"sha256={mac(body).hex()}", "x-github-delivery": delivery}
            case SignatureScheme.WOOCOMMERCE:
                signature = base64.b64encode(mac(body)).decode()
                return {"x-wc-webhook-signature": signature, "x-wc-webhook-delivery-id": delivery}
            case SignatureScheme.BASIC:
                return {"authorization": "Basic " + base64.b64encode(key).decode()}

    def deliver(self, document: Any, *, delivery: str = "delivery-0001", **headers: str) -> httpx.Response:
        """Deliver a document; `x_shopify_topic="orders/create"` adds the header of that name."""
        body = body_of(document)
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.send(body, {**self.headers(body, delivery=delivery), **more})

    def send(self, body: bytes, headers: dict[str, str]) -> httpx.Response:
        """Deliver a body with exactly these headers."""
        return httpx.post(self.url, content=body, headers=headers, timeout=PATIENCE_SECONDS)


def open_webhook(
    endpoint: IngestEndpoint,
    mapping: str,
    scheme: SignatureScheme = SignatureScheme.SHOPIFY,
    *,
    name: str = "shop",
    **given: Any,
) -> Webhook:
    """A new server source with a webhook."""
    create_source(endpoint.context, name, kind=SourceKind.SERVER, jurisdiction="eu", **given)
    set_hook(endpoint.context, name, scheme, mapping=mapping, secrets=[SECRETS[scheme]])
    return Webhook(endpoint, name, scheme, SECRETS[scheme])
