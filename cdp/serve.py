"""The service: database, vault, policy, worker and web application of one CDP_HOME, from start to clean shutdown.

Wiring only. No request is accepted before the replay file has been applied to a restored database.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final

import uvicorn
import uvloop

from cdp.access.model import Role
from cdp.flows.context import Context
from cdp.flows.operations import tokens
from cdp.flows.operations.pools import Pools, open_pools, require_connections
from cdp.flows.operations.startup import PolicyWatcher, open_service, sequence_all
from cdp.flows.rights.replay import is_behind, replay
from cdp.kit.config import Config
from cdp.kit.errors import Fault
from cdp.kit.gc import freeze_live_objects
from cdp.kit.wording import counted
from cdp.postgres.place import find_place, make_home, open_to_others, write_private
from cdp.web.app import Surroundings, create_app
from cdp.web.connections.addresses import with_mapped
from cdp.web.connections.hosts import TrustedHosts
from cdp.web.connections.limits import ConnectionLimits, within_open_files
from cdp.web.connections.protocol import protocol_with
from cdp.web.connections.table import ConnectionTable
from cdp.worker.runner import Worker
from cdp.worker.tasks import create_worker

ADMIN_TOKEN_FILE: Final = "admin.token"  # noqa: S105 - the name of a file
_DRAIN_SECONDS: Final = 15
_KEEP_ALIVE_SECONDS: Final = 75
_SWITCH_SECONDS: Final = 0.001
"""How long a thread keeps the interpreter when others want it. With Python's 5 ms, an act of consent waited for the thread that
stores messages after each of its statements."""
_log = logging.getLogger(__name__)

PrintLine = Callable[[str], None]
Application = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A running service: its URL and its policy watcher."""

    url: str
    watcher: PolicyWatcher


