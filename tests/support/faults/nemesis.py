"""The nemesis: faults that are injected under load and mended after a while."""

import os
import random
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from tests.support.faults.deployment import SERVICES, Deployment, await_instant
from tests.support.faults.disk import BELOW_A_WAL_SEGMENT, descendants, limit_files

_FORWARD: Final = timedelta(seconds=8)
_BACK: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault. `strike` injects it and returns what mends it."""

    name: str
    strike: Callable[[Deployment, random.Random], Callable[[], None]]
    moves_clock: bool = False


def _nothing() -> None:
    """Nothing to mend: cdp recovers by itself."""


def _kill_services(*names: str, number: int = signal.SIGKILL) -> Fault:
    def strike(deployment: Deployment, chance: random.Random) -> Callable[[], None]:
        chosen = names or (chance.choice(SERVICES),)
        for name in chosen:
            deployment.nodes[name].end(number)

        def mend() -> None:
            with ThreadPoolExecutor(len(chosen)) as pool:
                list(pool.map(lambda name: deployment.nodes[name].start(), chosen))

        return mend

    what = "both services" if names else "a service"
    return Fault(f"{signal.Signals(number).name} to {what}", strike)


def _signal_database(number: int, name: str, *, only_backend: bool = False) -> Fault:
    def strike(deployment: Deployment, chance: random.Random) -> Callable[[], None]:
        with suppress(OSError, ProcessLookupError):
            postmaster = deployment.postmaster()
            others = sorted(set(descendants(postmaster)) - {postmaster})
            target = chance.choice(others) if only_backend and others else postmaster
            os.kill(target, number)
        return _nothing

    return Fault(name, strike)


def _kill_everything(deployment: Deployment, chance: random.Random) -> Callable[[], None]:
    _signal_database(signal.SIGKILL, "").strike(deployment, chance)
    return _kill_services(*SERVICES).strike(deployment, chance)


def _reset_network(deployment: Deployment, _chance: random.Random) -> Callable[[], None]:
    deployment.proxy.reset()
    return _nothing


def _cut_network(deployment: Deployment, _chance: random.Random) -> Callable[[], None]:
    deployment.proxy.cut()
    return deployment.proxy.heal


def _stall_network(deployment: Deployment, _chance: random.Random) -> Callable[[], None]:
    deployment.proxy.stall()
    return deployment.proxy.heal


def _stall_then_reset(deployment: Deployment, _chance: random.Random) -> Callable[[], None]:
    deployment.proxy.stall()

    def mend() -> None:
        deployment.proxy.reset()
        deployment.proxy.heal()

    return mend


def _pause(processes: list[int]) -> Callable[[], None]:
    """Stop processes as a disk or a machine that hangs does, until they are continued."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGSTOP)

    def mend() -> None:
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)

    return mend


def _pause_database(deployment: Deployment, _chance: random.Random) -> Callable[[], None]:
    return _pause(descendants(deployment.postmaster()))


def _pause_service(deployment: Deployment, chance: random.Random) -> Callable[[], None]:
    service = deployment.nodes[chance.choice(SERVICES)].service
    assert service is not None
    return _pause([service.process.pid])


def _fill_database_disk(deployment: Deployment, _chance: random.Random) -> Callable[[], None]:
    disk = deployment.database_disk
    if disk.is_mounted:
        disk.fill()
        return disk.free
    limit_files(descendants(deployment.postmaster()), BELOW_A_WAL_SEGMENT)

    def mend() -> None:
        with suppress(OSError):
            limit_files(descendants(deployment.postmaster()), None)

    return mend


def _fill_state_disk(deployment: Deployment, _chance: random.Random) -> Callable[[], None]:
    if deployment.state_disk.is_mounted:
        deployment.state_disk.fill()
        return deployment.state_disk.free
    return _limit_services(deployment)


def _limit_services(deployment: Deployment) -> Callable[[], None]:
    processes = [node.service.process.pid for node in deployment.nodes.values() if node.service is not None]
    limit_files(processes, 0)
    return lambda: limit_files(processes, None)


def _limit_files(deployment: Deployment, _chance: random.Random) -> Callable[[], None]:
    return _limit_services(deployment)


def _protect_state(deployment: Deployment, _chance: random.Random) -> Callable[[], None]:
    deployment.state_disk.protect()
    return deployment.state_disk.unprotect


def _move_clock(by: timedelta, name: str) -> Fault:
    def strike(deployment: Deployment, chance: random.Random) -> Callable[[], None]:
        node = deployment.nodes[chance.choice(SERVICES)]
        instant = datetime.now(UTC) + by
        node.end(signal.SIGTERM)
        node.start({"CDP_NOW": instant.isoformat()})

        def mend() -> None:
            node.end(signal.SIGTERM)
            node.start()
            await_instant(instant.timestamp())

        return mend

    return Fault(name, strike, moves_clock=True)


FAULTS: Final[tuple[Fault, ...]] = (
    _kill_services(),
    _signal_database(signal.SIGKILL, "SIGKILL to the database"),
    Fault("network reset", _reset_network),
    Fault("database disk full", _fill_database_disk),
    _kill_services(*SERVICES),
    Fault("network stalled", _stall_network),
    _signal_database(signal.SIGQUIT, "immediate shutdown of the database"),
    Fault("state disk full", _fill_state_disk),
    Fault("database paused", _pause_database),
    _move_clock(-_BACK, "clock back"),
    Fault("SIGKILL to everything", _kill_everything),
    Fault("network cut", _cut_network),
    Fault("state unwritable", _protect_state),
    _signal_database(signal.SIGKILL, "SIGKILL to a process of the database", only_backend=True),
    Fault("service paused", _pause_service),
    _kill_services(number=signal.SIGTERM),
    Fault("network stalled, then reset", _stall_then_reset),
    _move_clock(_FORWARD, "clock forward"),
    Fault("files limited", _limit_files),
    _signal_database(signal.SIGINT, "fast shutdown of the database"),
)
"""One of each kind; a run of twenty rounds has each."""


def schedule(seed: int) -> Iterator[Fault]:
    """The faults of the rounds, without end: each kind once in a shuffled order, then again in another."""
    chance = random.Random(f"{seed}/faults")
    while True:
        yield from chance.sample(FAULTS, len(FAULTS))
