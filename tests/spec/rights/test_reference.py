"""The reference pages say what the program does."""

import re

import pytest

from cdp.flows.rights.answer import DOWNLOAD_DAYS
from cdp.rights.plan import erasure_plan, export_plan
from cdp.rights.store.scrub import _SETTINGS
from cdp.rights.withhold import WITHHELD
from tests.support.source_tree import ROOT

REFERENCE = ROOT / "docs" / "reference"


def rows_between(page: str, name: str) -> list[list[str]]:
    """The cells of the table between two comments of a page, without its head."""
    text = (REFERENCE / page).read_text().partition(f"<!-- {name} -->")[2].partition(f"<!-- /{name} -->")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_erasure_plan_is_the_one_in_the_reference() -> None:
    listed = rows_between("erasure.md", "plan")
    assert listed == [
        [str(step.position + 1), f"`{step.table}`", step.verb.value, step.reason] for step in erasure_plan()
    ]


def test_the_export_shows_the_fields_that_the_reference_names() -> None:
    listed = {
        table.strip("`"): re.findall(r"`([^`]+)`", fields) for table, fields in rows_between("export.md", "sections")
    }
    assert listed == {section.table: [column.field for column in section.columns] for section in export_plan()}


@pytest.mark.parametrize(
    "word",
    sorted(
        {word for _, word in _SETTINGS.values()} | {"wal_switch", "checkpoint", "older_snapshot", "unseen_snapshots"}
    ),
)
def test_every_word_of_the_scrub_is_explained(word: str) -> None:
    assert f"| `{word}` |" in (REFERENCE / "erasure.md").read_text()


def test_every_withheld_category_is_named() -> None:
    text = (REFERENCE / "export.md").read_text()
    assert [each for each in WITHHELD if f"`{each}`" not in text] == []


def test_the_time_for_fetching_is_the_one_in_the_pages() -> None:
    for page in ("reference/export.md", "explanation/rights.md", "how-to/answer-a-request.md"):
        assert f"{DOWNLOAD_DAYS} days" in (ROOT / "docs" / page).read_text()
