"""Instants as files write them: ISO 8601 and what is close to it, counts since 1970, declared patterns. Pure."""

import re
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

ISO_8601: Final = "iso8601"
UNIX_SECONDS: Final = "unix_seconds"
UNIX_MILLISECONDS: Final = "unix_milliseconds"
NAMED_FORMATS: Final = (ISO_8601, UNIX_SECONDS, UNIX_MILLISECONDS)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_COUNT: Final = re.compile(r"[-+]?[0-9]{1,16}(\.[0-9]{1,9})?")
"""Without an exponent: a spreadsheet that writes one has rounded the count."""
_SPACED_OFFSET: Final = re.compile(r"(?<=[0-9]) (?=[+-][0-9]{2}:?[0-9]{2}$)|(?<=[0-9]) ?(?:UTC|GMT|Z)$")
"""How shops write the zone after a time: `2026-10-02 09:59:00 +0200`, `2026-10-02 09:59:00 UTC`."""


class MalformedInstant(ValueError):
    """A text that is not an instant of the declared format."""


class Written(NamedTuple):
    """How instants are written: the format, and the zone of a text that names none."""

    format: str
    zone: str


def read_instant_text(raw: Any, written: Written) -> datetime:
    """The instant in UTC that a cell states; Parquet has instants and dates themselves. Raises `MalformedInstant`."""
    try:
        if isinstance(raw, date):
            instant = raw if isinstance(raw, datetime) else datetime(raw.year, raw.month, raw.day)  # noqa: DTZ001 - next
            return _aware(instant, _zone(written.zone))
        if written.format in (UNIX_SECONDS, UNIX_MILLISECONDS):
            count = _count(raw)
            return _EPOCH + (
                timedelta(seconds=count) if written.format == UNIX_SECONDS else timedelta(milliseconds=count)
            )
        text = str(raw).strip()
        if written.format == ISO_8601:
            return _aware(_iso(text), _zone(written.zone))
        return _aware(datetime.strptime(text, written.format), _zone(written.zone))  # noqa: DTZ007 - next
    except (ValueError, TypeError, OverflowError):
        raise MalformedInstant from None


def _count(raw: Any) -> float:
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        raise MalformedInstant
    if isinstance(raw, str) and not _COUNT.fullmatch(raw.strip()):
        raise MalformedInstant
    return float(raw)


def _iso(text: str) -> datetime:
    return datetime.fromisoformat(_SPACED_OFFSET.sub(_offset, text) if " " in text or text[-1:] in "TC" else text)


def _offset(match: re.Match[str]) -> str:
    return "+00:00" if match[0].strip() else ""


def _aware(instant: datetime, zone: tzinfo) -> datetime:
    """In UTC; a local time that the clocks skipped or repeated is the first possible one."""
    return (instant if instant.tzinfo is not None else instant.replace(tzinfo=zone)).astimezone(UTC)


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
