"""Requests that are wrong in every way that a seed finds: in JSON, in HTTP, in what they ask; and how each was answered."""

import asyncio
import copy
import gzip
import json
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

CONNECTIONS: Final = 32
_TOLD_EVERY: Final = 10_000
_ADDRESSES: Final = 200
"""The clients come from so many addresses of the loopback network, for an address may send few wrong keys."""
_ANSWER_SECONDS: Final = 60.0
_MALFORMED_SECONDS: Final = 0.2
"""How long the answer to something that cannot be read as a request is awaited before the client closes its side."""

_ODD_VALUES: Final[tuple[Any, ...]] = (
    None, True, -1, 0, 2**63, 10**400, 1e308, -0.0, "", " ", "\x00", "\ud800", "é" * 300, "x" * 40_000, [], {}, [[]],
    [None] * 50, {"": ""}, {"a": {"b": {"c": []}}}, "2026-13-45", "NaN", "null", "9" * 500, "\u202e", "' OR 1=1 --",
)  # fmt: skip
_API: Final = (
    ("POST", "/api/v1/profiles/lookup", {"identifier": {"type": "email", "value": "a@example.com"}}),
    ("POST", "/api/v1/profiles/explain", {"a": {"type": "email", "value": "a@x.com"}, "b": {"type": "user_id", "value": "u"}}),
    ("POST", "/api/v1/consents", {"identifier": {"type": "user_id", "value": "u1"}, "purpose": "email_marketing", "act": "grant"}),
    ("POST", "/api/v1/consents/lookup", {"identifier": {"type": "user_id", "value": "u1"}, "as_of": "2026-01-01T00:00:00Z"}),
    ("POST", "/api/v1/subject-requests", {"kind": "access", "regime": "gdpr", "identifiers": [{"type": "user_id", "value": "u"}]}),
    ("GET", "/api/v1/subject-requests?limit=5&status=received", None),
    ("GET", "/api/v1/identity/shared?limit=5", None),
    ("GET", "/audit/log/tile/0/000", None),
)  # fmt: skip
_PATHS: Final = (
    "/v1/batch",
    "/v1/track",
    "/v1/identify",
    "/v1/page",
    "/v1/alias",
    "/v1/group",
    "/v1/t",
    "/beacon/v1/batch",
    "/mp/collect",
    "/g/collect",
    "/ga/wk_x/g/collect",
)
_PARAMETERS: Final = (
    "gdpr", "gdpr_consent", "gpp", "us_privacy", "en", "cid", "uid", "_p", "_s", "dl", "ul", "gcs", "gcd", "npa", "cu", "ep.sku",
    "epn.value", "up.plan", "upn.age", "pr1", "pr200", "api_secret", "", "a",
)  # fmt: skip
_ODD_TEXTS: Final = (
    "", "1", "granted", "%", "%00", "%ff%fe", "%ed%a0%80", "NaN", "9" * 400, "G111", "13r3r3r2r5", "idA~pr1~~k0~v0x", "CQ" + "A" * 50,
    "DBAA", "1YNN", "x" * 2_000,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class FuzzedRequest:
    """The bytes of a request; `is_whole` if a server that reads them as HTTP must answer."""

    content: bytes
    is_whole: bool


def fuzzed_requests(seed: int, port: int, write_key: str, token: str) -> Iterator[FuzzedRequest]:
    """Requests without end, each wrong in some way, or by chance in none."""
    chance = random.Random(seed)
    source = _Source(chance, port, write_key, token)
    while True:
        yield chance.choices(
            (source.ingest, source.api, source.bytes_of_json, source.malformed), weights=(40, 20, 25, 15)
        )[0]()


@dataclass(frozen=True, slots=True)
class _Source:
    chance: random.Random
    port: int
    write_key: str
    token: str

    def ingest(self) -> FuzzedRequest:
        """A message or a batch with values of other types, and fields at other places."""
        method = self.chance.choices(("POST", "GET"), weights=(19, 1))[0]
        path = self.chance.choice(_PATHS) + self._query()
        return self._request(method, path, _dumped(self._mutated(self._body())), self._key())

    def bytes_of_json(self) -> FuzzedRequest:
        """A body whose bytes are damaged, cut, nested, repeated or wrongly compressed."""
        body = bytearray(_dumped(self._body()))
        match self.chance.randrange(6):
            case 0:
                for _ in range(self.chance.randint(1, 8)):
                    body[self.chance.randrange(len(body))] = self.chance.randrange(256)
            case 1:
                body = body[: self.chance.randrange(len(body))]
            case 2:
                depth = self.chance.choice((10, 31, 32, 33, 1_000, 20_000))
                body = bytearray(b"[" * depth + b"]" * self.chance.choice((0, depth)))
            case 3:
                body *= self.chance.randint(2, 40)
            case 4:
                body = bytearray(gzip.compress(bytes(body), 1))
                body[self.chance.randrange(len(body))] ^= 1 << self.chance.randrange(8)
            case _:
                body = bytearray(self.chance.randbytes(self.chance.randrange(200)))
        return self._request("POST", self.chance.choice(_PATHS), bytes(body), self._key())

    def api(self) -> FuzzedRequest:
        """A call of the API with other values, ids and parameters."""
        method, path, body = self.chance.choice(_API)
        if self.chance.random() < 0.3:
            path += self.chance.choice(
                ("/x", "/req_0000000000000", "%00", "?limit=-1", "?limit=" + "9" * 30, "/../..", "?limit=%ff")
            )
        content = b"" if body is None else _dumped(self._mutated(body))
        method = (
            method if self.chance.random() < 0.9 else self.chance.choice(("PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"))
        )
        return self._request(method, path, content, f"Bearer {self.token}")

    def malformed(self) -> FuzzedRequest:
        """Bytes that are almost HTTP, or nothing like it."""
        request = bytearray(self._request("POST", "/v1/track", _dumped(self._body()), self._key()).content)
        head = request.index(b"\r\n\r\n")
        damage: tuple[Callable[[], bytes], ...] = (
            lambda: bytes(request[: self.chance.randrange(1, len(request))]),
            lambda: self.chance.randbytes(self.chance.randrange(1, 300)),
            lambda: bytes(request).replace(b"HTTP/1.1", self.chance.choice((b"HTTP/9.9", b"HTTP/1.", b"", b"ICY"))),
            lambda: bytes(request).replace(b"content-length: ", self.chance.choice((b"content-length: -", b"content-length: 9999999999999999999", b"content-length:\x00"))),
            lambda: bytes(request[:head]) + b"\r\ntransfer-encoding: chunked\r\n\r\n" + self.chance.choice((b"zz\r\n", b"5\r\nab", b"-1\r\n\r\n", b"ffffffffffffffff\r\n")),
            lambda: bytes(request[:head]) + b"\r\n" + b"x: y\r\n" * self.chance.choice((99, 500)) + b"\r\n",
            lambda: bytes(request).replace(b"\r\n", self.chance.choice((b"\n", b"\r", b"\r\n\r"))),
            lambda: bytes(request).replace(b"host:", self.chance.choice((b"ho st:", b"\x00host:", b":", b"h\xc3\xb6st:"))),
            lambda: self._flipped(request, head),
        )  # fmt: skip
        return FuzzedRequest(self.chance.choice(damage)(), is_whole=False)

    def _flipped(self, request: bytearray, until: int) -> bytes:
        for _ in range(self.chance.randint(1, 4)):
            request[self.chance.randrange(until)] = self.chance.randrange(256)
        return bytes(request)

    def _query(self) -> str:
        """Nothing, or parameters: few, as many as are read, or more."""
        if self.chance.random() < 0.7:
            return ""
        count = self.chance.choice((1, 3, 10, 60, 600))
        names, texts = self.chance.choices(_PARAMETERS, k=count), self.chance.choices(_ODD_TEXTS, k=count)
        return "?" + "&".join(f"{name}={text}" for name, text in zip(names, texts, strict=True))

    def _body(self) -> dict[str, Any]:
        if self.chance.random() < 0.1:
            consent = {"ad_user_data": "DENIED", "ad_personalization": "GRANTED"}
            event = {"name": "purchase", "params": {"value": 5, "items": [{"item_id": "A1"}]}, "timestamp_micros": 1}
            return {
                "client_id": "1.2",
                "user_id": "u1",
                "consent": consent,
                "user_properties": {"plan": {"value": "x"}},
                "events": [event],
            }
        message: dict[str, Any] = {
            "type": self.chance.choice(("track", "identify", "page", "group", "alias", "screen")),
            "event": "Order Completed",
            "messageId": f"fuzz-{self.chance.getrandbits(40)}",
            "userId": f"u{self.chance.randrange(50)}",
            "anonymousId": f"d{self.chance.randrange(50)}",
            "timestamp": "2026-11-01T10:00:00Z",
            "sentAt": "2026-11-01T10:00:01Z",
            "properties": {"revenue": 5, "order_id": "o", "products": [{"sku": "A1", "price": 2}]},
            "traits": {"email": "a@example.com", "age": 30},
            "context": {"consent": {"categoryPreferences": {"email_marketing": True}}, "externalIds": []},
        }
        return {"batch": [message] * self.chance.randint(1, 3)} if self.chance.random() < 0.4 else message

    def _mutated(self, body: Any) -> Any:
        """The body with some values replaced, dropped or nested; copies, for the original is shared."""
        copied = json.loads(json.dumps(body))
        for _ in range(self.chance.randint(0, 3)):
            place = copied
            while isinstance(place, dict | list) and place:
                key = self.chance.choice(list(place) if isinstance(place, dict) else range(len(place)))
                if not isinstance(place[key], dict | list) or self.chance.random() < 0.4:
                    if isinstance(place, dict) and self.chance.random() < 0.2:
                        del place[key]
                    else:
                        place[key] = copy.deepcopy(self.chance.choice(_ODD_VALUES))
                    break
                place = place[key]
        return copied

    def _key(self) -> str:
        keys = (self.write_key, self.write_key[:-1], "", "\x7f", "k" * 5_000)
        return (
            self.chance.choices(("raw", "header"), weights=(1, 9))[0]
            + self.chance.choices(keys, weights=(90, 2, 4, 2, 2))[0]
        )

    def _request(self, method: str, path: str, body: bytes, secret: str) -> FuzzedRequest:
        line = (
            f"authorization: {secret}"
            if secret.startswith("Bearer")
            else f"x-write-key: {secret.removeprefix('header')}"
        )
        more = "content-encoding: gzip\r\n" if body[:2] == b"\x1f\x8b" or self.chance.random() < 0.02 else ""
        head = f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{self.port}\r\n{line}\r\ncontent-type: application/json\r\n{more}"
        return FuzzedRequest(head.encode("latin-1") + b"content-length: %d\r\n\r\n" % len(body) + body, is_whole=True)


def _dumped(body: Any) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")


async def send_fuzzed(port: int, requests: Iterator[FuzzedRequest], count: int) -> tuple[Counter[int], list[str]]:
    """Send them over some connections; how many were answered by status, 0 for none, and the first that got 5xx."""
    statuses: Counter[int] = Counter()
    failed: list[str] = []
    numbers = iter(range(count))

    async def connection() -> None:
        for number in numbers:
            request = next(requests)
            status = await _answered(port, request, f"127.0.0.{2 + number % _ADDRESSES}")
            statuses[status] += 1
            if number % _TOLD_EVERY == _TOLD_EVERY - 1:
                print(
                    f"{number + 1:,} requests, {sum(statuses[code] for code in statuses if code >= 500)} × 5xx",
                    file=sys.stderr,
                )
            if status >= 500 and len(failed) < 10:
                failed.append(f"{status} {request.content[:300]!r}")

    await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))
    return statuses, failed


async def _answered(port: int, request: FuzzedRequest, address: str) -> int:
    """The status of the answer; 0 if the connection was closed without one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    try:
        writer.write(request.content)
        if not request.is_whole:
            with suppress(TimeoutError):
                async with asyncio.timeout(_MALFORMED_SECONDS):
                    return _status(await reader.readline())
            writer.write_eof()
        async with asyncio.timeout(_ANSWER_SECONDS):
            return _status(await reader.readline())
    except OSError:
        return 0
    finally:
        writer.transport.abort()


def _status(line: bytes) -> int:
    parts = line.split()
    return int(parts[1]) if len(parts) > 1 and parts[0].startswith(b"HTTP/") else 0
