"""A service with its embedded database, as `make run` starts it, for measurements from outside."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks._stage import PERMIT_ALL
from tests.support.commands import Service, Shell, temporary_home


@contextmanager
def served(*scopes: str) -> Iterator[tuple[Shell, Service, str]]:
    """A service that permits everything, and the write key of a server source with these scopes besides ingest."""
    with temporary_home() as home:
        shell = Shell(home, {"CDP_POLICIES": str(PERMIT_ALL)})
        with shell.serving() as service:
            source = {"name": "bench", "kind": "server", "jurisdiction": "eu", "scopes": ["ingest", *scopes]}
            yield shell, service, created(shell, service, "sources", source)


def created(shell: Shell, service: Service, what: str, body: dict[str, Any]) -> str:
    """The secret of a new source or token."""
    admin = (shell.home / "admin.token").read_text().strip()
    headers = {"Authorization": f"Bearer {admin}"}
    answer = service.request("POST", f"/api/v1/{what}", headers=headers, json=body).raise_for_status().json()
    return str(answer["write_key" if what == "sources" else "token"])
