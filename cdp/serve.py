"""The service: database, vault, policy, worker and doors of one home, from the first start to a clean stop.

Wiring only. Nothing is answered before a restored database was told again who was erased and who said no.
"""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

import uvicorn
import uvloop

from cdp.access.model import Role
from cdp.flows.context import Context
from cdp.flows.operations import tokens
from cdp.flows.operations.startup import PolicyWatcher, open_service, sequence_all
from cdp.flows.rights.replay import is_behind, replay
from cdp.kit.config import Config
from cdp.kit.errors import Fault
from cdp.kit.gc import freeze_live_objects
from cdp.postgres.place import write_private
from cdp.web.app import create_app
from cdp.worker.runner import Worker
from cdp.worker.tasks import create_worker

ADMIN_TOKEN_FILE: Final = "admin.token"  # noqa: S105 - the name of a file
_DRAIN_SECONDS: Final = 15
_KEEP_ALIVE_SECONDS: Final = 75
_log = logging.getLogger(__name__)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Started:
    """A service that answers: where, and over which rooms."""

    url: str
    watcher: PolicyWatcher


def serve(config: Config, say: Say, *, on_start: Callable[[Started], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT. `on_start` is called in a thread of its own once requests are answered.

    Faults: `address_not_usable`, those of opening the rooms.
    """
    with _listening(config) as listener, open_service(config) as context, _told_to_stop() as stopping:
        watcher = prepare(context, say)
        worker = create_worker(watcher)
        worker.start()
        try:
            host, port = listener.getsockname()[:2]
            started = Started(f"http://{_shown(host)}:{port}", watcher)
            _answer(watcher, worker, listener, started=started, say=say, on_start=on_start, stopping=stopping)
        finally:
            worker.stop()
            sequence_all(watcher.context)
            _log.info("stopped")


def work(config: Config, say: Say) -> None:
    """Run the worker alone, beside services that other processes run on the same database, until SIGTERM or SIGINT."""
    if config.database_url is None:
        raise Fault(
            "worker_needs_database",
            "The embedded database has its worker inside the service",
            "`cdp serve` runs it. A worker of its own is for a server of yours: set CDP_DATABASE_URL.",
            status=500,
        )
    with open_service(config) as context, _told_to_stop() as stopping:
        watcher = prepare(context, say)
        worker = create_worker(watcher)
        worker.start()
        say("The worker runs. Ctrl-C stops it.")
        try:
            while not stopping:
                worker.wait(0.5)
        finally:
            worker.stop()


def prepare(context: Context, say: Say) -> PolicyWatcher:
    """What comes before any door opens: the replay, the notice of a new master key, the first admin token."""
    if context.notice is not None:
        say(f"!! {context.notice}")
    if is_behind(context):
        say(
            "The database is older than its replay file: it was restored. Telling it again what was erased and refused…"
        )
        told = replay(context, context.clock.now())
        say(f"Replayed {told.lines} lines: {told.erased} erasures and {told.opt_outs} refusals were missing.")
    _ensure_admin(context, say)
    sequence_all(context)
    return PolicyWatcher(context)


def _ensure_admin(context: Context, say: Say) -> None:
    """Make the first admin token; it lies in a file that only this user reads."""
    path = context.home / ADMIN_TOKEN_FILE
    if not tokens.has_admin(context):
        made = tokens.create_token(context, tokens.FIRST_ADMIN, Role.ADMIN, actor="system")
        write_private(path, made.secret.encode() + b"\n")
        say(f"The admin token lies in {path}. Make tokens for people with `cdp token create`.")


def _answer(
    watcher: PolicyWatcher,
    worker: Worker,
    listener: socket.socket,
    *,
    started: Started,
    say: Say,
    on_start: Callable[[Started], None] | None,
    stopping: list[int],
) -> None:
    server = _Server(
        uvicorn.Config(
            create_app(watcher, is_working=lambda: worker.is_alive, failures=lambda: worker.failures),
            loop="none",
            http="httptools",
            lifespan="on",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_DRAIN_SECONDS,
        ),
        stopping,
    )

    async def run() -> None:
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started and not serving.done():
            await asyncio.sleep(0.02)
        telling = None
        if server.started:
            freeze_live_objects()
            say(f"cdp is ready at {started.url}")
            _log.info("started", extra={"port": int(started.url.rpartition(":")[2]), "pid": os.getpid()})
            telling = asyncio.create_task(asyncio.to_thread(on_start, started)) if on_start is not None else None
        await serving
        if telling is not None:
            await telling

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: the service stops more than the web server."""

    def __init__(self, config: uvicorn.Config, stopping: list[int]) -> None:
        super().__init__(config)
        self._stopping = stopping

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def on_tick(self, counter: int) -> bool:
        if self._stopping:
            self.should_exit = True
            self.force_exit = len(self._stopping) > 1
        return await super().on_tick(counter)


@contextmanager
def _told_to_stop() -> Iterator[list[int]]:
    """The signals that asked the process to end: one ends it when what waits is answered, a second one at once."""
    heard: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        heard.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield heard
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


@contextmanager
def _listening(config: Config) -> Iterator[socket.socket]:
    """The socket, bound before anything is opened, so that a taken port is told at once; it listens when all is ready."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((config.host, config.port))
        except OSError as error:
            raise Fault(
                "address_not_usable",
                "The service cannot listen there",
                f"{config.host}:{config.port} cannot be used ({error.strerror}). Stop what listens there, or choose "
                "another port with --port or CDP_PORT.",
                status=500,
            ) from error
        yield listener


def _shown(host: str) -> str:
    """How a browser on this machine reaches an address."""
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def token_file(home: Path) -> Path:
    """Where the first start puts the admin token."""
    return home / ADMIN_TOKEN_FILE
