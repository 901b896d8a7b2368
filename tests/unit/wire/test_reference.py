"""The reference of the ingest API names what the code can answer, and nothing else."""

import re
from pathlib import Path

from cdp.accounting.model import NoticeKind
from cdp.flows.operations.meanings import NOTICES
from cdp.web.ingest.paths import BATCH_PATHS, METRICS_PATH, SINGLE_PATHS
from cdp.wire.segment_spec import EXPLANATIONS, FLOW_EXPLANATIONS

ROOT = Path(__file__).resolve().parents[3]
REFERENCE = (ROOT / "docs" / "reference" / "ingest.md").read_text()
OF_FAULTS = {
    "overloaded", "database_unavailable", "database_busy", "database_refused", "database_read_only", "state_unavailable",
    "ingest_failed", "service_stopping", "too_many_wrong_secrets",
}  # fmt: skip


def section(title: str) -> str:
    return REFERENCE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_every_reason_is_listed_with_its_requirement() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", section("States"), re.MULTILINE))
    assert rows == {str(reason): text for reason, text in {**EXPLANATIONS, **FLOW_EXPLANATIONS}.items()}


def test_every_notice_is_listed_with_its_meaning() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", section("Notices (`oddities` in the API)"), re.MULTILINE))
    assert rows == {str(kind): text for kind, text in NOTICES.items()}
    assert set(NOTICES) == set(NoticeKind)


def test_every_code_of_an_answer_is_listed() -> None:
    sources = [*(ROOT / "cdp" / "wire").glob("*.py"), *(ROOT / "cdp" / "web" / "ingest").glob("*.py")]
    codes = {code for file in sources for code in re.findall(r'Refused\(\s*"(\w+)"', file.read_text())}
    faults = {
        code
        for name in ("batcher.py", "batch_retry.py")
        for code in re.findall(r'ault\(\s*"(\w+)"', (ROOT / "cdp" / "web" / "ingest" / name).read_text())
    }
    assert codes
    assert faults <= OF_FAULTS
    assert (
        set(re.findall(r"`([a-z]\w+)`", section("Answers"))) - {"success", "code", "message", "detail"}
        == codes | OF_FAULTS
    )


def test_every_path_is_listed() -> None:
    assert {*SINGLE_PATHS, *BATCH_PATHS, METRICS_PATH} <= set(re.findall(r"/[\w/]+", section("Paths")))
