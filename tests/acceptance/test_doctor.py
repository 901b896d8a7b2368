"""`cdp doctor`: the checks of readiness as an operator sees them, with what to do, beside a service and without one."""

import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.commands import Service, Shell, outage, temporary_home
from tests.support.databases import plain_url
from tests.support.folders import FOLDERS
from tests.support.messages import batch, order
from tests.support.waits import until


@pytest.fixture
def shell() -> Iterator[Shell]:
    with temporary_home(FOLDERS) as home:
        yield Shell(home)


def diagnosed(shell: Shell) -> dict[str, dict[str, Any]]:
    """The checks that are not well, by name."""
    found = shell.json("doctor", code=1)
    return {check["check"]: check for check in found["checks"] if check["state"] not in ("ok", "unknown")}


def test_a_home_without_a_database_gets_none(shell: Shell) -> None:
    found = shell.json("doctor", code=1)
    assert found["status"] == "not_ready"
    database = found["checks"][0]
    assert (database["check"], database["code"]) == ("database", "database_lost")
    assert "CDP_HOME" in database["detail"]
    assert not shell.home.exists()


def test_beside_a_service_everything_is_well_and_what_breaks_is_named_with_what_to_do(shell: Shell) -> None:
    with shell.serving() as service:
        until(lambda: service.request("GET", "/readyz").json()["status"] == "ready")
        assert shell.json("doctor")["status"] == "ready"
        master = shell.home / "keys" / "master.key"
        content = master.read_bytes()
        master.unlink()
        told = shell.run("doctor", code=1)
        assert f"keys: The database contains sealed data, but {master} does not exist" in told.stdout
        until(lambda: service.request("GET", "/readyz").json()["checks"]["keys"] == "degraded")
        assert service.request("GET", "/readyz").status_code == 200
        master.write_bytes(content)
        master.chmod(0o600)

        with outage(shell.home):
            until(lambda: service.request("GET", "/readyz").status_code == 503)
            answer = service.request("GET", "/readyz")
            assert answer.json()["checks"]["database"] == "failing"
            assert answer.headers["retry-after"]
            assert service.request("GET", "/healthz").status_code == 200
        until(lambda: service.request("GET", "/readyz").status_code == 200)
    assert '"check":"database","state":"failing"' in service.output
    assert shell.json("doctor")["status"] == "ready"  # without a service


@pytest.fixture
def own(home: Path, database_url: str) -> Shell:
    """Commands on a server of one's own."""
    return Shell(home, {"CDP_DATABASE_URL": plain_url(database_url)})


def limited(service: Service, size: int) -> None:
    """How large the files of the running service may become: what a full disk does to it."""
    hard = resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (size, hard))


def test_a_full_disk_is_not_ready_until_there_is_room(own: Shell) -> None:
    key = own.json("source", "create", "shop", "--kind", "server")["write_key"]
    with own.serving() as service:
        until(lambda: service.request("GET", "/readyz").json()["status"] == "ready")
        limited(service, 0)
        until(lambda: service.request("GET", "/readyz").status_code == 503)
        checks = service.request("GET", "/readyz").json()["checks"]
        assert (checks["replay"], checks["disk"], checks["audit_copy"]) == ("failing", "failing", "degraded")
        assert (checks["database"], checks["migrations"], checks["keys"]) == ("ok", "ok", "ok")
        limited(service, resource.RLIM_INFINITY)
        until(lambda: service.request("GET", "/readyz").json()["status"] == "ready")
        sent = service.request("POST", "/v1/batch", auth=(key, ""), json=batch(order(userId="ada")))
        assert sent.status_code == 200
    assert not list(own.home.rglob(".*"))


def test_a_server_with_too_few_connections_is_refused_with_what_to_do(own: Shell) -> None:
    url = own.settings["CDP_DATABASE_URL"]
    name = url.partition("?")[0].rpartition("/")[2]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" CONNECTION LIMIT 34')
    refused = own.spawn("serve", "--port", "0", "--no-demo", code=1)
    assert "connections_exceed_server: " in refused.stderr
    assert not (own.home / "admin.token").exists()
    assert "35 connections" in refused.stderr
    assert "CDP_POOL_API=12" in refused.stderr
    assert "the CONNECTION LIMIT of the database allows 34" in refused.stderr
    smaller = Shell(own.home, {**own.settings, "CDP_POOL_API": "11"})
    with smaller.serving() as service:
        assert service.request("GET", "/readyz").status_code == 200


def test_each_pool_names_itself_to_the_server(own: Shell) -> None:
    key = own.json("source", "create", "shop", "--kind", "server")["write_key"]
    privacy = own.json("token", "create", "ada", "--role", "privacy")["token"]
    with own.serving() as service, psycopg.connect(own.settings["CDP_DATABASE_URL"], autocommit=True) as connection:
        service.request("GET", "/readyz")
        service.request("POST", "/v1/batch", auth=(key, ""), json=batch(order(userId="ada")))
        service.request("GET", "/api/v1/subject-requests", headers={"Authorization": f"Bearer {privacy}"})

        def names() -> set[str]:
            rows = connection.execute(
                "SELECT application_name FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            return {name for (name,) in rows}

        until(lambda: names() == {"cdp-api", "cdp-privacy", "cdp-ingest", "cdp-worker", "cdp-health"})
        admin = own.json("token", "create", "eve", "--role", "admin")["token"]
        metrics = service.request("GET", "/metrics", headers={"Authorization": f"Bearer {admin}"}).text
        for use in ("api", "ingest", "worker", "health"):
            assert f'cdp_pool_size{{pool="{use}"}}' in metrics


def test_a_server_that_nobody_reaches_is_named_without_secrets(home: Path) -> None:
    shell = Shell(home, {"CDP_DATABASE_URL": "postgresql://cdp:secret@127.0.0.1:1/cdp"})
    found = diagnosed(shell)
    assert found["database"]["code"] == "database_unavailable"
    assert "secret" not in str(found)
