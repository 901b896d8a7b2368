"""Settings: read once from the environment, checked, frozen, and handed down as an argument.

A wrong value is a fault that says what would be right; values that are secret never appear in it.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Final, Literal, TypeVar, get_args
from urllib.parse import urlsplit

from cdp.kit.clock import Clock, SystemClock, TestClock, parse_instant
from cdp.kit.errors import Fault
from cdp.kit.shipped import shipped_folder

LogLevel = Literal["debug", "info", "warning", "error"]
_Value = TypeVar("_Value")
_MASTER_KEY_BYTES: Final = 32
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Setting:
    """One environment variable: its name, what it means, and what it is when absent."""

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
        "CDP_POLICIES",
        "the folder of the policy files; `cdp init` copies the shipped ones",
        "./policies if that folder exists, else the policies shipped with cdp",
    ),
    Setting("CDP_HOST", "the address to listen on", "127.0.0.1"),
    Setting("CDP_PORT", "the port to listen on", "8000"),
    Setting("CDP_MASTER_KEY", "the master key: 64 hexadecimal digits", "a file in CDP_HOME"),
    Setting("CDP_KMS_URL", "a key management service that keeps the master key, instead of CDP_MASTER_KEY", "none"),
    Setting("CDP_LOG_LEVEL", "how much is logged: debug, info, warning or error", "info"),
    Setting("CDP_NOW", "a fixed instant instead of the clock; for tests and demonstrations only", "the clock"),
    Setting("CDP_ALLOW_TEST_CLOCK", "1 allows CDP_NOW", "0"),
)
_NAMES: Final = frozenset(setting.name for setting in SETTINGS)
# Read by the tests, not by the service.
_FOREIGN: Final = frozenset({"CDP_TEST_POSTGRES"})


@dataclass(frozen=True, slots=True)
class Config:
    """How this process was told to run. `database_url` is None when it runs its own PostgreSQL."""

    home: Path
    policies: Path
    host: str
    port: int
    log_level: LogLevel
    fixed_now: datetime | None
    database_url: str | None = field(default=None, repr=False)
    master_key: bytes | None = field(default=None, repr=False)
    kms_url: str | None = field(default=None, repr=False)

    def clock(self) -> Clock:
        """The clock of this process: the machine's, or one that stands still for a test."""
        return SystemClock() if self.fixed_now is None else TestClock(self.fixed_now)


def read_config(environment: Mapping[str, str]) -> Config:
    """Read every setting; raises the fault `wrong_setting` for the first value that cannot be used.

    An unknown name beginning with CDP_ is logged as a warning with the name that was probably meant.
    """
    given = {name: text.strip() for name, text in environment.items() if name.startswith("CDP_") and text.strip()}
    warn_of_unknown(given)
    if "CDP_MASTER_KEY" in given and "CDP_KMS_URL" in given:
        raise _wrong("CDP_KMS_URL", "is set beside CDP_MASTER_KEY", "one of them: the master key has one keeper")
    return Config(
        home=Path(given.get("CDP_HOME", "./var")),
        policies=Path(given["CDP_POLICIES"]) if "CDP_POLICIES" in given else _default_policies(),
        host=given.get("CDP_HOST", "127.0.0.1"),
        port=_read(given, "CDP_PORT", _port, default=8000),
        log_level=_read(given, "CDP_LOG_LEVEL", _log_level, default="info"),
        fixed_now=_fixed_now(given),
        database_url=_read(given, "CDP_DATABASE_URL", _database_url, default=None),
        master_key=_read(given, "CDP_MASTER_KEY", _master_key, default=None),
        kms_url=_read(given, "CDP_KMS_URL", _kms_url, default=None),
    )


def warn_of_unknown(names: Mapping[str, str]) -> None:
    """Log each CDP_ name that means nothing, by name and never by value."""
    for name in sorted(names.keys() - _NAMES - _FOREIGN):
        near = get_close_matches(name, _NAMES, n=1)
        _log.warning("unknown_setting", extra={"setting": name, "near": near[0] if near else None})


def _default_policies() -> Path:
    """`./policies` where there is such a folder, otherwise the shipped ones."""
    local = Path("./policies")
    return local if local.is_dir() else shipped_folder("policies")


def _read(given: Mapping[str, str], name: str, parse: Callable[[str], _Value], *, default: _Value) -> _Value:
    if name not in given:
        return default
    try:
        return parse(given[name])
    except ValueError as error:
        wrong, _, right = str(error).partition("; ")
        raise _wrong(name, wrong, right) from None


def _wrong(name: str, wrong: str, right: str) -> Fault:
    return Fault("wrong_setting", "A setting cannot be used", f"{name} {wrong}. Right would be {right}.", status=500)


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 <= int(text) <= 65535:
        raise ValueError(f"is {text!r}, which is no port; a number from 1 to 65535, or 0 for any free port")
    return int(text)


def _log_level(text: str) -> LogLevel:
    for level in get_args(LogLevel):
        if text.lower() == level:
            return level  # type: ignore[no-any-return]
    raise ValueError(f"is {text!r}; {', '.join(get_args(LogLevel)[:-1])} or {get_args(LogLevel)[-1]}")


def _database_url(text: str) -> str:
    """The URL with the driver that this service uses; the schemes of other drivers are refused."""
    parts = urlsplit(text)
    right = "a URL such as postgresql://user:password@host:5432/database"
    if parts.scheme not in ("postgres", "postgresql", "postgresql+psycopg"):
        raise ValueError(f"does not begin with postgresql://; {right}")
    if not parts.path.strip("/"):
        raise ValueError(f"names no database; {right}")
    return "postgresql+psycopg" + text[len(parts.scheme) :]


def _master_key(text: str) -> bytes:
    right = "64 hexadecimal digits, for example from: openssl rand -hex 32"
    try:
        key = bytes.fromhex(text)
    except ValueError:
        raise ValueError(f"holds something else than hexadecimal digits; {right}") from None
    if len(key) != _MASTER_KEY_BYTES:
        raise ValueError(f"holds {len(key)} bytes; {right}")
    if len(set(key)) == 1:
        raise ValueError(f"repeats one byte; {right}")
    return key


def _kms_url(text: str) -> str:
    if not urlsplit(text).scheme or not urlsplit(text).netloc:
        raise ValueError("is no URL; one such as https://kms.example.com/keys/cdp")
    return text


def _fixed_now(given: Mapping[str, str]) -> datetime | None:
    instant = _read(given, "CDP_NOW", _instant, default=None)
    if instant is not None and given.get("CDP_ALLOW_TEST_CLOCK") != "1":
        raise _wrong(
            "CDP_NOW",
            "is set, and a service with a clock that stands still forgets deadlines and retention",
            "to unset it, or for a test to set CDP_ALLOW_TEST_CLOCK=1 too",
        )
    return instant


def _instant(text: str) -> datetime:
    try:
        return parse_instant(text)
    except ValueError:
        raise ValueError(f"is {text!r}, which is no instant; one such as 2026-01-31T12:00:00Z") from None
