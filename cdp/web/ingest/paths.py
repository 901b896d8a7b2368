"""The paths of the ingest endpoint: what each reads from a request, and how it answers."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from starlette.types import Scope, Send

from cdp.web.ingest.request import send_nothing, send_success
from cdp.wire.batch import Envelope, read_batch, read_single
from cdp.wire.ga4 import read_collect, read_measurement
from cdp.wire.request_refusal import RequestRefused

SINGLE_PATHS: Final = {
    f"/v1/{path}": kind
    for kind in ("identify", "track", "page", "screen", "group", "alias")
    for path in (kind, kind[0])
}
BATCH_PATHS: Final = frozenset({"/v1/batch", "/v1/b", "/v1/batch/b", "/batch", "/b", "/beacon/v1/batch"})
MEASUREMENT_PATH: Final = "/mp/collect"
COLLECT_PATH: Final = "/g/collect"
METRICS_PATH: Final = "/v1/m"
CONFIG_PATH: Final = "/sourceConfig"
HOOK_START: Final = "/v1/hook/"
HOOK_METHODS: Final = ("GET", "HEAD", "POST")
SETTINGS_START: Final = "/v1/projects/"
SETTINGS_END: Final = "/settings"
_KEYED_START: Final = "/ga/"
"""Tags of GA4 can be given another host and the start of its path, but no parameter: the write key stands there."""


@dataclass(frozen=True, slots=True)
class IngestPath:
    """What a path that takes messages does: `read` gives the messages of a body, `answer` says that they are stored.

    `is_single` marks one message, which is refused with 400 if it is invalid. `write_key` is that of the path, if it has one,
    and `key_parameter` the parameter of the query that may have it besides `writeKey`.
    """

    read: Callable[[Scope, bytes], Envelope | RequestRefused]
    answer: Callable[[Send], Awaitable[None]] = send_success
    methods: tuple[str, ...] = ("POST",)
    is_single: bool = False
    write_key: str | None = None
    key_parameter: str | None = None


def ingest_path(path: str) -> IngestPath | None:
    """What the path takes; None if it takes no messages."""
    known = _PATHS.get(path)
    if known is not None or not path.startswith(_KEYED_START):
        return known
    key, slash, rest = path.removeprefix(_KEYED_START).partition("/")
    return _collect(key) if slash and key and f"/{rest}" == COLLECT_PATH else None


def hook_name(path: str) -> str | None:
    """The name of the source to whose webhook a path belongs."""
    name = path.removeprefix(HOOK_START)
    return name if name and name != path and "/" not in name else None


def settings_key(path: str) -> str | None:
    """The write key in the path of the settings of Segment's browser client."""
    if not (path.startswith(SETTINGS_START) and path.endswith(SETTINGS_END)):
        return None
    key = path[len(SETTINGS_START) : -len(SETTINGS_END)]
    return key if key and "/" not in key else None


def is_claimed(path: str) -> bool:
    """Whether a path without a slash at its end, outside `/v1/`, is one of the ingest endpoint."""
    return path == CONFIG_PATH or ingest_path(path) is not None


def allowed_methods(path: str) -> str:
    """The methods of a path, for `Allow`."""
    if hook_name(path) is not None:
        return ", ".join((*HOOK_METHODS, "OPTIONS"))
    known = ingest_path(path)
    return ", ".join((*(known.methods if known is not None else ("GET",)), "OPTIONS"))


def _collect(write_key: str | None = None) -> IngestPath:
    def read(scope: Scope, body: bytes) -> Envelope | RequestRefused:
        return read_collect(scope["query_string"].decode("latin-1"), body)

    return IngestPath(read, send_nothing, ("GET", "POST"), write_key=write_key, key_parameter="api_secret")


def _single(kind: str) -> IngestPath:
    return IngestPath(lambda _scope, body: read_single(body, kind), is_single=True)


_PATHS: Final[dict[str, IngestPath]] = {
    **{path: _single(kind) for path, kind in SINGLE_PATHS.items()},
    **dict.fromkeys(BATCH_PATHS, IngestPath(lambda _scope, body: read_batch(body))),
    MEASUREMENT_PATH: IngestPath(lambda _scope, body: read_measurement(body), send_nothing, key_parameter="api_secret"),
    COLLECT_PATH: _collect(),
}
