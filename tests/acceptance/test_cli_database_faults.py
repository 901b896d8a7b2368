"""Every command ends in a sentence and an exit code when the database fails; never in the stack of a library."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from cdp.cli.command import Pair
from cdp.cli.main import cdp
from cdp.identity.store.generation import lock_exclusive
from cdp.kit.db import Database
from cdp.postgres.server import EmbeddedPostgres
from tests.support.commands import Shell
from tests.support.databases import EMPTY, administer, plain_url, temporary_database

UNREACHABLE: Final = "postgresql://cdp:hunter2@127.0.0.1:1/cdp"
# What the arguments of commands must be where their kind does not say it; `{mapping}` is the mapping of an import.
VALUES: Final = {
    "consume": ["--from", "amqp://127.0.0.1:1"],
    "import": ["--mapping", "{mapping}"],
    "serve": ["--port", "0"],
    "segment preview": ["new_buyers"],
    "source hook rotate": ["--end-previous"],
    "source hook set": ["--mapping", "{mapping}"],
    "source update": ["--defer"],
    "state discard": ["--from", "file:///srv/former-state"],
    "state move": ["--to", "file:///srv/state"],
}
NO_DATABASE: Final = {
    "init",
    "demo",
    "consent try",
    "source hook try",
    "policy check",
    "policy ropa",
    "segment check",
    "keys check-provider",
    "audit verify",
    "openapi",
    "docs",
    "doctor",  # reports it as one of its checks
    "restore",  # reads the backup first, which is not one here
}


def leaves(found: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something."""
    if not isinstance(found, click.Group):
        yield " ".join(path), found
        return
    context = click.Context(found)
    for name in found.list_commands(context):
        inner = found.get_command(context, name)
        assert inner is not None
        yield from leaves(inner, (*path, name))


COMMANDS: Final = {name: found for name, found in leaves(cdp) if name not in NO_DATABASE}


def value_of(param: click.Parameter, folder: Path) -> str:
    """A value that the command accepts before it opens the database."""
    if isinstance(param.type, Pair):
        return "email:ada@example.com"
    if isinstance(param.type, click.Choice):
        return str(param.type.choices[0])
    if isinstance(param.type, click.Path):
        return str(folder / ("people.csv" if param.type.exists else "out"))
    return "1"


def shell_on(url: str, home: Path) -> Shell:
    return Shell(home, {"CDP_DATABASE_URL": plain_url(url)})


def arguments_of(name: str, folder: Path) -> list[str]:
    """A command line that is valid as far as it can be checked without the database."""
    (folder / "people.csv").write_text("email\nada@example.com\n")
    (folder / "mapping.yaml").write_text("type: identify\nidentifiers: {email: email}\n")
    given = [value.format(mapping=folder / "mapping.yaml") for value in VALUES.get(name, [])]
    for param in COMMANDS[name].params:
        if param.required and not set(param.opts) & set(given):
            option = [param.opts[0]] if isinstance(param, click.Option) else []
            given += [*option, value_of(param, folder)]
    return [*name.split(), *given]


def test_commands_without_a_database_exist() -> None:
    assert {name for name, _ in leaves(cdp)} >= NO_DATABASE


@pytest.mark.parametrize("name", COMMANDS)
def test_a_database_that_cannot_be_reached_is_reported(name: str, home: Path, tmp_path: Path) -> None:
    failed = shell_on(UNREACHABLE, home).run(*arguments_of(name, tmp_path), code=1)
    assert failed.stderr.splitlines()[0] == "database_unavailable: The database is unavailable", failed.stderr
    assert "Connection refused" in failed.stderr
    assert "hunter2" not in failed.stderr
    assert ".py:" not in failed.stderr


def test_a_program_reads_the_fault_as_json(home: Path) -> None:
    failed = shell_on(UNREACHABLE, home).run("source", "list", "--json", code=1)
    document = json.loads(failed.stderr)
    assert document["code"] == "database_unavailable"
    assert "Connection refused" in document["database_message"]


def name_of(url: str) -> str:
    """The name of the database in a URL."""
    return str(conninfo_to_dict(plain_url(url))["dbname"])


