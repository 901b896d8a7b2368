"""A replay file that is not the one the database remembers refuses every start, until it is restored or its loss is accepted."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cdp.flows.operations.startup import open_service
from cdp.flows.rights.replay import is_behind
from cdp.kit.config import read_config
from cdp.kit.state import StateFolder, StateStore
from cdp.kit.state_database import open_state_database
from cdp.postgres.server import EmbeddedPostgres
from cdp.rights.replay_file import REPLAY_FILE
from tests.support.commands import Service, Shell
from tests.support.databases import EMPTY, plain_url, temporary_database
from tests.support.killed_command import is_killed_at
from tests.support.messages import batch, consent_context, identify
from tests.support.waits import until

pytestmark = pytest.mark.slow

MASTER_KEY = "0123456789abcdef" * 4
OPT_OUT = ("--purpose", "analytics", "--act", "refuse", "--jurisdiction", "eu")


@dataclass
class Installation:
    """A database, its state store, and what the replay file contained after each step."""

    shell: Shell
    store: StateStore
    earlier: bytes = b""
    newest: bytes = b""

    def content(self) -> bytes:
        content = self.store.read(REPLAY_FILE)
        assert content is not None
        return content

    def fill(self) -> None:
        """Two opt-outs, one of them withdrawn and repeated, and an erasure."""
        with open_service(read_config(self.shell.environment())):
            pass  # binds the state store
        self.shell.run("consent", "record", "user_id:ada", *OPT_OUT)
        self.earlier = self.content()
        self.shell.run("consent", "record", "user_id:bob", *OPT_OUT)
        self.shell.run("consent", "record", "user_id:eve", "--purpose", "analytics", "--act", "grant")
        request = self.shell.json("request", "open", "erasure", "user_id:eve")["id"]
        self.shell.run("request", "verify", request)
        self.shell.run("request", "run", request)
        self.newest = self.content()
        assert self.newest.count(b"\n") == 4

    def compact(self) -> None:
        """Repeat an opt-out, which lets the sweep drop the line that it repeats."""
        self.shell.run("consent", "record", "user_id:ada", *OPT_OUT)
        self.shell.run("retention", "sweep")
        assert b'"compactions":1' in self.content()
        self.newest = self.content()


@contextmanager
def installation(server: EmbeddedPostgres, folder: Path, *, kind: str) -> Iterator[Installation]:
    with temporary_database(server, EMPTY) as url, temporary_database(server, EMPTY) as state_url:
        settings = {"CDP_DATABASE_URL": plain_url(url), "CDP_MASTER_KEY": MASTER_KEY}
        if kind == "folder":
            yield Installation(Shell(folder / "home", settings), StateFolder(folder / "home"))
            return
        store = open_state_database(state_url)
        try:
            yield Installation(Shell(folder / "home", {**settings, "CDP_STATE_URL": plain_url(state_url)}), store)
        finally:
            store.close()


@pytest.fixture(params=["folder", "database"])
def installed(request: pytest.FixtureRequest, server: EmbeddedPostgres, home: Path) -> Iterator[Installation]:
    with installation(server, home, kind=request.param) as found:
        found.fill()
        yield found


def is_ready(service: Service) -> bool:
    return service.request("GET", "/readyz").status_code == 200


def is_replay_failing(service: Service) -> bool:
    return bool(service.request("GET", "/readyz").json()["checks"]["replay"] == "failing")


def gone(installed: Installation) -> None:
    installed.store.destroy(REPLAY_FILE)


def cut_between_lines(installed: Installation) -> None:
    installed.store.replace(REPLAY_FILE, installed.newest[: installed.newest[:-1].rfind(b"\n") + 1])


def cut_within_a_line(installed: Installation) -> None:
    installed.store.replace(REPLAY_FILE, installed.newest[:-20])


def older(installed: Installation) -> None:
    installed.store.replace(REPLAY_FILE, installed.earlier)


def emptied(installed: Installation) -> None:
    installed.store.replace(REPLAY_FILE, b"")


def same_length(installed: Installation) -> None:
    at = installed.newest.rfind(b'"pseudonyms":["') + 15
    digit = b"0" if installed.newest[at : at + 1] != b"0" else b"1"
    installed.store.replace(REPLAY_FILE, installed.newest[:at] + digit + installed.newest[at + 1 :])


def compacted_and_cut(installed: Installation) -> None:
    installed.compact()
    cut_between_lines(installed)


def from_before_a_compaction(installed: Installation) -> None:
    before = installed.newest
    installed.compact()
    installed.store.replace(REPLAY_FILE, before)


LOSSES: dict[Callable[[Installation], None], tuple[str, int]] = {
    gone: ("replay_file_missing", 2),
    emptied: ("replay_file_missing", 2),
    cut_between_lines: ("state_outdated", 0),
    cut_within_a_line: ("state_outdated", 0),
    older: ("state_outdated", 1),
    same_length: ("replay_file_altered", 0),
    compacted_and_cut: ("replay_file_altered", 2),
    from_before_a_compaction: ("state_outdated", 1),
}
"""Each loss with the fault that names it, and the number of opt-outs that the file lacks; the erasure is lacking unless kept."""


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.__name__)
def test_a_loss_refuses_every_start_and_is_accepted_only_by_a_confirmed_act(
    installed: Installation, loss: Callable[[Installation], None]
) -> None:
    shell, (code, opt_outs) = installed.shell, LOSSES[loss]
    loss(installed)
    left = installed.store.read(REPLAY_FILE)
    for arguments in (("serve", "--port", "0", "--no-demo"), ("worker",)):
        refused = shell.run(*arguments, code=1).stderr
        assert refused.startswith(f"{code}: ")
        assert "cdp replay --accept-loss" in refused
    for command in (
        ["consent", "record", "user_id:ada", *OPT_OUT],
        ["retention", "sweep"],
        ["request", "open", "erasure", "user_id:ada"],
        ["replay"],
    ):
        assert shell.run(*command, code=1).stderr.startswith(f"{code}: ")
    assert installed.store.read(REPLAY_FILE) == left, "a refused command changes nothing"

    shown = shell.json("replay", "--accept-loss", "--dry-run")
    assert shown["fault"] == code
    assert shown["opt_outs"]["count"] == opt_outs
    keeps_the_erasure = loss in (same_length, compacted_and_cut, from_before_a_compaction)
    assert shown["erasures"]["count"] == (0 if keeps_the_erasure else 1)
    assert (shown["opt_outs"]["first_at"] is None) == (opt_outs == 0)
    assert "Nothing was changed" in shell.run("replay", "--accept-loss", code=3).stderr
    assert shell.run("source", "list", code=1).stderr.startswith(f"{code}: ")
    assert installed.store.read(REPLAY_FILE) == left

    shell.run("replay", "--accept-loss", "--yes")
    with open_service(read_config(shell.environment())) as context:
        assert not is_behind(context)
    shell.run("consent", "record", "user_id:cy", *OPT_OUT)
    assert shell.run("replay", "--accept-loss", "--yes", code=3).stderr.startswith("nothing_lost: ")
    entries = shell.run("audit", "report", "--json").stdout
    assert "replay.loss_accepted" in entries
    if left != installed.newest:
        installed.store.replace(REPLAY_FILE, installed.newest)  # the one that was lost is found
        assert shell.run("source", "list", code=1).stderr.startswith(("state_outdated: ", "replay_file_altered: "))


@pytest.mark.parametrize("loss", [gone, older])
def test_an_acceptance_that_is_killed_at_any_step_is_in_the_log_or_did_not_happen(
    installed: Installation, loss: Callable[[Installation], None]
) -> None:
    loss(installed)
    shell, accept = installed.shell, ("replay", "--accept-loss", "--yes")
    for step in range(1, 100):
        if not is_killed_at(shell, step, accept, with_commits=True):
            break
        if shell.result("source", "list").code == 0:
            assert "replay.loss_accepted" in shell.run("audit", "report", "--json").stdout, f"killed at step {step}"
            loss(installed)
    else:
        raise AssertionError("the acceptance never ended")
    assert step > 3
    assert "replay.loss_accepted" in shell.run("audit", "report", "--json").stdout


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.__name__)
def test_the_restored_file_ends_every_refusal(installed: Installation, loss: Callable[[Installation], None]) -> None:
    loss(installed)
    installed.shell.run("source", "list", code=1)
    installed.store.replace(REPLAY_FILE, installed.newest)
    installed.shell.run("consent", "record", "user_id:cy", *OPT_OUT)
    assert installed.content().startswith(installed.newest)


def test_the_file_of_another_installation_is_refused(server: EmbeddedPostgres, home: Path) -> None:
    with (
        installation(server, home / "a", kind="folder") as one,
        installation(server, home / "b", kind="folder") as other,
    ):
        one.fill()
        other.fill()
        shutil.copy(home / "b" / "home" / REPLAY_FILE, home / "a" / "home" / REPLAY_FILE)
        for arguments in (("serve", "--port", "0", "--no-demo"), ("worker",), ("source", "list")):
            refused = one.shell.run(*arguments, code=1).stderr
            assert refused.startswith("replay_file_foreign: ")
            assert "cdp replay --accept-loss" in refused
        shown: Any = one.shell.json("replay", "--accept-loss", "--dry-run")
        assert (shown["opt_outs"]["count"], shown["erasures"]["count"]) == (2, 1)
        assert "another database" in json.dumps(shown)


def test_a_running_service_stops_storing_what_a_lost_file_cannot_keep(installed: Installation) -> None:
    with installed.shell.serving() as first, installed.shell.serving() as second:
        key = installed.shell.json("source", "create", "shop", "--kind", "server", "--jurisdiction", "eu")["write_key"]
        token = installed.shell.json("token", "create", "staff", "--role", "privacy")["token"]
        staff = {"Authorization": f"Bearer {token}"}
        act = {"identifier": {"type": "user_id", "value": "ada"}, "purpose": "analytics", "act": "withdraw"}
        body = batch(identify(userId="ada", context=consent_context(analytics=False, advertising=False)))
        cut_between_lines(installed)
        for service in (first, second):
            until(partial(is_replay_failing, service), "the service to find it")
            answer = service.request("POST", "/v1/batch", auth=(key, ""), json=body)
            assert (answer.status_code, "Retry-After" in answer.headers) == (503, True), answer.text
            answer = service.request("POST", "/api/v1/consents", headers=staff, json=act)
            assert (answer.status_code, "Retry-After" in answer.headers) == (503, True), answer.text
            assert "CDP_" not in answer.text
        installed.store.replace(REPLAY_FILE, installed.newest)
        for service in (first, second):
            until(partial(is_ready, service), "the service to be ready again")
        assert first.request("POST", "/v1/batch", auth=(key, ""), json=body).status_code == 200
