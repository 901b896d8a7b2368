"""The demonstration from start to end. It can be stopped at any point and run again."""

import os
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

from cdp.demo.api_client import ApiClient
from cdp.demo.calls import Call, Sender, joining, sharing, shopping
from cdp.demo.notes import Notes, new_notes, read_notes
from cdp.demo.orders import LONDON, Calendar, ending_last_week, read_orders
from cdp.demo.people import EMAIL_MARKETING, DemoPerson, invent
from cdp.demo.send import Senders
from cdp.demo.tour import Tour, run_tour
from cdp.demo.transcript import Transcript
from cdp.kit.clock import SystemClock
from cdp.kit.config import Config
from cdp.kit.errors import Fault
from cdp.kit.wording import counted
from cdp.postgres.place import make_home

SOURCES: Final = {"shop": "demo-shop", "web": "demo-web"}
ROLES: Final = ("marketer", "privacy", "auditor")
ADMIN_TOKEN_FILE: Final = "admin.token"  # noqa: S105 - the name of a file
WITHDRAWALS: Final = "withdrawing"
_READY_SECONDS: Final = 120.0

Act = tuple[str, str, Callable[[Sequence[DemoPerson], Calendar], Iterator[Call]]]
ACTS: Final[tuple[Act, ...]] = (
    ("joining", "4,338 people browse and join", joining),
    ("shopping", "a year of orders and product views", shopping),
    ("sharing", "two people share a tablet", sharing),
)


@dataclass(frozen=True, slots=True)
class DemoRun:
    """Everything that a run needs: the API, the people, the calendar, the notes, and the output."""

    api: ApiClient
    people: Sequence[DemoPerson]
    calendar: Calendar
    notes: Notes
    transcript: Transcript


def run_demo(
    config: Config, url: str, console: Console | None, *, anyway: bool = False, is_serving: bool = True
) -> Notes:
    """Send everything that has not been sent yet, then show the results. `is_serving` when the service continues to run.

    Faults: `no_service`, `demo_data_missing`, `not_empty` when the store holds other sources, `demo_not_sent`.
    """
    with closing(ApiClient(url, {"admin": _admin_token(config.home)})) as api:
        run = send_all(prepare(config, api, Transcript(console), anyway=anyway))
        return show_results(config, run, is_serving=is_serving)


def show_results(config: Config, run: DemoRun, *, is_serving: bool) -> Notes:
    """Show the results."""
    shown_at = _present(config).astimezone(LONDON).replace(tzinfo=None) - timedelta(weeks=run.calendar.weeks)
    return run_tour(Tour(run.api, run.people, run.notes, run.transcript, shown_at, run.calendar, Senders, is_serving))


@contextmanager
def reachable(config: Config, url: str | None, console: Console) -> Iterator[tuple[str, bool]]:
    """The URL of a service, and whether it continues to run afterwards: a running one, or one started for the demonstration."""
    found = url or f"http://{config.host}:{config.port}"
    if url is not None or _is_ready(found):
        yield found, True
        return
    home = make_home(config.home)
    console.print(f"No service is running at {found}: starting one for the demonstration.", highlight=False)
    log_file = home / "demo-service.log"
    descriptor = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "cdp", "serve", "--no-demo"], stdout=log, stderr=log)
        try:
            _await(found, process, log_file)
            yield found, False
        finally:
            process.terminate()
            process.wait(60)


