"""`cdp init` copies the shipped policies out once, and changes nothing that exists."""

import json
from pathlib import Path

import pytest

from cdp.policy.load import load_policy
from tests.support.commands import Shell
from tests.support.policies import ROOT, shipped


def files_in(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_the_copy_is_the_shipped_policy(tmp_path: Path) -> None:
    folder = tmp_path / "etc" / "policies"
    result = json.loads(Shell(tmp_path).run("init", str(folder), "--json").stdout)
    assert result == {"folder": str(folder), "files": sorted(files_in(ROOT / "policies"))}
    assert files_in(folder) == files_in(ROOT / "policies")
    assert load_policy(folder).fingerprint == shipped().fingerprint


def test_the_default_is_the_folder_that_serve_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    printed = Shell(tmp_path).run("init").stdout
    assert (tmp_path / "policies" / "purposes.yaml").is_file()
    assert "cdp policy check policies" in printed
    assert "name       the organization that is responsible for the data, in policies/controller.yaml" in printed
    assert "CDP_POLICIES" not in printed
    assert "CDP_POLICIES=other cdp serve" in Shell(tmp_path).run("init", "other").stdout


def test_an_empty_folder_is_filled_and_any_other_is_left_unchanged(tmp_path: Path) -> None:
    folder = tmp_path / "policies"
    folder.mkdir()
    Shell(tmp_path).run("init", str(folder))
    (folder / "purposes.yaml").write_text("changed")
    before = files_in(folder)
    assert "folder_not_empty" in Shell(tmp_path).run("init", str(folder), code=3).stderr
    assert files_in(folder) == before
    file = tmp_path / "file"
    file.write_text("text")
    assert "folder_not_empty" in Shell(tmp_path).run("init", str(file), code=3).stderr
    assert "folder_not_writable" in Shell(tmp_path).run("init", str(file / "below"), code=2).stderr
    assert file.read_text() == "text"
