"""Settings: read once from the environment, checked, frozen, and handed down as an argument.

An invalid value is a fault that names a valid one; secret values never appear in it.
"""

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from difflib import get_close_matches
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Final, Literal, TypeVar, get_args
from urllib.parse import urlsplit

from cdp.kit.clock import Clock, SteadyClock, TestClock, parse_instant
from cdp.kit.errors import Fault
from cdp.kit.shipped import shipped_folder

Network = IPv4Network | IPv6Network
LogLevel = Literal["debug", "info", "warning", "error"]
_Value = TypeVar("_Value")
_MASTER_KEY_BYTES: Final = 32
_HOST: Final = re.compile(r"(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Setting:
    """One environment variable: its name, its meaning, and its value when absent."""

    name: str
    meaning: str
    default: str = ""


SETTINGS: Final = (
    Setting(
        "CDP_DATABASE_URL",
        "PostgreSQL 15 or newer, as postgresql://user:password@host/database",
        "own server in CDP_HOME",
    ),
    Setting("CDP_HOME", "the folder of the embedded database, the key file and the admin token", "./var"),
    Setting(
        "CDP_STATE_URL",
        "where all services of one database keep the wrapped keys, the replay file and the copy of the audit log: file:///folder, "
        "or postgresql://user:password@host/database of a separate database",
        "CDP_HOME",
    ),
    Setting(
        "CDP_POLICIES",
        "the folder of the policy files; `cdp init` copies the shipped ones",
        "./policies if that folder exists, else the policies shipped with cdp",
    ),
    Setting(
        "CDP_ACCEPT_POLICY",
        "the fingerprint of a policy that a starting service puts in force although that touches stored data; `cdp policy check` "
        "prints it",
        "none",
    ),
    Setting("CDP_HOST", "the address to listen on", "127.0.0.1"),
    Setting("CDP_PORT", "the port to listen on", "8000"),
    Setting(
        "CDP_TRUSTED_PROXIES",
        "addresses or networks of reverse proxies, separated by commas; only from these, X-Forwarded-For names the client "
        "and X-Forwarded-Proto the scheme",
        "none",
    ),
    Setting(
        "CDP_TRUSTED_HOSTS",
        "the host names by which browsers reach the service, separated by commas, each with its port where the address has one; only "
        "these are repeated in an answer: in the settings that SDKs in browsers fetch, which are refused under another name",
        "none; localhost is trusted unless CDP_TRUSTED_PROXIES is set",
    ),
    Setting("CDP_CONNECTIONS", "how many connections a service has at most, within the limit of open files", "4096"),
    Setting(
        "CDP_CONNECTIONS_PER_ADDRESS",
        "how many of them one address has at most; a trusted proxy has no such limit",
        "1024",
    ),
    Setting(
        "CDP_POOL_API", "how many connections to the database the API, the console and the public pages share", "12"
    ),
    Setting("CDP_POOL_INGEST", "how many connections to the database ingest has to itself", "4"),
    Setting("CDP_POOL_WORKER", "how many connections to the database the tasks of the worker share", "16"),
    Setting("CDP_POOL_HEALTH", "how many connections to the database `/readyz` and `/metrics` have to themselves", "3"),
    Setting("CDP_MASTER_KEY", "the master key: 64 hexadecimal digits", "a file in CDP_HOME"),
    Setting("CDP_KMS_URL", "a key management service that keeps the master key, instead of CDP_MASTER_KEY", "none"),
    Setting("CDP_BROKER_PASSWORD", "the password of the broker that `cdp consume` reads from", "that of its URL"),
    Setting("CDP_LOG_LEVEL", "how much is logged: debug, info, warning or error", "info"),
    Setting("CDP_NOW", "a fixed instant instead of the clock; for tests and demonstrations only", "the clock"),
    Setting("CDP_ALLOW_TEST_CLOCK", "1 allows CDP_NOW", "0"),
)
_NAMES: Final = frozenset(setting.name for setting in SETTINGS)
# Read by the tests, not by the service.
_FOREIGN: Final = frozenset({"CDP_TEST_POSTGRES"})


@dataclass(frozen=True, slots=True)
class PoolSizes:
    """How many connections to the database each use in a process may have; unused ones are not opened."""

    api: int = 12
    ingest: int = 4
    worker: int = 16
    health: int = 3


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of this process. `database_url` is None when it runs its own PostgreSQL."""

    home: Path
    policies: Path
    host: str
    port: int
    log_level: LogLevel
    fixed_now: datetime | None
    database_url: str | None = field(default=None, repr=False)
    master_key: bytes | None = field(default=None, repr=False)
    kms_url: str | None = field(default=None, repr=False)
    state_url: str | None = field(default=None, repr=False)
    broker_password: str | None = field(default=None, repr=False)
    accepted_policy: str | None = None
    trusted_proxies: tuple[Network, ...] = ()
    trusted_hosts: tuple[str, ...] = ()
    connections_max: int = 4096
    connections_per_address_max: int = 1024
    pools: PoolSizes = PoolSizes()

    def clock(self) -> Clock:
        """The clock of this process: the machine's, or a fixed one for a test."""
        return SteadyClock() if self.fixed_now is None else TestClock(self.fixed_now)


def read_config(environment: Mapping[str, str]) -> Config:
    """Read every setting; raises the fault `wrong_setting` for the first invalid value.

    An unknown name that begins with CDP_ is logged as a warning, with the name that was probably meant.
    """
    values = {name: text.strip() for name, text in environment.items() if name.startswith("CDP_") and text.strip()}
    warn_of_unknown(values)
    if "CDP_MASTER_KEY" in values and "CDP_KMS_URL" in values:
        raise _wrong("CDP_KMS_URL", "is set together with CDP_MASTER_KEY", "exactly one of the two")
    return Config(
        home=Path(values.get("CDP_HOME", "./var")),
        policies=Path(values["CDP_POLICIES"]) if "CDP_POLICIES" in values else _default_policies(),
        host=_read(values, "CDP_HOST", _host, default="127.0.0.1"),
        port=_read(values, "CDP_PORT", _port, default=8000),
        log_level=_read(values, "CDP_LOG_LEVEL", _log_level, default="info"),
        fixed_now=_fixed_now(values),
        database_url=_read(values, "CDP_DATABASE_URL", _database_url, default=None),
        master_key=_read(values, "CDP_MASTER_KEY", _master_key, default=None),
        kms_url=_read(values, "CDP_KMS_URL", _kms_url, default=None),
        state_url=_read(values, "CDP_STATE_URL", read_state_url, default=None),
        broker_password=values.get("CDP_BROKER_PASSWORD"),
        accepted_policy=_read(values, "CDP_ACCEPT_POLICY", _fingerprint, default=None),
        trusted_proxies=_read(values, "CDP_TRUSTED_PROXIES", _networks, default=()),
        trusted_hosts=_read(values, "CDP_TRUSTED_HOSTS", _hosts, default=()),
        connections_max=_read(values, "CDP_CONNECTIONS", _connections, default=4096),
        connections_per_address_max=_read(values, "CDP_CONNECTIONS_PER_ADDRESS", _connections, default=1024),
        pools=_pool_sizes(values),
    )


def warn_of_unknown(names: Mapping[str, str]) -> None:
    """Log each unknown CDP_ name, by name and never by value."""
    for name in sorted(names.keys() - _NAMES - _FOREIGN):
        near = get_close_matches(name, _NAMES, n=1)
        _log.warning("unknown_setting", extra={"setting": name, "near": near[0] if near else None})


def _default_policies() -> Path:
    """`./policies` where there is such a folder, otherwise the shipped ones."""
    local = Path("./policies")
    return local if local.is_dir() else shipped_folder("policies")


def _read(values: Mapping[str, str], name: str, parse: Callable[[str], _Value], *, default: _Value) -> _Value:
    if name not in values:
        return default
    try:
        return parse(values[name])
    except ValueError as error:
        wrong, _, right = str(error).partition("; ")
        raise _wrong(name, wrong, right) from None


def _wrong(name: str, wrong: str, right: str) -> Fault:
    return Fault("wrong_setting", "A setting is invalid", f"{name} {wrong}. Expected: {right}.", status=500)


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 <= int(text) <= 65535:
        raise ValueError(f"is {text!r}, which is not a port; a number from 1 to 65535, or 0 for any free port")
    return int(text)


def _networks(text: str) -> tuple[Network, ...]:
    try:
        return tuple(ip_network(part.strip()) for part in text.split(","))
    except ValueError:
        raise ValueError("is not a list of addresses or networks; one such as 127.0.0.1, 10.0.0.0/8") from None


def _hosts(text: str) -> tuple[str, ...]:
    hosts = tuple(part.strip().lower() for part in text.split(","))
    if not all(_HOST.fullmatch(host) for host in hosts):
        raise ValueError("is not a list of host names; one such as cdp.example.com, cdp.example.com:8443")
    return hosts


def _host(text: str) -> str:
    """An address or a name; whether this machine has it is found out when the service listens on it."""
    try:
        if re.fullmatch("[A-Za-z0-9_.-]+", text) is None:
            ip_address(text)
    except ValueError:
        right = "an address such as 127.0.0.1, 0.0.0.0 or ::, or a name, without a port"
        raise ValueError(f"is {text!r}, which is not a host; {right}") from None
    return text


def _connections(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 1_000_000:
        raise ValueError(f"is {text!r}, which is not a number of connections; a number from 1 to 1000000")
    return int(text)


def _pool_sizes(values: Mapping[str, str]) -> PoolSizes:
    default = PoolSizes()
    return PoolSizes(
        api=_read(values, "CDP_POOL_API", _pool_size, default=default.api),
        ingest=_read(values, "CDP_POOL_INGEST", _pool_size, default=default.ingest),
        worker=_read(values, "CDP_POOL_WORKER", _pool_size, default=default.worker),
        health=_read(values, "CDP_POOL_HEALTH", _pool_size, default=default.health),
    )


def _pool_size(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 2 <= int(text) <= 1000:
        raise ValueError(f"is {text!r}, which is not a number of connections; a number from 2 to 1000")
    return int(text)


def _log_level(text: str) -> LogLevel:
    for level in get_args(LogLevel):
        if text.lower() == level:
            return level  # type: ignore[no-any-return]
    raise ValueError(f"is {text!r}; {', '.join(get_args(LogLevel)[:-1])} or {get_args(LogLevel)[-1]}")


def _database_url(text: str, right: str = "a URL such as postgresql://user:password@host:5432/database") -> str:
    """The URL with the driver that this service uses; other schemes are refused."""
    parts = urlsplit(text)
    if parts.scheme not in ("postgres", "postgresql", "postgresql+psycopg"):
        raise ValueError(f"has another scheme; {right}")
    if not parts.path.strip("/"):
        raise ValueError(f"does not name a database; {right}")
    try:
        _ = parts.port
    except ValueError:
        raise ValueError(f"does not name a valid port; {right}") from None
    return "postgresql+psycopg" + text[len(parts.scheme) :]


def read_state_url(text: str) -> str:
    """The URL of a state store: that of a folder as it is, and that of a database as `_database_url` returns it.

    Raises ValueError with what is wrong and what would be right, separated by a semicolon.
    """
    right = "file:///folder, or a URL such as postgresql://user:password@host:5432/database"
    parts = urlsplit(text)
    if not parts.scheme:
        raise ValueError(f"is not a URL; {Path(text).absolute().as_uri()} for that folder, or {right}")
    if parts.scheme != "file":
        return _database_url(text, right)
    if parts.netloc or not parts.path.strip("/"):
        raise ValueError(f"does not name a folder by its absolute path; {right}")
    return text


def _master_key(text: str) -> bytes:
    right = "64 hexadecimal digits, for example from: openssl rand -hex 32"
    try:
        key = bytes.fromhex(text)
    except ValueError:
        raise ValueError(f"contains characters that are not hexadecimal digits; {right}") from None
    if len(key) != _MASTER_KEY_BYTES:
        raise ValueError(f"has {len(key)} bytes; {right}")
    if len(set(key)) == 1:
        raise ValueError(f"repeats one byte; {right}")
    return key


def _fingerprint(text: str) -> str:
    if re.fullmatch("[0-9a-f]{64}", text.lower()) is None:
        raise ValueError("is not a fingerprint; the 64 hexadecimal digits that `cdp policy check` prints")
    return text.lower()


def _kms_url(text: str) -> str:
    if not urlsplit(text).scheme or not urlsplit(text).netloc:
        raise ValueError("is not a URL; one such as https://kms.example.com/keys/cdp")
    return text


def _fixed_now(values: Mapping[str, str]) -> datetime | None:
    instant = _read(values, "CDP_NOW", _instant, default=None)
    is_allowed = _read(values, "CDP_ALLOW_TEST_CLOCK", _switch, default=False)
    if instant is not None and not is_allowed:
        raise _wrong(
            "CDP_NOW",
            "is set, but a service with a fixed clock would miss deadlines and retention",
            "CDP_NOW unset, or in a test CDP_ALLOW_TEST_CLOCK=1 as well",
        )
    return instant


def _switch(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError(f"is {text!r}; 0 or 1")
    return text == "1"


def _instant(text: str) -> datetime:
    try:
        return parse_instant(text)
    except ValueError:
        raise ValueError(f"is {text!r}, which is not an instant; one such as 2026-01-31T12:00:00Z") from None
