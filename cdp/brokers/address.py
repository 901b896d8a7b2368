"""The address of a broker as a URL, and its password, which is never printed.

amqp://name:password@host:5672/virtual-host      amqps://… with TLS
kafka://name:password@host:9092,other:9092       kafkas://… with TLS
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, get_args
from urllib.parse import parse_qsl, unquote, urlsplit

from cdp.kit.errors import Fault

Protocol = Literal["amqp", "kafka"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]

_PORTS: Final = {("amqp", False): 5672, ("amqp", True): 5671, ("kafka", False): 9092, ("kafka", True): 9093}
_FILES: Final = frozenset({"cacertfile", "certfile", "keyfile"})
_PARAMETERS: Final = {"amqp": _FILES | {"heartbeat"}, "kafka": _FILES | {"mechanism"}}
_HEARTBEAT_SECONDS: Final = 30


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Files of TLS: who signs for the broker, unless the system knows, and by what the broker knows us."""

    authorities: Path | None = None
    chain: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where a broker is, and how to log in."""

    protocol: Protocol
    is_encrypted: bool
    hosts: tuple[tuple[str, int], ...]
    name: str | None = None
    password: str | None = field(default=None, repr=False)
    virtual_host: str = "/"
    tls: TlsFiles = TlsFiles()
    mechanism: Mechanism = "PLAIN"
    heartbeat_seconds: int = _HEARTBEAT_SECONDS

    def __str__(self) -> str:
        """The address without name and password."""
        return ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)


_PARTS: Final = re.compile(r"([^/?]*)([^?]*)(?:\?(.*))?", re.DOTALL)
"""Hosts with name and password, path, query. The standard library refuses more than one host as soon as one has brackets."""


def parse_address(url: str, password: str | None = None) -> BrokerAddress:
    """Read a URL; `password` replaces the one in it. Raises the fault `invalid_broker_url`, which repeats nothing of it."""
    try:
        scheme, separator, rest = url.strip().partition("://")
        if not separator:
            raise ValueError("it has no scheme")
        protocol, is_encrypted = _scheme(scheme.lower())
        place, path, query = _PARTS.fullmatch(rest.partition("#")[0]).groups("")  # type: ignore[union-attr]
        login, _, places = place.rpartition("@")
        name, colon, written = login.partition(":")
        parameters = _parameters(query, protocol)
        return BrokerAddress(
            protocol=protocol,
            is_encrypted=is_encrypted,
            hosts=tuple(_host(host, _PORTS[protocol, is_encrypted]) for host in places.split(",")),
            name=unquote(name) or None,
            password=password if password is not None else (unquote(written) if colon else None),
            virtual_host=_virtual_host(path, protocol),
            tls=TlsFiles(
                *(Path(parameters[key]) if key in parameters else None for key in ("cacertfile", "certfile", "keyfile"))
            ),
            mechanism=_mechanism(parameters.get("mechanism", "PLAIN")),
            heartbeat_seconds=_heartbeat(parameters.get("heartbeat")),
        )
    except ValueError as error:
        raise Fault(
            "invalid_broker_url",
            "The URL of the broker is invalid",
            f"{str(error)[0].upper()}{str(error)[1:]}. Expected: amqp://name:password@host:5672/virtual-host, "
            "kafka://name:password@host:9092, or amqps:// and kafkas:// with TLS.",
            status=422,
        ) from None


def _scheme(text: str) -> tuple[Protocol, bool]:
    for protocol in get_args(Protocol):
        if text in (protocol, f"{protocol}s"):
            return protocol, text != protocol
    raise ValueError("its scheme is not one of amqp, amqps, kafka, kafkas")


def _host(text: str, port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    try:
        given = parts.port
    except ValueError:
        raise ValueError("a port in it is not a number from 1 to 65535") from None
    if not parts.hostname:
        raise ValueError("it names no host")
    return parts.hostname, given or port


def _virtual_host(path: str, protocol: Protocol) -> str:
    if protocol == "kafka" and path.strip("/"):
        raise ValueError("a kafka URL has no path; name the topic with --topic")
    return unquote(path[1:]) if protocol == "amqp" and len(path) > 1 else "/"


def _parameters(query: str, protocol: Protocol) -> dict[str, str]:
    found = dict(parse_qsl(query, keep_blank_values=True))
    unknown = sorted(found.keys() - _PARAMETERS[protocol])
    if unknown:
        raise ValueError(f"it has an unknown parameter; known are {', '.join(sorted(_PARAMETERS[protocol]))}")
    return found


def _mechanism(text: str) -> Mechanism:
    for mechanism in get_args(Mechanism):
        if text.upper() == mechanism:
            return mechanism  # type: ignore[no-any-return]
    raise ValueError(f"its mechanism is not one of {', '.join(get_args(Mechanism))}")


def _heartbeat(text: str | None) -> int:
    if text is None:
        return _HEARTBEAT_SECONDS
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 3600:
        raise ValueError("its heartbeat is not a number of seconds from 1 to 3600")
    return int(text)