@pytest.fixture
def url(server: EmbeddedPostgres, template: str) -> Iterator[str]:
    with temporary_database(server, template) as url:
        yield url


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda url: url.replace("cdp:", "cdp:x"), "password authentication failed"),
        (lambda url: url.replace("cdp:", "nobody:"), "password authentication failed"),
        (lambda url: url.replace("/test_", "/missing_"), "does not exist"),
    ],
    ids=["password", "role", "database"],
)
def test_a_refused_connection_says_what_to_check(url: str, home: Path, wrong: object, said: str) -> None:
    assert callable(wrong)
    failed = shell_on(wrong(url), home).run("source", "list", code=1)
    assert failed.stderr.startswith("database_refused: ")
    assert "CDP_DATABASE_URL" in failed.stderr
    assert said in failed.stderr


def test_a_role_without_rights_is_reported(server: EmbeddedPostgres, url: str, home: Path) -> None:
    poor = shell_on(url.replace(url[url.index("//") : url.index("@")], "//poor:poor"), home)
    shell_on(url, home).run("source", "list")
    administer(server, "CREATE ROLE {} LOGIN PASSWORD 'poor'", "poor")
    try:
        for command in ("source list", "migrate", "worker"):
            failed = poor.run(*command.split(), code=1)
            assert failed.stderr.startswith("database_rights_missing: "), command
            assert "permission denied" in failed.stderr
            assert "own" in failed.stderr
        administer(server, "REVOKE CONNECT ON DATABASE {} FROM PUBLIC", name_of(url))
        assert poor.run("source", "list", code=1).stderr.startswith("database_refused: ")
    finally:
        administer(server, "DROP ROLE {}", "poor")


def test_a_database_that_only_reads_is_reported(server: EmbeddedPostgres, home: Path) -> None:
    with temporary_database(server, EMPTY) as url:
        administer(server, "ALTER DATABASE {} SET default_transaction_read_only = on", name_of(url))
        for command in ("migrate", "source list"):
            failed = shell_on(url, home).run(*command.split(), code=1)
            assert failed.stderr.startswith("database_read_only: "), failed.stderr
            assert "primary" in failed.stderr


def test_a_lock_that_stays_taken_is_reported(url: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = Database.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "lock_seconds", 0.1)  # instead of half a minute
    other = Database(url)
    shell_on(url, home).run("source", "list")
    with other.transaction() as tx:
        lock_exclusive(tx)
        failed = shell_on(url, home).run(
            "consent", "record", "email:a@example.com", "--purpose", "analytics", "--act", "grant", code=1
        )
    other.close()
    assert failed.stderr.startswith("database_busy: ")
    assert "lock timeout" in failed.stderr


def test_a_schema_that_was_damaged_is_reported(url: str, home: Path) -> None:
    shell_on(url, home).run("source", "list")
    with psycopg.connect(plain_url(url)) as connection:
        connection.execute("DROP TABLE sources.source CASCADE")
    failed = shell_on(url, home).run("source", "list", code=1)
    assert failed.stderr.startswith("database_schema_differs: ")
    assert "sources.source" in failed.stderr


def test_any_other_error_of_the_database_is_named_by_its_state_alone(url: str, home: Path) -> None:
    shell_on(url, home).run("token", "create", "ann", "--role", "auditor")
    with psycopg.connect(plain_url(url)) as connection:
        connection.execute("ALTER TABLE access.token ADD CONSTRAINT closed CHECK (name = 'ann') NOT VALID")
    failed = shell_on(url, home).run("token", "create", "bertha", "--role", "auditor", code=1)
    assert failed.stderr.startswith("database_error: ")
    assert "23514" in failed.stderr
    assert "bertha" not in failed.stderr
    assert ".py:" not in failed.stderr


@pytest.mark.parametrize(
    "wrong", ["postgresql://cdp:a@host:70000/cdp", "postgresql://cdp:a@127.0.0.1:1/cdp?no_such_option=1"]
)
def test_a_url_that_cannot_be_used_is_a_wrong_setting(home: Path, wrong: str) -> None:
    failed = shell_on(wrong, home).run("source", "list", code=1)
    assert failed.stderr.startswith("wrong_setting: ")
    assert "CDP_DATABASE_URL" in failed.stderr
