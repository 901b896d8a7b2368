"""Any key provider will do: the example of docs/reference/keys.md, installed as a package would install it."""

import json
import re
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner

from cdp.cli.keys import keys
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from cdp.kit.ids import new_ids
from cdp.vault.conformance import check_provider
from cdp.vault.keys import open_kms_provider
from cdp.vault.vault import Vault, open_vault

pytestmark = pytest.mark.postgres

NOW = datetime(2026, 3, 1, tzinfo=UTC)
REFERENCE = Path(__file__).parents[2] / "docs/reference/keys.md"


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The module of the reference page, with the entry point that announces it."""
    code, own_test = re.findall(r"```python\n(.*?)```", REFERENCE.read_text(), re.DOTALL)
    assert "check_provider" in own_test
    (declaration,) = re.findall(r"```ini\n(.*?)```", REFERENCE.read_text(), re.DOTALL)
    site = tmp_path / "site"
    (site / "example_kms-1.0.dist-info").mkdir(parents=True)
    (site / "example_kms.py").write_text(code)
    (site / "example_kms-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: example-kms\nVersion: 1.0\n")
    (site / "example_kms-1.0.dist-info/entry_points.txt").write_text(declaration)
    monkeypatch.syspath_prepend(str(site))
    yield
    sys.modules.pop("example_kms", None)


def test_the_documented_provider_serves_the_vault_and_is_asked_once_per_epoch(
    example: None, database: Database, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    example_kms = import_module("example_kms")

    decrypted = []
    unwrap: Callable[..., bytes] = example_kms.Service.decrypt

    def decrypt(self: object, *arguments: object) -> bytes:
        decrypted.append(arguments)
        return unwrap(self, *arguments)

    monkeypatch.setattr(example_kms.Service, "decrypt", decrypt)
    with database.transaction() as tx:
        vault, notice = open_vault(tx, home / "keys", None, now=NOW, kms_url="example://vault.test/main")
    with database.transaction() as tx:
        ids = new_ids(500)
        keys = vault.subject_keys.create(tx, ids)
    with database.transaction() as tx:
        again, _ = open_vault(tx, home / "keys", None, now=NOW, kms_url="example://vault.test/main")
        started = len(decrypted)
        assert again.subject_keys.keys_for(tx, ids) == keys
        again.subject_keys.evict_all()
        assert again.subject_keys.keys_for(tx, ids) == keys

    assert notice is None
    assert len(decrypted) - started <= 1
    assert not (home / "keys/master.key").exists()


def test_the_documented_provider_rotates_and_destroys(example: None, database: Database, home: Path) -> None:
    with database.transaction() as tx:
        vault, _ = open_vault(tx, home / "keys", None, now=NOW, kms_url="example://vault.test/main")
        keys = vault.subject_keys.create(tx, [7])
        vault.epochs.begin(tx, NOW)
        vault.epochs.rewrap(tx, after=0, limit=10)
        vault.epochs.mark_destroyed(tx, 1, NOW)
    with database.transaction() as tx:
        assert vault.root_keys.destroy_marked(tx) == ["epoch/1"]
        again, _ = open_vault(tx, home / "keys", None, now=NOW, kms_url="example://vault.test/main")
        assert again.subject_keys.keys_for(tx, [7]) == keys


def test_another_key_of_the_service_is_refused_beside_a_database_that_holds_anything(
    example: None, database: Database, home: Path
) -> None:
    with database.transaction() as tx:
        open_vault(tx, home / "keys", None, now=NOW, kms_url="example://vault.test/main")
    with database.transaction() as tx, pytest.raises(Fault, match="wrong_master_key"):
        open_vault(tx, home / "keys", None, now=NOW, kms_url="example://vault.test/other")


def test_a_service_that_is_down_is_a_fault_that_passes_and_readiness_knows_whether_writes_need_it(
    example: None, database: Database, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    example_kms = import_module("example_kms")

    def unreachable(*_: object) -> bytes:
        raise ConnectionRefusedError("https://user:secret@vault.test")

    def opened() -> Vault:
        with database.transaction() as tx:
            return open_vault(tx, home / "keys", None, now=NOW, kms_url="example://vault.test/main")[0]

    running, other = opened(), opened()
    with database.transaction() as tx:
        running.require_kept(tx)
        other.epochs.begin(tx, NOW)
    for verb in ("encrypt", "decrypt"):
        monkeypatch.setattr(example_kms.Service, verb, unreachable)

    for needs_the_service in (opened, lambda: _ready(database, running), lambda: _ready(database, other)):
        with pytest.raises(Fault) as caught:
            needs_the_service()
        assert (caught.value.code, caught.value.status) == ("key_service_unavailable", 503)
        assert "ConnectionRefusedError" in caught.value.detail
        assert "secret" not in caught.value.detail


def test_keys_in_memory_are_enough_while_the_service_is_down(
    example: None, database: Database, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    example_kms = import_module("example_kms")
    with database.transaction() as tx:
        vault, _ = open_vault(tx, home / "keys", None, now=NOW, kms_url="example://vault.test/main")
        vault.require_kept(tx)

    def unreachable(*_: object) -> bytes:
        raise TimeoutError

    for verb in ("names", "load"):
        monkeypatch.setattr(example_kms.Provider, verb, unreachable)
    _ready(database, vault)
    with database.transaction() as tx:
        assert vault.subject_keys.create(tx, [8])


def _ready(database: Database, vault: Vault) -> None:
    with database.transaction(read_only=True) as tx:
        vault.require_kept(tx)


def test_a_url_that_no_package_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Fault) as caught:
        open_kms_provider("nowhere://secret@host/key", tmp_path / "keys")

    assert caught.value.code == "kms_unknown"
    assert "secret" not in caught.value.detail


def test_the_documented_provider_keeps_every_promise(example: None, tmp_path: Path) -> None:
    example_kms = import_module("example_kms")

    folder = tmp_path / "keys"
    folder.mkdir()
    results = check_provider(lambda: example_kms.open_provider("example://vault.test/trial", folder), folder)

    assert [(result.text, result.broken) for result in results if result.broken] == []
    assert list(folder.iterdir()) == []


def test_the_command_for_authors_says_what_is_kept_and_what_is_broken(
    example: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    example_kms = import_module("example_kms")

    told = CliRunner().invoke(keys, ["check-provider", "example://vault.test/trial"])
    assert (told.exit_code, re.findall(r"^(\w+)", told.output, re.MULTILINE)) == (0, ["ok"] * 9)
    monkeypatch.setattr(example_kms.Provider, "destroy", lambda *_: None)
    told = CliRunner().invoke(keys, ["check-provider", "example://vault.test/trial", "--json"])
    assert told.exit_code == 1
    assert json.loads(told.output)["is_kept"] is False
