"""The demonstration from its first message to its last word. It can be stopped anywhere and run again."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from rich.console import Console

from cdp.demo.ask import Api
from cdp.demo.calls import Call, Sender, joining, sharing, shopping
from cdp.demo.notes import Notes, new_notes, read_notes
from cdp.demo.orders import LONDON, Calendar, ending_last_week, read_orders
from cdp.demo.people import EMAIL_MARKETING, DemoPerson, invent
from cdp.demo.send import Senders
from cdp.demo.stage import Stage
from cdp.demo.tour import Visit, tour
from cdp.kit.clock import SystemClock
from cdp.kit.config import Config
from cdp.kit.errors import Fault

SOURCES: Final = {"shop": "demo-shop", "web": "demo-web"}
ROLES: Final = ("marketer", "privacy", "auditor")
ADMIN_TOKEN_FILE: Final = "admin.token"  # noqa: S105 - the name of a file
WITHDRAWALS: Final = "withdrawing"
_READY_SECONDS: Final = 120.0

Act = tuple[str, str, Callable[[Sequence[DemoPerson], Calendar], Iterator[Call]]]
ACTS: Final[tuple[Act, ...]] = (
    ("joining", "4,338 people visit and join", joining),
    ("shopping", "a year of orders and visits", shopping),
    ("sharing", "two people share a tablet", sharing),
)


@dataclass(frozen=True, slots=True)
class Play:
    """Everything that a run needs: the service, the people, the calendar, and where to speak."""

    api: Api
    people: Sequence[DemoPerson]
    calendar: Calendar
    notes: Notes
    stage: Stage


def run_demo(
    config: Config, url: str, console: Console | None, *, anyway: bool = False, is_serving: bool = True
) -> Notes:
    """Send everything that was not sent yet, then show what became of it. `is_serving` when the service goes on after it.

    Faults: `no_service`, `demo_data_missing`, `not_empty` when the store holds other sources, `demo_not_sent`.
    """
    with closing(Api(url, {"admin": _admin_token(config.home)})) as api:
        play = send_all(prepare(config, api, Stage(console), anyway=anyway))
        return walk(config, play, is_serving=is_serving)


def walk(config: Config, play: Play, *, is_serving: bool) -> Notes:
    """Show what became of what was sent."""
    shown_at = _present(config).astimezone(LONDON).replace(tzinfo=None) - timedelta(weeks=play.calendar.weeks)
    return tour(Visit(play.api, play.people, play.notes, play.stage, shown_at, play.calendar, Senders, is_serving))


@contextmanager
def reachable(config: Config, url: str | None, console: Console) -> Iterator[tuple[str, bool]]:
    """The URL of a service, and whether it goes on: the one that runs, or one that is started for as long as this lasts."""
    found = url or f"http://{config.host}:{config.port}"
    if url is not None or _answers(found):
        yield found, True
        return
    config.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    console.print(f"No service answers at {found}: starting one for the demonstration.", highlight=False)
    with (config.home / "demo-service.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "cdp", "serve", "--no-demo"], stdout=log, stderr=log)
        try:
            _await(found, process, Path(log.name))
            yield found, False
        finally:
            process.terminate()
            process.wait(60)


def _await(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while not _answers(url):
        if process.poll() is not None or time.monotonic() > deadline:
            raise Fault("no_service", "The service did not start", f"{log} says why.", status=503)
        time.sleep(0.2)


def _answers(url: str) -> bool:
    with closing(Api(url, {})) as api:
        return api.is_ready()


def prepare(config: Config, api: Api, stage: Stage, *, anyway: bool) -> Play:
    """Sources and tokens of the demonstration's own, made once; people and dates, the same in every run."""
    stage.title("cdp in three minutes: a year of a real shop, and what each person agreed to")
    notes = read_notes(config.home)
    if notes is None:
        if not anyway:
            _check_empty(api)
        notes = new_notes(config.home).noted(
            weeks=ending_last_week(_present(config)).weeks,
            write_keys={each: _new_source(api, name, each) for each, name in SOURCES.items()},
            tokens={role: _new_token(api, role) for role in ROLES},
        )
    api.tokens |= notes.tokens
    people = invent(read_orders())
    calendar = Calendar(notes.weeks, slip=SystemClock().now() - _present(config))
    stage.say(
        "Real: 18,532 orders of 4,338 customers of a British gift shop (UCI Online Retail, CC BY 4.0), worth "
        "£8,911,407.90. Their dates are moved by whole weeks, so that the last order is last week's."
    )
    stage.say(
        "Invented, the same in every run: e-mail addresses, two devices each, what they looked at, and what they "
        "answered when asked for consent."
    )
    return Play(api, people, calendar, notes, stage)


