"""The generated reference is complete, and the files in docs/reference are what the code generates."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from cdp.cli.main import cdp
from cdp.cli.reference_pages import errors_page, faults_in, pages
from cdp.kit.config import SETTINGS
from cdp.rights.binding import BINDING_FILE
from tests.support.policies import ROOT

PAGES = pages()
REFERENCE = ROOT / "docs" / "reference"


@pytest.mark.parametrize("name", sorted(PAGES))
def test_every_generated_page_is_up_to_date(name: str) -> None:
    assert (REFERENCE / name).read_text(encoding="utf-8") == PAGES[name], "run: make docs"


def test_one_command_writes_all_pages_and_checks_them(tmp_path: Path) -> None:
    folder = str(tmp_path / "reference")
    wrote = CliRunner().invoke(cdp, ["docs", folder, "--json"])
    assert json.loads(wrote.output) == {"written": list(PAGES)}
    assert CliRunner().invoke(cdp, ["docs", folder, "--check"]).exit_code == 0
    (tmp_path / "reference" / "policies-events.md").write_text("old")
    checked = CliRunner().invoke(cdp, ["docs", folder, "--check", "--json"])
    assert checked.exit_code == 1
    assert '"policies-events.md"' in checked.output
    assert (tmp_path / "reference" / "policies-events.md").read_text() == "old"


def test_every_setting_and_command_is_there() -> None:
    for setting in SETTINGS:
        assert f"`{setting.name}`" in PAGES["settings.md"]
    for heading in ("## `cdp serve`", "### `cdp profile unmerge`", "### `cdp audit verify`"):
        assert heading in PAGES["commands.md"]
    assert f"`{BINDING_FILE}`" in PAGES["settings.md"]
    assert "`POST /api/v1/profiles/lookup`" in PAGES["api.md"]
    assert "cdp docs" not in PAGES["commands.md"].partition("\n")[2]


def test_faults_are_found_where_the_code_raises_them(tmp_path: Path) -> None:
    source = """
raise Fault("one", "One happened", "Detail.", status=409)
x = ProblemResponse(413, "two", "Two happened", "Detail.")
y = Fault(code, "no constant")
z = Fault("three", f"It has {count} problems")
a = Fault("four" if is_one else "five", "Four or five", status=422)
"""
    assert [(fault.code, fault.status) for fault in faults_in(source)] == [
        ("one", 409),
        ("two", 413),
        ("three", 400),
        ("four", 422),
        ("five", 422),
    ]
    (tmp_path / "a.py").write_text(source)
    assert "| `one` | One happened | 409 | 3 |" in errors_page(tmp_path)
    assert "| `two` | Two happened | 413 | 1 |" in errors_page(tmp_path)
    assert "| `three` | It has … problems | 400 | 2 |" in errors_page(tmp_path)
