"""The head of an ingest request (write keys, encoding, signals), and the responses of the ingest endpoint."""

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs

import msgspec
from starlette.types import Scope, Send

from cdp.consent.signals.gpc import has_gpc
from cdp.consent.signals.model import NO_REQUEST_SIGNALS, RequestSignals
from cdp.consent.signals.request import PARAMETERS
from cdp.kit.errors import Fault
from cdp.wire.ga4 import PARAMETERS_MAX, TOO_MANY_PARAMETERS
from cdp.wire.request_refusal import RequestRefused

Headers = Iterable[tuple[bytes, bytes]]

_ORIGIN: Final = (b"access-control-allow-origin", b"*")
_NOT_GUESSED: Final = (b"x-content-type-options", b"nosniff")
_JSON: Final = (b"content-type", b"application/json")
_PROBLEM: Final = (b"content-type", b"application/problem+json")
_SUCCESS: Final = b'{"success": true}'
_SUCCESS_HEADERS: Final = [_JSON, (b"content-length", str(len(_SUCCESS)).encode()), _ORIGIN, _NOT_GUESSED]
_SUCCESS_START: Final = {"type": "http.response.start", "status": 200, "headers": _SUCCESS_HEADERS}
_SUCCESS_BODY: Final = {"type": "http.response.body", "body": _SUCCESS}
_PREFLIGHT_HEADERS: Final = [
    _ORIGIN,
    _NOT_GUESSED,
    (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
    (
        b"access-control-allow-headers",
        b"authorization, content-type, content-encoding, anonymousid, sentat, x-retry-count, x-write-key",
    ),
    (b"access-control-expose-headers", b"retry-after"),
    (b"access-control-max-age", b"86400"),
]

MALFORMED_AUTHORIZATION: Final = RequestRefused(
    "authorization_malformed", "Authorization must be Basic with the write key as user name and an empty password."
)
_UNSUPPORTED_ENCODING: Final = RequestRefused("unsupported_encoding", "Content-Encoding must be gzip, once, or absent.")
WRITE_KEYS_DISAGREE: Final = RequestRefused(
    "write_keys_disagree", "Authorization, X-Write-Key, ?writeKey= and the body name different write keys."
)


@dataclass(frozen=True, slots=True)
class RequestHead:
    """The request without its body. `write_key` is None when only the body may name one."""

    write_key: str | None
    is_gzip: bool
    has_gpc: bool
    signals: RequestSignals
    content_length: int


def read_head(
    scope: Scope, *, path_key: str | None = None, key_parameter: str | None = None
) -> RequestHead | RequestRefused:
    """Read the headers and the query of a request; its path or a further parameter may have the write key, too."""
    keys = {path_key or ""}
    is_gzip = False
    gpc: list[str] = []
    cookies: list[str] = []
    content_length = 0
    for name, value in scope["headers"]:
        if name == b"authorization":
            key = _basic_name(value)
            if key is None:
                return MALFORMED_AUTHORIZATION
            keys.add(key)
        elif name == b"x-write-key":
            keys.add(value.decode("latin-1").strip())
        elif name == b"content-encoding":
            encoding = gzip_of(value)
            if isinstance(encoding, RequestRefused) or (encoding and is_gzip):
                return _UNSUPPORTED_ENCODING
            is_gzip = is_gzip or encoding
        elif name == b"sec-gpc":
            gpc.extend(part.strip() for part in value.decode("latin-1").split(","))
        elif name == b"cookie":
            cookies.append(value.decode("latin-1"))
        elif name == b"content-length":
            content_length = int(value) if value.isdigit() else 0
    query = _read_query(scope["query_string"])
    if isinstance(query, RequestRefused):
        return query
    keys.update(query.get("writeKey", ()), query.get(key_parameter or "", ()))
    stated = tuple((name, value) for name in PARAMETERS & query.keys() for value in query[name])
    keys.discard("")
    if len(keys) > 1:
        return WRITE_KEYS_DISAGREE
    signals = RequestSignals("; ".join(cookies), stated) if cookies or stated else NO_REQUEST_SIGNALS
    return RequestHead(keys.pop() if keys else None, is_gzip, has_gpc(gpc), signals, content_length)


def gzip_of(value: bytes) -> bool | RequestRefused:
    """Whether a Content-Encoding says that the body is compressed with gzip."""
    encodings = [part.strip() for part in value.lower().split(b",")]
    encodings = [encoding for encoding in encodings if encoding not in (b"", b"identity")]
    is_known = len(encodings) <= 1 and set(encodings) <= {b"gzip", b"x-gzip"}
    return bool(encodings) if is_known else _UNSUPPORTED_ENCODING


def _read_query(text: bytes) -> Mapping[str, list[str]] | RequestRefused:
    if not text:
        return {}
    try:
        return parse_qs(text.decode("latin-1"), errors="replace", max_num_fields=PARAMETERS_MAX)
    except ValueError:
        return TOO_MANY_PARAMETERS


def _basic_name(value: bytes) -> str | None:
    """The user name of Basic credentials, empty for another scheme, None when they are malformed."""
    scheme, _, credentials = value.strip().partition(b" ")
    if scheme.lower() != b"basic":
        return ""
    try:
        name, _, _ = base64.b64decode(credentials.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return name


async def send_success(send: Send) -> None:
    """Exactly 200 and `{"success": true}`: what every SDK treats as stored."""
    await send(_SUCCESS_START)
    await send(_SUCCESS_BODY)


async def send_nothing(send: Send) -> None:
    """204, as Google's endpoints answer: what is sent to them expects no body."""
    await send({"type": "http.response.start", "status": 204, "headers": [_ORIGIN, _NOT_GUESSED]})
    await send({"type": "http.response.body", "body": b""})


async def send_preflight(send: Send) -> None:
    """Allow any origin: write keys in browsers are public, and cookies are ignored here."""
    await send({"type": "http.response.start", "status": 204, "headers": _PREFLIGHT_HEADERS})
    await send({"type": "http.response.body", "body": b""})


async def send_json(send: Send, content: Mapping[str, object]) -> None:
    """A JSON response other than the success document."""
    body = msgspec.json.encode(content)
    headers = [
        _JSON,
        (b"content-length", str(len(body)).encode()),
        _ORIGIN,
        _NOT_GUESSED,
        (b"cache-control", b"no-cache"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def send_refused(
    send: Send,
    status: int,
    refused: RequestRefused,
    *,
    retry_after_seconds: int | None = None,
    allow: str | None = None,
) -> None:
    """A problem document with the `code` and `message` that SDKs read."""
    body = msgspec.json.encode(
        {
            "success": False,
            "code": refused.code,
            "message": refused.message,
            "type": "about:blank",
            "title": refused.code.replace("_", " "),
            "status": status,
            "detail": refused.message,
        }
    )
    headers = [_PROBLEM, (b"content-length", str(len(body)).encode()), _ORIGIN, _NOT_GUESSED]
    if retry_after_seconds is not None:
        headers.append((b"retry-after", str(retry_after_seconds).encode()))
        headers.append((b"access-control-expose-headers", b"retry-after"))
    if status == 401:
        headers.append((b"www-authenticate", b'Basic realm="ingest"'))
    if allow is not None:
        headers.append((b"allow", allow.encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def send_fault(send: Send, fault: Fault) -> None:
    """The response to a request that cannot be handled now; the client may send it again later."""
    message = f"{fault.title}. {fault.caller_detail}".strip()
    await send_refused(
        send, fault.status, RequestRefused(fault.code, message), retry_after_seconds=fault.retry_after_seconds
    )
