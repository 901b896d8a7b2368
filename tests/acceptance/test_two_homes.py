"""Two services on one database: with state of their own the second is refused, with shared state both know every erasure."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cdp.postgres.server import EmbeddedPostgres
from tests.support.commands import CommandResult, Service, Shell
from tests.support.databases import EMPTY, plain_url, temporary_database
from tests.support.dumps import dump, restore
from tests.support.messages import batch, identify
from tests.support.waits import PATIENCE_SECONDS

pytestmark = pytest.mark.slow
MASTER_KEY = "0123456789abcdef" * 4


@pytest.fixture
def url(server: EmbeddedPostgres) -> Iterator[str]:
    with temporary_database(server, EMPTY) as url:
        yield plain_url(url)


@pytest.fixture
def state_url(server: EmbeddedPostgres) -> Iterator[str]:
    with temporary_database(server, EMPTY) as url:
        yield plain_url(url)


class Homes:
    """Services on one database, each with a home of its own."""

    def __init__(self, folder: Path, url: str, **settings: str) -> None:
        self.folder, self.url = folder, url
        self.settings = {"CDP_DATABASE_URL": url, **settings}

    def shell(self, name: str) -> Shell:
        return Shell(self.folder / name, self.settings)

    def refused(self, name: str) -> CommandResult:
        """The result of starting a service that does not start."""
        return self.shell(name).spawn("serve", "--port", "0", code=1)


def add_person(shell: Shell, service: Service) -> None:
    """A person who consents and sends a message."""
    key = shell.json("source", "create", "shop", "--kind", "server", "--jurisdiction", "eu")["write_key"]
    shell.run("consent", "record", "user_id:q2", "--purpose", "analytics", "--act", "grant", "--jurisdiction", "eu")
    sent = httpx.post(
        f"{service.url}/v1/batch", auth=(key, ""), json=batch(identify(userId="q2")), timeout=PATIENCE_SECONDS
    )
    assert sent.status_code == 200
    assert "q2" in shell.run("profile", "show", "user_id:q2").stdout


def erase(shell: Shell) -> None:
    request = shell.json("request", "open", "erasure", "user_id:q2")["id"]
    shell.run("request", "verify", request)
    shell.run("request", "run", request)
    shell.run("profile", "show", "user_id:q2", code=3)


def is_ready(service: Service) -> bool:
    return service.request("GET", "/readyz").status_code == 200


def test_a_home_with_only_the_keys_of_another_is_refused(home: Path, url: str) -> None:
    homes = Homes(home, url)
    with homes.shell("a").serving() as first:
        shutil.copytree(home / "a" / "keys", home / "c" / "keys")
        refused = homes.refused("c")
        assert refused.stderr.startswith("state_foreign: ")
        assert "CDP_STATE_URL" in refused.stderr
        assert homes.shell("c").run("source", "list", code=1).stderr.startswith("state_foreign: ")
        assert is_ready(first)


def test_a_copied_home_takes_over_and_the_original_never_brings_an_erased_person_back(
    home: Path, url: str, server: EmbeddedPostgres
) -> None:
    homes = Homes(home, url)
    with homes.shell("a").serving() as first:
        add_person(homes.shell("a"), first)
    shutil.copytree(home / "a", home / "c")
    dump(url, home / "before.dump")
    with homes.shell("a").serving() as first:
        refused = homes.refused("c")  # its copy is older than the last start
        assert refused.stderr.startswith("state_outdated: ")
        shutil.rmtree(home / "c")
        shutil.copytree(home / "a", home / "c")
        with homes.shell("c").serving() as second:
            assert is_ready(second)
            checks = first.request("GET", "/readyz").json()["checks"]
            assert checks["replay"] == "failing"
            erase(homes.shell("c"))
    restore(server, url, home / "before.dump")
    refused = homes.refused("a")
    assert refused.stderr.startswith("state_outdated: ")
    assert "cdp replay --accept-loss" in refused.stderr
    with homes.shell("c").serving() as second:
        assert is_ready(second)
        assert "1 erasure" in second.output
        homes.shell("c").run("profile", "show", "user_id:q2", code=3)


def test_a_replay_file_that_lacks_lines_of_the_database_is_refused(home: Path, url: str) -> None:
    shell = Homes(home, url).shell("a")
    file = home / "a" / "replay.jsonl"
    opt_out = ["consent", "record", "user_id:b", "--purpose", "analytics", "--act", "refuse"]
    shell.run(*opt_out)
    older = file.read_bytes()
    shell.run(*opt_out)
    newer = file.read_bytes()
    assert len(newer) > len(older)
    file.write_bytes(older)
    for command in (["source", "list"], opt_out, ["replay"]):
        refused = shell.run(*command, code=1).stderr
        assert refused.startswith("state_outdated: ")
        assert "ends at line 1" in refused
    file.write_bytes(newer)
    shell.run("source", "list")


@pytest.mark.parametrize("kind", ["folder", "database"])
def test_shared_state_knows_every_erasure_whichever_service_carried_it_out(
    home: Path, url: str, state_url: str, kind: str, server: EmbeddedPostgres
) -> None:
    state = (home / "state").as_uri() if kind == "folder" else state_url
    homes = Homes(home, url, CDP_STATE_URL=state, CDP_MASTER_KEY=MASTER_KEY)
    with homes.shell("a").serving() as first, homes.shell("c").serving() as second:
        assert is_ready(first)
        assert is_ready(second)
        add_person(homes.shell("a"), first)
        dump(url, home / "before.dump")
        erase(homes.shell("c"))
        assert is_ready(first)
    assert not (home / "c").exists()  # all that a second service needs is in the settings
    restore(server, url, home / "before.dump")
    with homes.shell("a").serving() as first:
        assert "1 erasure" in first.output
        assert is_ready(first)
        homes.shell("a").run("profile", "show", "user_id:q2", code=3)
        assert "ok" in homes.shell("c").run("audit", "check-log").stdout


def test_a_lost_state_store_is_replaced_only_by_an_explicit_act(home: Path, url: str) -> None:
    shell = Homes(home, url, CDP_MASTER_KEY=MASTER_KEY).shell("a")
    shell.run("consent", "record", "user_id:b", "--purpose", "analytics", "--act", "refuse")
    (home / "a" / "replay.jsonl").rename(home / "lost.jsonl")
    assert shell.run("source", "list", code=1).stderr.startswith("state_foreign: ")
    shown = shell.run("replay", "--accept-loss", code=3)
    assert "--yes" in shown.stderr
    assert shell.run("source", "list", code=1).stderr.startswith("state_foreign: ")
    shell.run("replay", "--accept-loss", "--yes")
    shell.run("consent", "record", "user_id:c", "--purpose", "analytics", "--act", "refuse")
    (home / "lost.jsonl").rename(home / "a" / "replay.jsonl")  # the one that was lost is found again
    assert shell.run("source", "list", code=1).stderr.startswith("state_outdated: ")


def test_state_in_the_database_itself_is_refused(home: Path, url: str) -> None:
    Homes(home, url).shell("a").run("migrate")
    inside = Homes(home, url, CDP_STATE_URL=url).shell("a")
    assert inside.run("source", "list", code=1).stderr.startswith("state_in_database: ")
    unreachable = Homes(home, url, CDP_STATE_URL="postgresql://cdp:secret@127.0.0.1:1/state").shell("a")
    refused = unreachable.run("source", "list", code=1)
    assert refused.stderr.startswith("state_unavailable: ")
    assert "CDP_STATE_URL" in refused.stderr
    assert "secret" not in refused.stderr
    assert "CDP_DATABASE_URL" not in refused.stderr
