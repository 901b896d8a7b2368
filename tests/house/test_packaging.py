"""What the project says about itself agrees: dependencies, locks, version and shipped files."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from cdp import __version__
from tests.support.source_tree import ROOT, service

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
INPUTS = sorted(ROOT.glob("requirements*.in"))


def declared(name: str) -> set[str]:
    """The requirements that an .in file states itself."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return {line for line in lines if line and not line.startswith(("#", "-"))}


def test_the_locks_are_made_from_the_declared_dependencies() -> None:
    project = PROJECT["project"]
    extras = project["optional-dependencies"]
    assert declared("requirements.in") == {*project["dependencies"], *extras["embedded"]}
    assert declared("requirements-demo.in") == set(extras["demo"])
    assert declared("requirements-build.in") == set(PROJECT["build-system"]["requires"])


@pytest.mark.parametrize("source", INPUTS, ids=lambda path: path.name)
def test_every_locked_package_has_one_version_and_hashes(source: Path) -> None:
    lines = source.with_suffix(".txt").read_text(encoding="utf-8").splitlines(keepends=True)
    text = "".join(line for line in lines if not line.startswith("#"))
    entries = re.split(r"^(?=\S)", text, flags=re.MULTILINE)[1:]
    assert entries
    assert [entry for entry in entries if not re.match(r"[\w.\[\]-]+==\S+.*\n +--hash=sha256:", entry)] == []
    assert "--index-url" not in text
    assert "://" not in text
    locked = {re.split(r"[=\[]", entry)[0].lower() for entry in entries}
    named = {re.split(r"[<>=\[;]", line)[0].strip().lower() for line in declared(source.name)}
    assert named <= locked


def test_the_version_is_stated_once() -> None:
    assert PROJECT["project"]["dynamic"] == ["version"]
    pattern = PROJECT["tool"]["hatch"]["version"]["pattern"]
    stated = re.search(pattern, (ROOT / "cdp" / "__init__.py").read_text(encoding="utf-8"), re.MULTILINE)
    assert stated is not None
    assert stated["version"] == __version__
    repeated = [source.path for source in service() if f'"{__version__}"' in source.text]
    assert repeated == ["cdp/__init__.py"]
