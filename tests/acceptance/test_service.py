"""`cdp serve` from the first start to a kill and on: by itself, beside commands, and as somebody who is nobody."""

import json
import os
import signal
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.commands import ROOT, Service, Shell, outage, temporary_home
from tests.support.folders import FOLDERS
from tests.support.people import ADA_IDENTIFIER
from tests.support.waits import PATIENCE_SECONDS, until


@pytest.fixture
def shell() -> Iterator[Shell]:
    with temporary_home(FOLDERS) as home:
        yield Shell(home)


def asked(service: Service, token: str, path: str, body: object = None) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"}
    return service.request("GET" if body is None else "POST", path, headers=headers, json=body)


def signed(service: Service) -> int:
    """How many entries of the log are signed."""
    return int(service.request("GET", "/audit/log/checkpoint").text.split("\n")[1])


def test_the_service_starts_serves_beside_commands_survives_a_kill_and_stops(shell: Shell) -> None:
    token_file = shell.home / "admin.token"
    with shell.serving() as service:
        assert "master.key" in service.output
        assert str(token_file) in service.output
        assert stat.S_IMODE(token_file.stat().st_mode) == 0o600
        assert service.request("GET", "/readyz").json()["status"] == "ready"
        admin = token_file.read_text().strip()
        assert admin not in service.output
        assert asked(service, admin, "/api/v1/sources").json() == {"sources": []}

        size = signed(service)
        # Commands work on the database of the running service, and it knows at once what they did.
        key = shell.json("source", "create", "shop", "--kind", "server", "--scope", "ingest", "--scope", "consent")
        privacy = shell.json("token", "create", "ada", "--role", "privacy")["token"]
        shell.run("consent", "record", "email:ada@example.com", "--purpose", "analytics", "--act", "grant")
        body = {"userId": "ada", "traits": {"email": "ada@example.com"}}
        sent = service.request("POST", "/v1/identify", auth=(key["write_key"], ""), json=body)
        assert (sent.status_code, sent.json()) == (200, {"success": True})
        shown = asked(service, privacy, "/api/v1/profiles/lookup", {"identifier": ADA_IDENTIFIER})
        assert shown.json()["profile"] == shell.json("profile", "show", "email:ada@example.com")["profile"]
        until(lambda: signed(service) > size)

        # Nobody else uses the home, or the port.
        second = shell.spawn("serve", "--port", "0", "--no-demo", code=1)
        assert "home_in_use" in second.stderr
        port = service.url.rpartition(":")[2]
        taken = Shell(shell.home.parent / "other").spawn("serve", "--port", port, "--no-demo", code=1)
        assert "address_not_usable" in taken.stderr

        service.process.send_signal(signal.SIGKILL)
        service.process.wait(PATIENCE_SECONDS)

    with shell.serving() as again:
        assert "admin token lies" not in again.output
        assert asked(again, admin, "/api/v1/sources").json()["sources"][0]["name"] == "shop"
        shown = asked(again, privacy, "/api/v1/profiles/lookup", {"identifier": ADA_IDENTIFIER})
        assert [each["value"] for each in shown.json()["identifiers"]] == ["ada@example.com", "ada"]
        again.process.terminate()
        assert again.process.wait(PATIENCE_SECONDS) == 0
    assert not (shell.home / "postgres" / "data" / "postmaster.pid").exists()
    assert "ada@example.com" not in again.log.read_text()

    # Without a service the same commands start the database themselves, and leave a log that is whole.
    assert shell.json("profile", "show", "user_id:ada")["profile"] == shown.json()["profile"]
    found = json.loads(shell.spawn("audit", "check-log", "--json").stdout)
    assert found["is_sound"] is True
    assert found["size"] > size


