"""The bounds of connections and requests, and the reasons why one is refused."""

import resource
from dataclasses import dataclass
from enum import Enum
from typing import Final

_FILES_FOR_OTHERS: Final = 256
"""Descriptors that the database, the replay file and the logs need."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Bounds of one process. Sizes are bytes as they arrive, times are seconds, rates are bytes a second.

    A body must arrive within `body_seconds` and, after `grace_seconds`, at `rate_min`; an answer must be read likewise.
    """

    connections_max: int = 4096
    connections_per_address_max: int = 1024
    url_max: int = 8 * 1024
    head_max: int = 32 * 1024
    headers_max: int = 100
    body_max: int = 8 * 1024 * 1024
    pipelined_max: int = 16
    head_seconds: float = 10.0
    body_seconds: float = 30.0
    grace_seconds: float = 5.0
    rate_min: int = 500
    linger_seconds: float = 2.0
    sweep_seconds: float = 0.5


class Refusal(Enum):
    """Why a connection or a request is refused before its route: status, code and what would be right."""

    MALFORMED_REQUEST = (400, "The request is not valid HTTP/1.1.")
    REQUEST_TIMEOUT = (408, "The request did not arrive in time. Send it again.")
    BODY_TOO_LARGE = (413, "The body is too large. Send it in several requests.")
    URL_TOO_LONG = (414, "The URL is too long. Send what it contains in the body.")
    HEADERS_TOO_LARGE = (431, "The headers are too large or too many. Remove cookies and headers that are not needed.")
    TOO_MANY_CONNECTIONS = (503, "There are too many connections. Use one connection for several requests.")
    TOO_MANY_PIPELINED = (0, "Too many requests were sent ahead of their answers.")
    ANSWER_NOT_READ = (0, "The answer was not read in time.")
    NO_REQUEST = (0, "No request arrived in time.")

    @property
    def status(self) -> int:
        """The HTTP status, 0 where the connection is closed without an answer."""
        return self.value[0]

    @property
    def code(self) -> str:
        """The code in the answer, and the reason in the metrics."""
        return self.name.lower()

    @property
    def detail(self) -> str:
        """What is wrong, for the sender."""
        return self.value[1]


def within_open_files(connections_max: int) -> int:
    """The bound of connections that the limit of open files allows; the soft limit is raised to the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and (hard == resource.RLIM_INFINITY or soft < hard):
        wanted = connections_max + _FILES_FOR_OTHERS
        raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        if raised > soft:
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
            soft = raised
    return connections_max if soft == resource.RLIM_INFINITY else max(1, min(connections_max, soft - _FILES_FOR_OTHERS))
