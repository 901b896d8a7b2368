"""Logs: one line per occurrence, made of codes, ids, counts and durations; never personal data.

A record's message must be an event code (`snake_case`) and its extra fields must be on the list below. Anything else is
replaced by harmless information: the logger, the location in the code, and the type of an exception. A library that puts
a value into its message, or a driver that quotes a row in its error, therefore cannot put it into the log.
"""

import json
import logging
import re
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal, TextIO

from cdp.kit.errors import Fault

Style = Literal["json", "console"]

FIELDS: Final = frozenset(
    {
        # what
        "code", "kind", "state", "reason", "role", "route", "method", "status", "setting", "near", "version", "revision",
        "purpose", "task", "step", "policy", "segment", "destination", "file_format", "line", "folder",
        "check",
        # which: random ids and numbers
        "batch", "source_id", "profile_id", "anchor_id", "request_id", "delivery_id", "record_id", "entry_index",
        "tree_size", "epoch", "pid", "port", "attempt",
        # how many, how long
        "count", "messages", "events", "profiles", "rows", "bytes", "stored", "duplicate", "suppressed", "not_permitted",
        "invalid", "blocked", "pending", "statements", "seconds", "milliseconds", "retry_after_seconds",
    }
)  # fmt: skip
_CODE: Final = re.compile(r"[a-z][a-z0-9_.]{0,79}")
_WORD: Final = re.compile(r"[A-Za-z0-9_.:/{}+-]{1,120}")
_WITHHELD: Final = "withheld"
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
_LEVELS: Final[Mapping[str, int]] = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def start_logging(level: str, *, style: Style = "json", stream: TextIO | None = None) -> None:
    """Send every log of this process, libraries included, through a formatter that withholds values."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(SafeFormatter(style))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_LEVELS[level])
    # Libraries that log each statement or request log only warnings.
    for name in ("sqlalchemy", "alembic", "httpx", "httpcore", "urllib3", "asyncio", "uvicorn.access"):
        logging.getLogger(name).setLevel(max(_LEVELS[level], logging.WARNING))
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers[:] = []
        logging.getLogger(name).propagate = True


class SafeFormatter(logging.Formatter):
    """Writes only what cannot contain personal data: codes, listed fields, types and places in code."""

    def __init__(self, style: Style = "json") -> None:
        super().__init__()
        self._form = style

    def format(self, record: logging.LogRecord) -> str:
        """One line without line breaks, whatever the record contains."""
        entry: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": event_of(record),
        }
        entry |= fields_of(record)
        if record.exc_info and record.exc_info[1] is not None:
            entry |= describe(record.exc_info[1])
        if self._form == "json":
            return json.dumps(entry, ensure_ascii=True, separators=(",", ":"))
        rest = " ".join(f"{name}={json.dumps(value)}" for name, value in list(entry.items())[3:])
        return f"{entry['at']} {record.levelname:7} {entry['event']} {rest}".rstrip()


def event_of(record: logging.LogRecord) -> str:
    """The record's code; for a message that is not a code, the location that logged it."""
    if isinstance(record.msg, str) and not record.args and _CODE.fullmatch(record.msg):
        return record.msg
    return f"{record.name}:{record.funcName}:{record.lineno}"


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """The extra fields that are on the list, with values that are numbers or single words."""
    fields: dict[str, object] = {}
    for name, value in vars(record).items():
        if name not in _STANDARD and name in FIELDS and value is not None:
            fields[name] = harmless_value(value)
    return fields


def harmless_value(value: object) -> object:
    """A number or a single word as it is; anything else, such as free text or an address, withheld."""
    if isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, str) and _WORD.fullmatch(value):
        return value
    return _WITHHELD


def describe(error: BaseException) -> dict[str, object]:
    """An exception by its type, its code where it has one, and where it was raised; never by its message.

    A fault whose detail is for operators has it, too.
    """
    kind = type(error)
    described: dict[str, object] = {"error": f"{kind.__module__}.{kind.__qualname__}"}
    for name in ("code", "sqlstate"):
        value = getattr(error, name, None)
        if isinstance(value, str) and _WORD.fullmatch(value):
            described[f"error_{name}"] = value
    frames = traceback.extract_tb(error.__traceback__)
    described["where"] = [f"{_short(frame.filename)}:{frame.lineno}:{frame.name}" for frame in frames[-6:]]
    if isinstance(error, Fault) and error.is_for_operators:  # texts of ours, of codes, settings and places alone
        described["detail"] = error.detail
    cause = error.__cause__
    if cause is not None:
        described["cause"] = f"{type(cause).__module__}.{type(cause).__qualname__}"
    return described


def _short(filename: str) -> str:
    """The path of a file from its package on, without the folders of this machine."""
    parts = Path(filename).parts
    for mark in ("site-packages", "cdp"):
        if mark in parts:
            at = len(parts) - 1 - parts[::-1].index(mark)
            return "/".join(parts[at + (mark == "site-packages") :])
    return parts[-1]
