"""What the project says about itself agrees: dependencies, locks, version and shipped files."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterable
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


# Distributions whose modules have another name, and modules that a distribution brings with it.
_MODULES = {
    "pyyaml": "yaml",
    "prometheus-client": "prometheus_client",
    "segment-analytics-python": "segment",
    "confluent-kafka": "confluent_kafka",
}
_BROUGHT = {"pydantic_core": "pydantic"}
# Needed without being imported by name. Each: who imports it.
_IMPORTED_BY_OTHERS = {"python-multipart": "fastapi, to read forms"}
# What an extra may be imported by: nothing else may need it.
_EXTRAS = {
    "demo": "cdp/demo/",
    "embedded": "cdp/postgres/",
    "parquet": "cdp/flows/imports/parquet_rows.py",
    "amqp": "cdp/brokers/amqp",
    "kafka": "cdp/brokers/kafka.py",
}


def imported(start: str, *, besides: tuple[str, ...] = ()) -> set[str]:
    """The top-level modules that files under a folder import, without those of Python and our own."""
    found = set()
    for source in service():
        if source.path.startswith(start) and not source.path.startswith(besides or "/"):
            for node in ast.walk(ast.parse(source.text)):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and node.module is not None:
                    names = [node.module]
                found |= {_BROUGHT.get(name.split(".")[0], name.split(".")[0]) for name in names}
    return found - sys.stdlib_module_names - {"cdp"}


def modules(requirements: Iterable[str]) -> set[str]:
    """The modules of requirements, those that somebody else imports left out."""
    names = {re.split(r"[<>=\[;]", requirement)[0].strip().lower() for requirement in requirements}
    return {_MODULES.get(name, name) for name in names - _IMPORTED_BY_OTHERS.keys()}


def test_the_service_depends_on_what_it_imports_and_on_nothing_else() -> None:
    found = imported("cdp/", besides=tuple(_EXTRAS.values())) | imported("cdp/postgres/")
    assert found == modules(PROJECT["project"]["dependencies"])
    assert not [name for name in _IMPORTED_BY_OTHERS if not any(name in line for line in declared("requirements.in"))]


def test_the_demonstration_imports_its_extra_and_the_service_does_not() -> None:
    assert PROJECT["project"]["optional-dependencies"].keys() == _EXTRAS.keys()
    extra = modules(PROJECT["project"]["optional-dependencies"]["demo"])
    assert extra <= imported(_EXTRAS["demo"])
    assert not extra & imported("cdp/", besides=(_EXTRAS["demo"],))


@pytest.mark.parametrize(("extra", "module"), [("parquet", "pyarrow"), ("amqp", "pika"), ("kafka", "confluent_kafka")])
def test_a_library_of_an_extra_is_loaded_only_by_its_reader(extra: str, module: str) -> None:
    assert modules(PROJECT["project"]["optional-dependencies"][extra]) == imported(_EXTRAS[extra]) & {module}
    assert module not in imported("cdp/", besides=(_EXTRAS[extra],))


def test_the_programs_of_the_embedded_server_are_found_and_never_imported() -> None:
    [package] = modules(PROJECT["project"]["optional-dependencies"]["embedded"])
    module = package.replace("-", "_")
    assert module not in imported("cdp/")
    assert [source.path for source in service() if f'"{module}"' in source.text] == ["cdp/postgres/programs.py"]


def test_the_version_is_stated_once() -> None:
    assert PROJECT["project"]["dynamic"] == ["version"]
    pattern = PROJECT["tool"]["hatch"]["version"]["pattern"]
    stated = re.search(pattern, (ROOT / "cdp" / "__init__.py").read_text(encoding="utf-8"), re.MULTILINE)
    assert stated is not None
    assert stated["version"] == __version__
    repeated = [source.path for source in service() if f'"{__version__}"' in source.text]
    assert repeated == ["cdp/__init__.py"]


def test_the_image_is_restarted_by_liveness_and_never_by_readiness() -> None:
    """A service that waits for its database or its replay file is not ready, and a restart makes nothing better."""
    (check,) = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if "urllib.request" in line]
    assert "/healthz" in check
    assert "/readyz" not in check
