"""The tools of a release: the release of PostgreSQL is compared, and a folder that was altered does not verify."""

import subprocess
import tomllib
from collections.abc import Callable
from datetime import date, timedelta
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support.source_tree import ROOT

TABLE: dict[str, Any] = tomllib.loads((ROOT / "tools" / "postgresql_minors.toml").read_text(encoding="utf-8"))
TODAY: date = TABLE["looked_up"]
IDENTITY = "releases@example.org"


def gap_tool() -> ModuleType:
    spec = spec_from_file_location("postgresql_gap", ROOT / "tools" / "postgresql_gap.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GAP = gap_tool()


def test_what_is_embedded_is_in_the_table_and_a_gap_is_accepted_with_a_reason() -> None:
    embedded = GAP.embedded()
    assert {version.partition(".")[0] for version in embedded} == {"16", "18"}
    errors, warnings = GAP.gaps(embedded, TABLE, today=TODAY)
    assert errors == []
    behind = [version for version in embedded if version in TABLE["accepted"]]
    assert len(warnings) == len(behind)
    for version in TABLE["accepted"]:
        assert version in embedded, "an accepted gap that exists no more"


def test_a_gap_that_nobody_accepted_is_an_error() -> None:
    table = {**TABLE, "newest": {**TABLE["newest"], "18": {"minor": "18.10", "released": TODAY}}, "accepted": {}}
    for version, is_wrong in (("18.9", True), ("18.10", False), ("18.11", False), ("17.1", True)):
        errors, warnings = GAP.gaps([version], table, today=TODAY)
        assert (bool(errors), warnings) == (is_wrong, [])
    accepted = {**table, "accepted": {"18.9": {"reason": "no wheel", "since": TODAY}}}
    errors, warnings = GAP.gaps(["18.9"], accepted, today=TODAY)
    assert errors == []
    assert "18.10" in warnings[0]


def test_time_alone_is_a_warning() -> None:
    _, warnings = GAP.gaps(["99.0"], {**TABLE, "newest": {"99": {"minor": "99.0"}}}, today=TODAY + timedelta(days=100))
    assert warnings == []
    errors, warnings = GAP.gaps(GAP.embedded(), TABLE, today=TODAY + timedelta(days=3_000))
    assert errors == []
    assert "look for newer releases" in warnings[-1]


def release(*arguments: str | Path) -> int:
    command = [ROOT / "tools" / "release.sh", *arguments]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True).returncode


def change(folder: Path) -> None:
    (folder / "cdp.whl").write_bytes(b"other")


def remove(folder: Path) -> None:
    (folder / "cdp.whl").unlink()


def add(folder: Path) -> None:
    (folder / "more.whl").write_bytes(b"more")


def relist(folder: Path) -> None:
    """The digest of what was changed is written into the list, too."""
    change(folder)
    with (folder / "SHA256SUMS").open("wb") as file:
        subprocess.run(["sha256sum", "cdp.whl", "sbom.json"], cwd=folder, stdout=file, check=True)


@pytest.mark.parametrize("alter", [change, remove, add, relist])
def test_a_signed_folder_verifies_until_something_is_altered(alter: Callable[[Path], None], tmp_path: Path) -> None:
    folder, key, signers = tmp_path / "dist", tmp_path / "key", tmp_path / "allowed_signers"
    folder.mkdir()
    (folder / "cdp.whl").write_bytes(b"wheel")
    (folder / "sbom.json").write_bytes(b"{}")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    signers.write_text(f'{IDENTITY} namespaces="cdp-release" {key.with_suffix(".pub").read_text()}')
    assert release("sign", folder, key) == 0
    assert release("verify", folder, signers, IDENTITY) == 0
    assert release("verify", folder, signers, "somebody@example.org") != 0
    alter(folder)
    assert release("verify", folder, signers, IDENTITY) != 0