def _check_empty(api: Api) -> None:
    if api.get("admin", "/api/v1/sources")["sources"]:
        raise Fault(
            "not_empty",
            "This store is in use: it has sources",
            "The demonstration fills a store with 4,338 people. Give it one of its own, for instance with "
            "CDP_HOME=./var-demo CDP_PORT=8001 cdp demo, or say --anyway.",
            status=409,
        )


def send_all(play: Play) -> Play:
    """Send the acts that were not sent to their end; what arrived before counts once."""
    waiting = [act for act in ACTS if act[0] not in play.notes.acts]
    if not waiting and WITHDRAWALS in play.notes.acts:
        play.stage.note("Everything was sent in an earlier run.")
        return play
    started_at = time.monotonic()
    count = 0
    keys: dict[Sender, str] = {"shop": play.notes.write_keys["shop"], "web": play.notes.write_keys["web"]}
    with Senders(play.api.url, keys) as senders:
        for key, name, calls_of in waiting:
            calls = list(calls_of(play.people, play.calendar))
            with play.stage.bar(name, len(calls)) as watch:
                count += senders.send(calls, watch)
            play = replace(play, notes=play.notes.noted(acts=(*play.notes.acts, key)))
        play = _withdraw(play)
    seconds = time.monotonic() - started_at
    play.stage.note(
        f"{count:,} messages sent in {seconds:.0f} seconds by segment-analytics-python, in batches of 100 from ten clients."
    )
    return play


def _withdraw(play: Play) -> Play:
    """Some take their consent to letters back, each by an act of her own."""
    if WITHDRAWALS in play.notes.acts:
        return play
    leaving = [each for each in play.people if each.withdrew_at is not None]
    calendar = replace(play.calendar, slip=timedelta(0))
    with play.stage.bar(f"{len(leaving)} people withdraw consent", len(leaving)) as watch:
        for count, each in enumerate(leaving, start=1):
            assert each.withdrew_at is not None
            at = calendar.at(each.withdrew_at)
            play.api.withdraw(play.notes.write_keys["shop"], each.email, EMAIL_MARKETING, at=at)
            watch(count)
    return replace(play, notes=play.notes.noted(acts=(*play.notes.acts, WITHDRAWALS)))


def _present(config: Config) -> datetime:
    return config.clock().now()


def _admin_token(home: Path) -> str:
    try:
        return (home / ADMIN_TOKEN_FILE).read_text(encoding="ascii").strip()
    except OSError:
        raise Fault(
            "no_admin_token",
            "There is no admin token",
            f"The first start of the service writes {home / ADMIN_TOKEN_FILE}. Run this as the same user, with the same "
            "CDP_HOME.",
            status=404,
        ) from None


def _new_source(api: Api, name: str, key: str) -> str:
    is_shop = key == "shop"
    body = {
        "name": name,
        "kind": "server" if is_shop else "browser",
        "jurisdiction": "eu",
        "scopes": ["ingest", "consent"] if is_shop else ["ingest"],
    }
    return str(api.post("admin", "/api/v1/sources", body)["write_key"])


def _new_token(api: Api, role: str) -> str:
    return str(api.post("admin", "/api/v1/tokens", {"name": f"demo {role}", "role": role})["token"])