def serve(config: Config, print_line: PrintLine, *, on_start: Callable[[RunningServer], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT. `on_start` is called in a separate thread once requests are accepted.

    Faults: `address_not_usable`, those of opening the context.
    """
    with (
        _listener(config) as listener,
        open_service(config) as context,
        open_pools(context.database, config.pools) as pools,
        _stop_signals() as stopping,
    ):
        sys.setswitchinterval(_SWITCH_SECONDS)
        watcher = prepare(context, print_line)
        worker = create_worker(watcher)
        worker.start()
        try:
            host, port = listener.getsockname()[:2]
            started = RunningServer(f"http://{_local_host(host)}:{port}", watcher)
            connections = connections_of(config)
            surroundings = _surroundings(config, worker, pools)
            application = create_app(
                watcher,
                surroundings=surroundings,
                connections=connections,
                hosts=hosts_of(config),
            )
            server = _Server(_server_config(config, application, connections), stopping)
            _answer(server, listener, started=started, print_line=print_line, on_start=on_start)
        finally:
            worker.stop()
            sequence_all(watcher.context)
            _log.info("stopped")


def run_worker(config: Config, print_line: PrintLine) -> None:
    """Run only the worker, for services in other processes on the same database, until SIGTERM or SIGINT."""
    if config.database_url is None:
        raise Fault(
            "worker_needs_database",
            "With the embedded database, the worker is part of the service",
            "Run `cdp serve`. To run a separate worker, set CDP_DATABASE_URL to your own PostgreSQL server.",
            status=500,
        )
    with open_service(config) as context, _stop_signals() as stopping:
        require_connections(context.database, {"worker": config.pools.worker})
        watcher = prepare(context, print_line)
        worker = create_worker(watcher)
        worker.start()
        print_line("The worker is running. Press Ctrl-C to stop it.")
        try:
            while not stopping:
                worker.wait(0.5)
        finally:
            worker.stop()


def prepare(context: Context, print_line: PrintLine) -> PolicyWatcher:
    """Steps before requests are accepted: the replay, the notice of a new master key, the first admin token."""
    if context.notice is not None:
        print_line(f"!! {context.notice}")
    closing = open_to_others(context.home)
    if closing is not None:
        _log.warning("home_open_to_others")
        print_line(f"!! {context.home} can be read or changed by other accounts of this machine. Close it: {closing}")
    if context.pending_policy is not None:
        _log.warning("policy_not_applied", extra={"policy": context.pending_policy[:12]})
        print_line(
            "!! The policy folder differs from the policy in force, and was NOT applied. A start applies only a policy that is"
        )
        print_line(
            "!! new, touches nothing that is stored, and leaves readers, destinations, identifiers, jurisdictions and retention as they are."
        )
        print_line("!! The service runs under the policy in force. `cdp policy plan` shows what would change,")
        print_line(
            f"!! and `cdp policy apply` applies it; CDP_ACCEPT_POLICY={context.pending_policy} does so at a start."
        )
    if is_behind(context):
        print_line("The database is older than its replay file, so it was restored. Reapplying erasures and opt-outs…")
        replayed = replay(context, context.clock.now())
        print_line(
            f"Replayed {counted(replayed.lines, 'line')}; missing: {counted(replayed.erased, 'erasure')}, "
            f"{counted(replayed.opt_outs, 'opt-out')}."
        )
    _ensure_admin(context, print_line)
    sequence_all(context)
    return PolicyWatcher(context)


def _ensure_admin(context: Context, print_line: PrintLine) -> None:
    """Create the first admin token, in a file that only this user can read."""
    path = context.home / ADMIN_TOKEN_FILE
    if not tokens.has_admin(context):
        created = tokens.create_token(context, tokens.FIRST_ADMIN, Role.ADMIN, actor="system")
        make_home(context.home)
        write_private(path, created.secret.encode() + b"\n")
        print_line(f"The admin token is in {path}. Create tokens for your staff with `cdp token create`.")


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: on a signal the service stops more than the web server."""

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


def _surroundings(config: Config, worker: Worker, pools: Pools) -> Surroundings:
    """What the application knows of its process; with an embedded database the service writes to its folder, too."""
    place = find_place(config.home) if config.database_url is None else None
    return Surroundings(
        tasks=worker.status,
        failures=lambda: worker.failures,
        pools=pools,
        folders=() if place is None else (place.base,),
    )


def connections_of(config: Config) -> ConnectionTable:
    """The table of connections with the bounds that are configured."""
    limits = ConnectionLimits(
        connections_max=within_open_files(config.connections_max),
        connections_per_address_max=config.connections_per_address_max,
    )
    return ConnectionTable(limits, proxies=with_mapped(config.trusted_proxies))


def hosts_of(config: Config) -> TrustedHosts:
    """The names by which browsers reach this service; behind a proxy, none by which only the proxy does."""
    if config.trusted_proxies:
        return TrustedHosts(config.trusted_hosts, behind_proxy=True)
    return TrustedHosts([*config.trusted_hosts, f"{_local_host(config.host)}:{config.port}"])


def proxy_options(config: Config) -> dict[str, Any]:
    """Options of uvicorn: only a proxy that is configured may say whose request it sends."""
    trusted = [str(network) for network in with_mapped(config.trusted_proxies)]
    return {"proxy_headers": bool(trusted), "forwarded_allow_ips": trusted}


def _server_config(config: Config, application: Application, connections: ConnectionTable) -> uvicorn.Config:
    """uvicorn with the bounds of `cdp.web.connections`."""
    return uvicorn.Config(
        application,
        loop="none",
        http=protocol_with(connections),
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        **proxy_options(config),
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )


def _answer(
    server: _Server,
    listener: socket.socket,
    *,
    started: RunningServer,
    print_line: PrintLine,
    on_start: Callable[[RunningServer], None] | None,
) -> None:
    async def run() -> None:
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started and not serving.done():
            await asyncio.sleep(0.02)
        start_task = None
        if server.started:
            freeze_live_objects()
            print_line(f"cdp is ready at {started.url}")
            _log.info("started", extra={"port": int(started.url.rpartition(":")[2]), "pid": os.getpid()})
            start_task = asyncio.create_task(asyncio.to_thread(on_start, started)) if on_start is not None else None
        await serving
        if start_task is not None:
            await start_task

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """The stop signals received so far: the first ends the process gracefully, a second one at once."""
    received: list[int] = []

    def record(number: int, _frame: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.signal(number, record) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


@contextmanager
def _listener(config: Config) -> Iterator[socket.socket]:
    """The socket, bound before anything is opened, so that a port in use is reported at once; it listens once all is ready."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((config.host, config.port))
        except OSError as error:
            raise Fault(
                "address_not_usable",
                "The service cannot listen on this address",
                f"{config.host}:{config.port} cannot be used ({error.strerror}). Stop the process that uses it, or choose "
                "another port with --port or CDP_PORT.",
                status=500,
            ) from error
        yield listener


def _local_host(host: str) -> str:
    """The address as a browser on this machine reaches it."""
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def token_file(home: Path) -> Path:
    """The file with the admin token of the first start."""
    return home / ADMIN_TOKEN_FILE
