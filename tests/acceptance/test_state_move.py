"""An installation moves its state to a database and back; killed at any step, the move is repeated, and nothing is lost."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from cdp.flows.operations.startup import open_service
from cdp.flows.rights.replay import is_behind
from cdp.kit.config import read_config
from cdp.kit.db import Database
from cdp.postgres.server import EmbeddedPostgres
from tests.support.commands import Shell
from tests.support.databases import EMPTY, plain_url, temporary_database
from tests.support.dumps import dump, restore
from tests.support.killed_command import is_killed_at

pytestmark = pytest.mark.slow

MASTER_KEY = "0123456789abcdef" * 4
OPT_OUT = ("--purpose", "analytics", "--act", "refuse", "--jurisdiction", "eu")


@dataclass
class Installation:
    """The settings before and after a move of the state to a database."""

    before: Shell
    after: Shell
    url: str
    state_url: str


@pytest.fixture
def installed(server: EmbeddedPostgres, home: Path) -> Iterator[Installation]:
    with temporary_database(server, EMPTY) as url, temporary_database(server, EMPTY) as state_url:
        settings = {"CDP_DATABASE_URL": plain_url(url), "CDP_MASTER_KEY": MASTER_KEY}
        before = Shell(home / "home", settings)
        after = Shell(home / "home", {**settings, "CDP_STATE_URL": plain_url(state_url)})
        start(before)
        before.run("consent", "record", "user_id:ada", *OPT_OUT)
        yield Installation(before, after, plain_url(url), plain_url(state_url))


def start(shell: Shell) -> None:
    """Start as a service does, and stop."""
    with open_service(read_config(shell.environment())) as context:
        assert not is_behind(context)


def refusal(shell: Shell) -> str:
    return shell.run("source", "list", code=1).stderr.partition(":")[0]


def erase(shell: Shell, name: str) -> None:
    request = shell.json("request", "open", "erasure", f"user_id:{name}")["id"]
    shell.run("request", "verify", request)
    shell.run("request", "run", request)


def test_the_state_moves_to_a_database_and_back_and_what_is_left_is_deleted_by_a_step_of_its_own(
    installed: Installation, server: EmbeddedPostgres, home: Path
) -> None:
    before, after = installed.before, installed.after
    move = ("state", "move", "--to", installed.state_url)
    files = {path: path.read_bytes() for path in (home / "home").rglob("*") if path.is_file()}
    plan = before.json(*move, "--dry-run")
    assert (plan["files"], plan["lines"]) == (len(files), 1)
    assert "secret" not in plan["target"]
    assert "--yes" in before.run(*move, code=3).stderr
    assert {path: path.read_bytes() for path in files} == files
    dump(installed.url, home / "before.dump")

    done = before.json(*move, "--yes")
    assert done["files"] == len(files)
    assert refusal(before) == "state_moved"
    assert urlsplit(installed.state_url).path in before.run("source", "list", code=1).stderr
    start(after)
    assert {path: path.read_bytes() for path in files} == files, "the old files can still be read"
    after.run("consent", "record", "user_id:bob", *OPT_OUT)
    erase(after, "ada")
    assert "ok" in after.run("audit", "check-log").stdout
    assert before.run(*move, "--yes", code=3).stderr.startswith("state_moved: ")

    restore(server, installed.url, home / "before.dump")
    assert refusal(before) == "state_moved", "also beside a database from before the move"
    with open_service(read_config(after.environment())) as context:
        assert is_behind(context)
    assert after.json("replay")["erased"] == 1
    assert after.run("consent", "record", "user_id:ada", *OPT_OUT, code=3).stderr.startswith("identifier_suppressed")

    old = (home / "home").as_uri()
    assert after.json("state", "discard", "--from", old, "--dry-run")["files"] == len(files)
    assert after.run("state", "discard", "--from", old, code=3).stderr.startswith("discard_not_confirmed: ")
    after.run("state", "discard", "--from", old, "--yes")
    assert [path for path in (home / "home").rglob("*") if path.is_file()] == []
    assert after.run("state", "discard", "--from", old, "--yes", code=3).stderr.startswith("state_not_left: ")

    after.run("state", "move", "--to", old, "--yes")
    assert refusal(after) == "state_moved"
    start(before)
    assert before.run("consent", "record", "user_id:ada", *OPT_OUT, code=3).stderr.startswith("identifier_suppressed")
    before.run(*move, "--yes")  # once more, over what the last move left
    start(after)


@pytest.mark.parametrize("back", [False, True], ids=["to_a_database", "to_a_folder"])
def test_a_move_that_is_killed_at_any_step_leaves_one_valid_state_and_can_be_repeated(
    installed: Installation, home: Path, back: bool
) -> None:
    if back:
        installed.before.run("state", "move", "--to", installed.state_url, "--yes")
    shells = (installed.after, installed.before) if back else (installed.before, installed.after)
    move = ("state", "move", "--to", (home / "home").as_uri() if back else installed.state_url, "--yes")
    own, other = shells
    lines = 1
    for step in range(1, 100):
        if not is_killed_at(own, step, move):
            break
        # Whatever the step: never both, and neither only where the message says how to go on.
        codes = [shell.result("replay") for shell in shells]
        usable = [result.code == 0 for result in codes]
        assert sum(usable) <= 1
        if not any(usable):
            assert all("state move" in result.stderr or "repeat" in result.stderr.lower() for result in codes)
        elif usable[0]:
            own.run("consent", "record", f"user_id:u{step}", *OPT_OUT)
            lines += 1
    else:
        raise AssertionError("the move never ended")
    assert step > 5
    start(other)
    assert refusal(own) == "state_moved"
    assert other.run("consent", "record", "user_id:last", *OPT_OUT).code == 0


def test_a_move_is_refused_where_it_could_lose_something(installed: Installation, home: Path) -> None:
    before = installed.before
    move = ("state", "move", "--to", installed.state_url, "--yes")
    service = Database(installed.url.replace("postgresql://", "postgresql+psycopg://"))
    with service.transaction():
        assert before.run(*move, code=3).stderr.startswith("service_running: ")
    service.close()
    here = (home / "home").as_uri()
    assert before.run("state", "move", "--to", here, "--yes", code=3).stderr.startswith("state_same_place: ")
    assert before.run("state", "move", "--to", installed.url, "--yes", code=1).stderr.startswith("state_in_database: ")
    path = before.run("state", "move", "--to", str(home / "new"), "--yes", code=2).stderr
    assert (home / "new").as_uri() in path
    other = Shell(home / "other", {**before.settings, "CDP_DATABASE_URL": installed.url})
    assert refusal(other) == "state_foreign"
    (home / "used" / "keys").mkdir(parents=True)
    (home / "used" / "keys" / "x.wrapped").write_text("of somebody else")
    used = before.run("state", "move", "--to", (home / "used").as_uri(), "--yes", code=3).stderr
    assert used.startswith("state_target_in_use: ")
    assert before.run("state", "discard", "--from", (home / "used").as_uri(), "--yes", code=3).stderr.startswith(
        "state_not_left: "
    )
    assert (home / "used" / "keys" / "x.wrapped").exists()
    start(before)