def _await(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while not _is_ready(url):
        if process.poll() is not None or time.monotonic() > deadline:
            raise Fault("no_service", "The service did not start", f"See {log} for the reason.", status=503)
        time.sleep(0.2)


def _is_ready(url: str) -> bool:
    with closing(ApiClient(url, {})) as api:
        return api.is_ready()


def prepare(config: Config, api: ApiClient, transcript: Transcript, *, anyway: bool) -> DemoRun:
    """The demonstration's own sources and tokens, created once; people and dates, identical in every run."""
    transcript.title("cdp in three minutes: a year of a real shop, with the consent of every person")
    notes = read_notes(config.home)
    if notes is None:
        if not anyway:
            _check_empty(api)
        notes = new_notes(config.home).noted(
            weeks=ending_last_week(_present(config)).weeks,
            write_keys={key: _new_source(api, name, key) for key, name in SOURCES.items()},
            tokens={role: _new_token(api, role) for role in ROLES},
        )
    api.tokens |= notes.tokens
    people = invent(read_orders())
    calendar = Calendar(notes.weeks, slip=SystemClock().now() - _present(config))
    transcript.say(
        "Real: 18,532 orders of 4,338 customers of a British gift shop (UCI Online Retail, CC BY 4.0), worth "
        "£8,911,407.90. Their dates are shifted by whole weeks, so that the last order was placed last week."
    )
    transcript.say(
        "Invented, identically in every run: e-mail addresses, two devices per person, product views, and consent "
        "choices."
    )
    return DemoRun(api, people, calendar, notes, transcript)


def _check_empty(api: ApiClient) -> None:
    if api.get("admin", "/api/v1/sources")["sources"]:
        raise Fault(
            "not_empty",
            "The store is in use: it has sources",
            "The demonstration adds 4,338 people. Use a separate one, for example with "
            "CDP_HOME=./var-demo CDP_PORT=8001 cdp demo, or pass --anyway.",
            status=409,
        )


def send_all(run: DemoRun) -> DemoRun:
    """Send the phases that are not complete; messages that were received before count once."""
    waiting = [act for act in ACTS if act[0] not in run.notes.acts]
    if not waiting and WITHDRAWALS in run.notes.acts:
        run.transcript.note("Everything was sent in an earlier run.")
        return run
    started_at = time.monotonic()
    count = 0
    keys: dict[Sender, str] = {"shop": run.notes.write_keys["shop"], "web": run.notes.write_keys["web"]}
    with Senders(run.api.url, keys) as senders:
        for key, name, calls_of in waiting:
            calls = list(calls_of(run.people, run.calendar))
            with run.transcript.bar(name, len(calls)) as watch:
                count += senders.send(calls, watch)
            run = replace(run, notes=run.notes.noted(acts=(*run.notes.acts, key)))
        run = _withdraw(run)
    seconds = time.monotonic() - started_at
    run.transcript.note(
        f"{counted(count, 'message')} sent in {seconds:.0f} seconds by segment-analytics-python, in batches of 100 from ten clients."
    )
    return run


def _withdraw(run: DemoRun) -> DemoRun:
    """Some people withdraw their consent to e-mail marketing, each by an act of their own."""
    if WITHDRAWALS in run.notes.acts:
        return run
    withdrawing = [person for person in run.people if person.withdrew_at is not None]
    calendar = replace(run.calendar, slip=timedelta(0))
    with run.transcript.bar(f"{len(withdrawing)} people withdraw consent", len(withdrawing)) as watch:
        for count, person in enumerate(withdrawing, start=1):
            assert person.withdrew_at is not None
            at = calendar.at(person.withdrew_at)
            run.api.withdraw(run.notes.write_keys["shop"], person.email, EMAIL_MARKETING, at=at)
            watch(count)
    return replace(run, notes=run.notes.noted(acts=(*run.notes.acts, WITHDRAWALS)))


def _present(config: Config) -> datetime:
    return config.clock().now()


def _admin_token(home: Path) -> str:
    try:
        return (home / ADMIN_TOKEN_FILE).read_text(encoding="ascii").strip()
    except OSError:
        raise Fault(
            "no_admin_token",
            "There is no admin token",
            f"The first start of the service writes {home / ADMIN_TOKEN_FILE}. Run the command as the same user, with the "
            "same CDP_HOME.",
            status=404,
        ) from None


def _new_source(api: ApiClient, name: str, key: str) -> str:
    is_shop = key == "shop"
    body = {
        "name": name,
        "kind": "server" if is_shop else "browser",
        "jurisdiction": "eu",
        "scopes": ["ingest", "consent"] if is_shop else ["ingest"],
    }
    return str(api.post("admin", "/api/v1/sources", body)["write_key"])


def _new_token(api: ApiClient, role: str) -> str:
    return str(api.post("admin", "/api/v1/tokens", {"name": f"demo {role}", "role": role})["token"])