def test_a_database_that_dies_is_told_with_503_and_comes_back(shell: Shell) -> None:
    with shell.serving() as service:
        key = shell.json("source", "create", "shop", "--kind", "server")["write_key"]
        privacy = shell.json("token", "create", "ada", "--role", "privacy")["token"]

        def states() -> tuple[int, int, int]:
            sent = service.request("POST", "/v1/track", auth=(key, ""), json={"event": "x", "userId": "u"})
            read = asked(service, privacy, "/api/v1/subject-requests")
            for answer in (sent, read):
                assert answer.status_code == 200 or int(answer.headers["retry-after"]) > 0
            return sent.status_code, read.status_code, service.request("GET", "/readyz").status_code

        assert states() == (200, 200, 200)
        seen: set[tuple[int, int, int]] = set()

        def recorded() -> tuple[int, int, int]:
            seen.add(found := states())
            return found

        with outage(shell.home):
            until(lambda: recorded() == (503, 503, 503))
        until(lambda: recorded() == (200, 200, 200))
        assert all(set(each) <= {200, 503} for each in seen)


def test_a_policy_applied_by_a_command_is_followed_by_the_running_service(shell: Shell, tmp_path: Path) -> None:
    with shell.serving() as service:
        privacy = shell.json("token", "create", "ada", "--role", "privacy")["token"]
        key = shell.json("source", "create", "shop", "--kind", "server", "--jurisdiction", "eu")["write_key"]
        message = {"userId": "bob", "event": "Product Viewed", "properties": {"price": 1}}
        asked_for = {"identifier": {"type": "user_id", "value": "bob"}}
        service.request("POST", "/v1/track", auth=(key, ""), json=message)
        assert asked(service, privacy, "/api/v1/profiles/lookup", asked_for).status_code == 404

        folder = tmp_path / "policies"
        copied(ROOT / "tests/data/policies/permit_all", ROOT / "policies", folder)
        changes = shell.json("policy", "plan", str(folder))["differences"]
        assert any(each["file"] == "purposes.yaml" for each in changes)
        assert shell.json("policy", "apply", str(folder))["is_new"] is True

        def is_permitted() -> bool:
            service.request("POST", "/v1/track", auth=(key, ""), json=message)
            return asked(service, privacy, "/api/v1/profiles/lookup", asked_for).status_code == 200

        until(is_permitted)
        assert shell.json("policy", "apply", str(folder))["is_new"] is False


def copied(changed: Path, base: Path, target: Path) -> None:
    """A policy folder: the base with the changed files in place of its own."""
    target.mkdir()
    (target / "segments").mkdir()
    for file in [*base.glob("*.yaml"), *base.glob("segments/*.yaml"), *changed.glob("*.yaml")]:
        folder = target / "segments" if file.parent.name == "segments" else target
        (folder / file.name).write_bytes(file.read_bytes())


def test_a_restored_home_without_its_master_key_does_not_start(shell: Shell) -> None:
    shell.run("source", "list")
    (shell.home / "keys" / "master.key").unlink()
    refused = shell.spawn("serve", "--port", "0", "--no-demo", code=1)
    assert "master_key_missing" in refused.stderr
    assert not (shell.home / "keys" / "master.key").exists()


def test_the_service_runs_as_a_user_without_rights(request: pytest.FixtureRequest) -> None:
    """Where root runs the tests, the service runs once as nobody; elsewhere every other test has shown it."""
    if os.geteuid() != 0:
        assert request.config is not None
        return
    with tempfile.TemporaryDirectory(prefix="cdp-nobody-") as folder:
        os.chown(folder, 65534, 65534)
        shell = Shell(Path(folder) / "home", {"HOME": folder}, {"user": 65534, "group": 65534, "extra_groups": []})
        if shell_cannot_read(shell):
            return
        with shell.serving() as service:
            assert service.request("GET", "/readyz").status_code == 200
            assert (shell.home / "admin.token").stat().st_uid == 65534
            assert json.loads(shell.spawn("source", "list", "--json").stdout) == []


def shell_cannot_read(shell: Shell) -> bool:
    """Whether this checkout or its interpreter lies where nobody may not look."""
    try:
        shell.spawn("--version")
    except (AssertionError, PermissionError):
        return True
    return False
