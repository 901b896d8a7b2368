"""The generated reference says what the code says; `make check` holds the files to it."""

from pathlib import Path

from cdp.cli.reference_pages import errors_page, faults_in, pages
from cdp.kit.config import SETTINGS

PAGES = pages()


def test_every_setting_and_command_is_there() -> None:
    for setting in SETTINGS:
        assert f"`{setting.name}`" in PAGES["settings.md"]
    for heading in ("## `cdp serve`", "### `cdp profile unmerge`", "### `cdp audit verify`"):
        assert heading in PAGES["commands.md"]
    assert "`POST /api/v1/profiles/lookup`" in PAGES["api.md"]
    assert "cdp docs" not in PAGES["commands.md"].partition("\n")[2]


def test_faults_are_found_where_the_code_raises_them(tmp_path: Path) -> None:
    source = """
raise Fault("one", "One happened", "Detail.", status=409)
x = ProblemResponse(413, "two", "Two happened", "Detail.")
y = Fault(code, "no constant")
"""
    assert [(each.code, each.status) for each in faults_in(source)] == [("one", 409), ("two", 413)]
    (tmp_path / "a.py").write_text(source)
    assert "| `one` | One happened | 409 | 3 |" in errors_page(tmp_path)
    assert "| `two` | Two happened | 413 | 1 |" in errors_page(tmp_path)
