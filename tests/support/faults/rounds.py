"""Rounds: load, a fault, its end, more load, then rest, and the checker over the whole history."""

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from tests.support.commands import ROOT
from tests.support.faults.checker import check
from tests.support.faults.clients import Client, Secrets
from tests.support.faults.deployment import Deployment
from tests.support.faults.generator import CLIENTS, plan
from tests.support.faults.history import History
from tests.support.faults.imports import Import
from tests.support.faults.nemesis import Fault, schedule
from tests.support.faults.store_state import StateReader
from tests.support.waits import until

FAILED: Final = ROOT / "build" / "faults"
"""Where the histories of failed rounds are written."""
ACTS: Final = 12
"""How many acts are acknowledged before a fault and after it, at least."""
_FAULT_SECONDS: Final = (0.2, 2.5)
_IMPORT_EVERY: Final = 4
LOG_CHECKED_EVERY: Final = 20
"""The log's own check verifies every signature there ever was, and takes longer with each round: it runs once in so many rounds, and
after the last. That each head shown to a client is the root over today's leaves is checked after every round."""


@dataclass(frozen=True, slots=True)
class RoundResult:
    """One round: its fault, how many acts were acknowledged and how many ended unknown, how long it took, what is wrong."""

    number: int
    fault: str
    acknowledged: int
    unknown: int
    seconds: float
    wrong: list[str]


@dataclass(slots=True)
class Run:
    """Rounds on one deployment, as a function of a seed but for the time that everything takes."""

    deployment: Deployment
    seed: int
    history: History = field(init=False)
    _reader: StateReader = field(init=False)
    _lags: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.history = History(self.seed)
        self._reader = StateReader(self.deployment, self.history)

    def rounds(self, count: int) -> Iterator[RoundResult]:
        """Run rounds, each with the next fault; the first that finds something wrong is the last."""
        for number, fault in zip(range(1, count + 1), schedule(self.seed), strict=False):
            result = self._round(number, fault, is_last=number == count)
            yield result
            if result.wrong:
                return

    def _round(self, number: int, fault: Fault, *, is_last: bool) -> RoundResult:
        begun = time.monotonic()
        self.history.faults.append((number, fault.name))
        self._load(number, fault)
        self.deployment.await_ready()
        asked = range(1, number + 1) if is_last else [number]
        wrong = self.wrong_after(number, asked, checks_log=is_last or number % LOG_CHECKED_EVERY == 1)
        if wrong:
            self.history.write(self.failed_file(number))
        acknowledged, unknown = self.history.acknowledged(number), self.history.unknown(number)
        return RoundResult(number, fault.name, acknowledged, unknown, time.monotonic() - begun, wrong)

    def wrong_after(self, number: int, asked: Iterable[int], *, checks_log: bool) -> list[str]:
        """What is wrong at rest, by the whole history; people are looked up if they acted in one of the rounds that are asked."""
        clients = [self._client(number, threading.Event()) for _ in range(CLIENTS)]
        return check(self.history.acts, self._reader.read(clients, rounds=asked, checks_log=checks_log))

    def failed_file(self, number: int) -> Path:
        """Where the history is written if this round fails."""
        return FAILED / f"seed-{self.seed}-round-{number}.jsonl"

    def _load(self, number: int, fault: Fault) -> None:
        """Send acts, strike under load, mend, and go on until acts are acknowledged again."""
        chance = Random(f"{self.seed}/{number}/strike")
        stop = threading.Event()
        imported = Import(self.deployment, number) if number % _IMPORT_EVERY == 0 else None
        clients = [self._client(number, stop) for _ in range(CLIENTS)]
        with ThreadPoolExecutor(CLIENTS) as pool:
            running = [pool.submit(one.run, plan(self.seed, number, at)) for at, one in enumerate(clients)]
            try:
                if imported is not None:
                    imported.start()  # it needs a second or two before it connects
                self._await_acts(number, ACTS, running)
                if fault.moves_clock:
                    self._lags.set()
                mend = fault.strike(self.deployment, chance)
                try:
                    time.sleep(chance.uniform(*_FAULT_SECONDS))
                    if imported is not None and chance.random() < 0.5:
                        imported.kill()
                finally:
                    mend()
                self._lags.clear()
                self._await_acts(number, ACTS, running)
                if imported is not None:
                    imported.finish(self.history)
            finally:
                stop.set()
        for done in running:
            done.result()

    def _await_acts(self, number: int, count: int, running: Sequence[Future[None]]) -> None:
        aim = self.history.acknowledged(number) + count
        until(
            lambda: self.history.acknowledged(number) >= aim or any(one.done() for one in running),
            "acts that are acknowledged",
        )

    def _client(self, number: int, stop: threading.Event) -> Client:
        targets = list(self.deployment.nodes.values())
        secrets = Secrets(self.deployment.keys, self.deployment.tokens)
        return Client(self.history, targets, secrets, number, stop, self._lags)
