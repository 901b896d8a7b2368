"""The embedded PostgreSQL as its user meets it: private, one per home, and whole again after every kind of end."""

import os
import resource
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from cdp.kit.errors import Fault
from cdp.postgres.place import find_place
from cdp.postgres.server import EmbeddedPostgres
from tests.support.waits import PATIENCE_SECONDS, until

ROOT = Path(__file__).resolve().parents[2]
SERVICE = """
import sys, time
from pathlib import Path
from cdp.postgres.server import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
print(server.start(), flush=True)
time.sleep(3600)
"""


@pytest.fixture
def service(home: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that runs a server in this home."""
    child = start_service(home)
    yield child
    if child.poll() is None:
        child.kill()
    child.communicate()
    until(lambda: EmbeddedPostgres(home).attach() is None)


def quick(home: Path) -> EmbeddedPostgres:
    """A server that does not wait for the disk, where the test is about something else."""
    return EmbeddedPostgres(home, durable=False)


def start_service(home: Path) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", SERVICE, str(home)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline().startswith("postgresql+psycopg://cdp:")
    return child


def connect(url: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(url.replace("+psycopg", ""), autocommit=True, connect_timeout=int(PATIENCE_SECONDS))


def ask(url: str, query: str) -> object:
    with connect(url) as connection:
        row = connection.execute(query.encode()).fetchone()
    return None if row is None else row[0]


def postmaster(home: Path) -> int:
    place = find_place(home)
    assert place is not None
    return int((place.data / "postmaster.pid").read_text().splitlines()[0])


def server_log(home: Path) -> str:
    place = find_place(home)
    assert place is not None
    return place.log.read_text()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_what_is_committed_is_there_after_a_stop_and_a_start(home: Path) -> None:
    with quick(home) as server, connect(server.url) as connection:
        connection.execute("CREATE SCHEMA s")
        connection.execute("CREATE TABLE s.t AS SELECT 42 AS answer")
        first = server.url
    with quick(home) as server:
        assert server.url == first
        assert ask(server.url, "SELECT answer FROM s.t") == 42


def test_the_role_of_the_service_is_no_superuser_and_may_do_what_erasing_needs(home: Path) -> None:
    with quick(home) as server, connect(server.url) as connection:
        (row,) = connection.execute(
            "SELECT rolsuper, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = current_user"
        )
        assert row == (False, False, True)
        connection.execute("CHECKPOINT")
        connection.execute("SELECT pg_switch_wal()")
        connection.execute("CREATE ROLE marketer")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("COPY (SELECT 1) TO '/tmp/cdp-must-not-exist'")


def test_nothing_listens_but_a_private_socket_that_wants_a_password(home: Path) -> None:
    with quick(home) as server:
        assert ask(server.url, "SHOW listen_addresses") == ""
        socket = Path(str(ask(server.admin_url, "SHOW unix_socket_directories")))
        assert stat.S_IMODE(socket.stat().st_mode) == 0o700
        for name in ("data", "passwords.json"):
            place = find_place(home)
            assert place is not None
            assert stat.S_IMODE((place.base / name).stat().st_mode) & 0o077 == 0
        password = server.url.split(":")[2].split("@")[0]
        with pytest.raises(psycopg.OperationalError, match="password"):
            connect(server.url.replace(password, "wrong"))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("fsync", "on"),
        ("data_checksums", "on"),
        ("server_encoding", "UTF8"),
        ("lc_collate", "C"),
        ("timezone", "UTC"),
        ("log_statement", "none"),
        ("log_min_duration_statement", "-1"),
        ("log_parameter_max_length", "0"),
        ("log_parameter_max_length_on_error", "0"),
        ("log_min_error_statement", "panic"),
        ("wal_recycle", "off"),
        ("password_encryption", "scram-sha-256"),
    ],
)
def test_the_settings_that_privacy_and_safety_rest_on_are_in_force(home_of_all: str, setting: str, value: str) -> None:
    query = f"SELECT setting FROM pg_settings WHERE lower(name) = '{setting}'"
    if setting == "lc_collate":
        query = "SELECT datcollate FROM pg_database WHERE datname = 'cdp'"
    assert ask(home_of_all, query) == value


@pytest.fixture(scope="module")
def home_of_all() -> Iterator[str]:
    """The superuser's URL of a server that the tests of settings share."""
    with tempfile.TemporaryDirectory(prefix="cdp-test-") as folder:
        if os.geteuid() == 0:
            Path(folder).chmod(0o711)
        with EmbeddedPostgres(Path(folder) / "home") as server:
            yield server.admin_url


def test_a_failing_statement_leaves_no_value_in_the_log(home: Path) -> None:
    with quick(home) as server, connect(server.url) as connection:
        connection.execute("CREATE SCHEMA s")
        connection.execute("CREATE TABLE s.t (email text PRIMARY KEY)")
        for statement in ("INSERT INTO s.t VALUES ('ada@example.com')", "SELECT 'ada@example.com'::int"):
            connection.execute("INSERT INTO s.t VALUES ('ada@example.com') ON CONFLICT DO NOTHING")
            with pytest.raises(psycopg.Error):
                connection.execute(statement.encode())
    assert "ready to accept connections" in server_log(home)
    assert "ada@" not in server_log(home)


def test_a_second_service_on_the_same_home_is_told_who_has_it(home: Path, service: subprocess.Popen[str]) -> None:
    with pytest.raises(Fault) as raised:
        EmbeddedPostgres(home).start()
    assert raised.value.code == "home_in_use"
    assert str(service.pid) in raised.value.detail
    url = EmbeddedPostgres(home).attach()
    assert url is not None
    assert ask(url, "SELECT 1") == 1


def test_sigterm_stops_the_server_cleanly(home: Path, service: subprocess.Popen[str]) -> None:
    pid = postmaster(home)
    service.terminate()
    assert service.wait(PATIENCE_SECONDS) == 128 + signal.SIGTERM
    assert not is_alive(pid)
    assert server_log(home).rstrip().endswith("database system is shut down")


def test_the_server_does_not_outlive_a_killed_service_and_loses_nothing(
    home: Path, service: subprocess.Popen[str]
) -> None:
    url = EmbeddedPostgres(home).attach()
    assert url is not None
    with connect(url) as connection:
        connection.execute("CREATE SCHEMA s")
        connection.execute("CREATE TABLE s.t AS SELECT 7 AS n")
    service.kill()
    with EmbeddedPostgres(home) as server:
        assert ask(server.url, "SELECT n FROM s.t") == 7


def test_after_a_kill_of_everything_the_database_recovers(home: Path, service: subprocess.Popen[str]) -> None:
    url = EmbeddedPostgres(home).attach()
    assert url is not None
    with connect(url) as connection:
        connection.execute("CREATE SCHEMA s")
        connection.execute("CREATE TABLE s.t AS SELECT n FROM generate_series(1, 1000) AS n")
    pid = postmaster(home)
    os.kill(pid, signal.SIGSTOP)
    service.kill()
    os.kill(pid, signal.SIGKILL)
    with EmbeddedPostgres(home) as server:
        assert ask(server.url, "SELECT count(*) FROM s.t") == 1000
    assert "not properly shut down" in server_log(home)


def test_a_process_that_outlives_the_killed_server_is_waited_for(home: Path, service: subprocess.Popen[str]) -> None:
    """Its shared memory is in use until it notices the death of the server."""
    url = EmbeddedPostgres(home).attach()
    assert url is not None
    with connect(url) as connection:
        session = connection.info.backend_pid
        os.kill(session, signal.SIGSTOP)
        service.kill()
        os.kill(postmaster(home), signal.SIGKILL)
        wakes = threading.Timer(1.5, os.kill, (session, signal.SIGCONT))
        wakes.start()
        with EmbeddedPostgres(home) as server:
            assert ask(server.url, "SELECT 1") == 1
        wakes.join()


def test_a_server_that_dies_alone_comes_back(home: Path) -> None:
    with quick(home) as server:
        first = postmaster(home)
        os.kill(first, signal.SIGKILL)
        until(lambda: EmbeddedPostgres(home).attach() is not None and postmaster(home) != first)
        assert ask(server.url, "SELECT 1") == 1


def test_a_stale_pid_file_with_the_number_of_a_living_stranger_does_no_harm(home: Path) -> None:
    with quick(home):
        place = find_place(home)
        assert place is not None
        lines = (place.data / "postmaster.pid").read_text().splitlines()
    stranger = subprocess.Popen(["sleep", "3600"])
    try:
        lines[0] = str(stranger.pid)
        (place.data / "postmaster.pid").write_text("\n".join(lines) + "\n")
        with quick(home) as server:
            assert ask(server.url, "SELECT 1") == 1
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_data_of_another_version_is_refused_and_left_alone(home: Path) -> None:
    with EmbeddedPostgres(home, version="16", durable=False):
        pass
    with pytest.raises(Fault) as raised:
        EmbeddedPostgres(home, version="18").start()
    assert raised.value.code == "database_version"
    assert "16" in raised.value.detail
    with EmbeddedPostgres(home, version="16", durable=False) as server:
        assert str(ask(server.url, "SHOW server_version")).startswith("16.")


def test_half_a_database_is_never_taken_for_a_whole_one(home: Path) -> None:
    limited = f"""
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, {resource.RLIM_INFINITY}))
{SERVICE}"""
    done = subprocess.run([sys.executable, "-c", limited, str(home)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    assert "database_not_made" in done.stderr
    place = find_place(home)
    assert place is not None
    assert not place.data.exists()
    assert not (place.base / "data.part").exists()
    with quick(home) as server:
        assert ask(server.url, "SELECT 1") == 1


def test_lost_passwords_are_made_anew(home: Path) -> None:
    with quick(home) as server:
        first = server.url
    place = find_place(home)
    assert place is not None
    place.passwords.unlink()
    with quick(home) as server:
        assert server.url != first
        assert ask(server.url, "SELECT current_user::text") == "cdp"
        assert ask(server.admin_url, "SELECT current_user::text") == "cdp_admin"


def test_a_long_home_gets_a_private_socket_elsewhere_that_goes_with_the_server(home: Path) -> None:
    deep = home.joinpath(*["a-folder-with-a-long-name"] * 5)
    if os.geteuid() == 0:
        for folder in (*reversed(deep.parents), deep):
            if home in (folder, *folder.parents):
                folder.mkdir(exist_ok=True)
                folder.chmod(0o711)
    with quick(deep) as server:
        socket = Path(str(ask(server.admin_url, "SHOW unix_socket_directories")))
        assert deep not in socket.parents
        assert stat.S_IMODE(socket.stat().st_mode) == 0o700
    assert not socket.exists()


def test_secrets_of_the_service_do_not_reach_the_servers_environment(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDP_MASTER_KEY", "5ec2e7" * 10)
    monkeypatch.setenv("PGDATA", "/nonexistent")
    with quick(home):
        environment = Path(f"/proc/{postmaster(home)}/environ")
        assert not environment.exists() or b"5ec2e7" not in environment.read_bytes()


if os.geteuid() == 0:
    # What only root meets: the server must run as somebody else, who may not reach root's folders.

    def test_root_runs_the_server_as_somebody_else(home: Path) -> None:
        with quick(home):
            place = find_place(home)
            assert place is not None
            assert Path(f"/proc/{postmaster(home)}").stat().st_uid == place.account.uid != 0
            assert place.data.stat().st_uid == place.account.uid
            assert place.passwords.stat().st_uid == 0

    def test_a_home_behind_a_private_folder_keeps_its_data_elsewhere_and_no_folder_is_widened(
        home: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        home.chmod(0o700)
        with quick(home) as server:
            with connect(server.url) as connection:
                connection.execute("CREATE SCHEMA s")
            place = find_place(home)
            assert place is not None
            assert home not in place.base.parents
            assert stat.S_IMODE(home.stat().st_mode) == 0o700
        try:
            with quick(home) as server:
                assert ask(server.url, "SELECT count(*) FROM pg_namespace WHERE nspname = 's'") == 1
            pointer = (home / "postgres.location").read_text()
            (home / "postgres.location").unlink()
            with caplog.at_level("WARNING"), quick(home):
                new = find_place(home)
                assert new is not None
                assert new.base != place.base
            assert [vars(record)["folder"] for record in caplog.records] == [str(place.base)]
            subprocess.run(["rm", "-r", str(new.base)], check=True)
            (home / "postgres.location").write_text(pointer)
        finally:
            subprocess.run(["rm", "-r", str(place.base)], check=True)
        with pytest.raises(Fault) as raised:
            EmbeddedPostgres(home).start()
        assert raised.value.code == "database_lost"

    def test_a_strict_umask_does_not_keep_the_servers_account_out(home: Path) -> None:
        before = os.umask(0o077)
        try:
            with quick(home / "new"):
                place = find_place(home / "new")
                assert place is not None
                assert home in place.base.parents
        finally:
            os.umask(before)

    def test_another_user_cannot_use_the_socket(home: Path) -> None:
        with quick(home) as server:
            folder = str(ask(server.admin_url, "SHOW unix_socket_directories"))
            other = subprocess.run(
                ["ls", folder], user=65534, group=65534, extra_groups=[], capture_output=True, text=True
            )
            assert other.returncode != 0
            assert "Permission denied" in other.stderr
