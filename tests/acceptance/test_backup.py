"""Backups: what was erased stays erased, a rotation ends no backup, and the loss of the machine is survived."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from cdp.kit.db import Database
from cdp.postgres.server import EmbeddedPostgres
from tests.support.commands import Shell
from tests.support.databases import EMPTY, plain_url, temporary_database

pytestmark = pytest.mark.slow

MASTER_KEY = "0123456789abcdef" * 4


@pytest.fixture
def shell(server: EmbeddedPostgres, home: Path) -> Iterator[Shell]:
    with temporary_database(server, EMPTY) as url:
        yield Shell(home / "home", {"CDP_DATABASE_URL": plain_url(url), "CDP_MASTER_KEY": MASTER_KEY})


def consent(shell: Shell, *names: str, act: str = "grant") -> None:
    for name in names:
        shell.run(
            "consent", "record", f"user_id:{name}", "--purpose", "analytics", "--act", act, "--jurisdiction", "eu"
        )


def allowed(shell: Shell, name: str) -> bool:
    shown = shell.json("consent", "show", f"user_id:{name}")
    return bool(shown["verdicts"]["analytics"]["allowed"])


def erase(shell: Shell, name: str) -> None:
    request = shell.json("request", "open", "erasure", f"user_id:{name}")["id"]
    shell.run("request", "verify", request)
    shell.run("request", "run", request)


def back_up(shell: Shell, folder: Path) -> Path:
    shell.run("backup", str(folder), "--state", str(shell.home.parent / "copy"))
    return folder


def is_known(shell: Shell, name: str) -> bool:
    return bool(shell.json("consent", "show", f"user_id:{name}")["records"])


def test_the_drill(shell: Shell, home: Path) -> None:
    """Back up, erase, opt out, rotate, restore: the erased stay erased, opt-outs stay, everybody else is there."""
    consent(shell, "ada", "bob", "eve")
    folder = back_up(shell, home / "monday")
    erase(shell, "ada")
    consent(shell, "eve", act="withdraw")
    consent(shell, "late")
    shell.run("keys", "rotate")
    shell.run("keys", "rotate", "--epoch")

    refused = shell.run("restore", str(folder), code=3)
    assert refused.stderr.startswith("restore_not_confirmed: ")
    assert is_known(shell, "late")
    restored = shell.json("restore", str(folder), "--yes")
    assert restored["replayed"]["erased"] == 1
    assert restored["replayed"]["opt_outs"] == 1
    assert not is_known(shell, "ada")
    assert not is_known(shell, "late")
    assert (allowed(shell, "bob"), allowed(shell, "eve")) == (True, False)
    again = ["consent", "record", "user_id:ada", "--purpose", "analytics", "--act", "grant"]
    assert shell.run(*again, code=3).stderr.startswith("identifier_suppressed: ")
    assert "ok" in shell.run("audit", "check-log").stdout
    shell.run("keys", "rotate")
    consent(shell, "new")
    assert allowed(shell, "bob")


def test_a_backup_whose_keys_were_destroyed_is_refused_before_anything_changes(shell: Shell, home: Path) -> None:
    consent(shell, "bob")
    folder = back_up(shell, home / "monday")
    shell.run("keys", "rotate")
    shown = shell.run("keys", "destroy", code=3)
    assert "Backups made before" in shown.stdout
    assert "pseudonym/graph/1" in shown.stdout
    shell.run("keys", "destroy", "--yes")
    consent(shell, "late")
    back_up(shell, home / "tuesday")  # destroys the key in the copy, too
    refused = shell.run("restore", str(folder), "--state", str(home / "copy"), "--yes", code=1)
    assert refused.stderr.startswith("root_key_missing: ")
    assert "cdp keys destroy" in refused.stderr
    assert is_known(shell, "late")
    shell.run("restore", str(home / "tuesday"), "--yes")
    assert is_known(shell, "late")


def test_the_loss_of_the_machine_is_survived(shell: Shell, home: Path, server: EmbeddedPostgres) -> None:
    consent(shell, "ada", "bob")
    folder = back_up(shell, home / "monday")
    erase(shell, "ada")
    back_up(shell, home / "tuesday")
    shutil.rmtree(shell.home)
    with temporary_database(server, EMPTY) as url:
        fresh = Shell(home / "other", {"CDP_DATABASE_URL": plain_url(url), "CDP_MASTER_KEY": MASTER_KEY})
        refused = fresh.run("restore", str(folder), code=1)
        assert refused.stderr.startswith("root_key_missing: ")
        restored = fresh.json("restore", str(folder), "--state", str(home / "copy"))
        assert restored["replayed"]["erased"] == 1
        assert (is_known(fresh, "ada"), allowed(fresh, "bob")) == (False, True)
        assert "ok" in fresh.run("audit", "check-log").stdout


def test_a_damaged_or_unfinished_backup_is_refused(shell: Shell, home: Path) -> None:
    consent(shell, "bob")
    folder = back_up(shell, home / "monday")
    assert (folder / "database.dump").stat().st_mode & 0o077 == 0
    used = shell.run("backup", str(folder), "--state", str(home / "copy"), code=3)
    assert used.stderr.startswith("folder_not_empty: ")
    inside = shell.run("backup", str(home / "copy" / "x"), "--state", str(home / "copy"), code=2)
    assert inside.stderr.startswith("backup_in_state: ")
    service = Database(shell.settings["CDP_DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://"))
    with service.transaction():
        running = shell.run("restore", str(folder), "--yes", code=3)
        assert running.stderr.startswith("service_running: ")
    service.close()
    dump = (folder / "database.dump").read_bytes()
    (folder / "database.dump").write_bytes(dump[:-1] + b"x")
    altered = shell.run("restore", str(folder), "--yes", code=1)
    assert altered.stderr.startswith("backup_damaged: ")
    (folder / "database.dump").write_bytes(dump)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["rows"]["consent.record"] += 1
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert "consent.record" in shell.run("restore", str(folder), "--yes", code=1).stderr
    (folder / "manifest.json").unlink()
    assert "not completed" in shell.run("restore", str(folder), "--yes", code=1).stderr


def test_missing_programs_are_named(shell: Shell, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    consent(shell, "bob")
    monkeypatch.setattr("cdp.postgres.programs._WHEEL", "not_installed")
    monkeypatch.setenv("PATH", "/nowhere")
    refused = shell.run("backup", str(home / "monday"), "--state", str(home / "copy"), code=1)
    assert refused.stderr.startswith("dump_programs_missing: ")
    assert "postgresql-client" in refused.stderr


def test_a_state_that_is_older_than_the_backup_is_refused_before_anything_changes(
    shell: Shell, home: Path, server: EmbeddedPostgres
) -> None:
    consent(shell, "ada", "bob")
    back_up(shell, home / "sunday")
    shutil.copytree(home / "copy", home / "old_copy")
    erase(shell, "ada")
    consent(shell, "bob", act="withdraw")
    folder = back_up(shell, home / "monday")
    shutil.rmtree(shell.home)
    with temporary_database(server, EMPTY) as url:
        settings = {"CDP_DATABASE_URL": plain_url(url), "CDP_MASTER_KEY": MASTER_KEY}
        stale = Shell(home / "stale", settings)
        refused = stale.run("restore", str(folder), "--state", str(home / "old_copy"), code=3)
        assert refused.stderr.startswith("state_older_than_backup: ")
        assert "Nothing was changed" in refused.stderr
        fresh = Shell(home / "fresh", settings)
        restored = fresh.json("restore", str(folder), "--state", str(home / "copy"))
        assert restored["known_until"] is not None
        assert (is_known(fresh, "ada"), allowed(fresh, "bob")) == (False, False)
