"""Messages of real consent wrappers, as recorded: what each scenario leaves permitted."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cdp.flows.consent.lookup import look_up
from cdp.kit.canonical import sha256
from cdp.kit.db import Database
from cdp.sources.model import Source
from cdp.sources.store.sources import add_source
from tests.support.people import CALIFORNIA, WEB
from tests.support.pipeline import Pipeline, open_pipeline
from tests.support.policies import shipped

FOLDER = Path(__file__).parents[1] / "data" / "consent"
SEGMENT, RUDDERSTACK = (
    {scenario["scenario"]: scenario["sent"] for scenario in json.loads((FOLDER / name).read_text(encoding="utf-8"))}
    for name in ("segment-consent-tools-2.0.3.json", "rudderstack-analytics-js-3.34.1.json")
)
BOTH = {"analytics", "advertising"}
SILENT = {"analytics", "personalization", "advertising"}


@pytest.fixture
def pipeline(database: Database, tmp_path: Path) -> Pipeline:
    found = open_pipeline(database, shipped(), tmp_path)
    found.register()
    with database.transaction() as tx:
        add_source(tx, CALIFORNIA, sha256(b"west"), now=found.clock.now())
    return found


def permitted_after(pipeline: Pipeline, sent: list[dict[str, Any]], source: Source) -> set[str]:
    """The purposes permitted after these messages, sent one a minute."""
    for number, message in enumerate(sent):
        pipeline.clock.instant += timedelta(minutes=1)
        kept = {
            key: message["body"][key]
            for key in ("event", "anonymousId", "context", "properties")
            if key in message["body"]
        }
        pipeline.send({"type": "track", "messageId": f"m{number}", **kept}, source=source)
    device = sent[-1]["body"]["anonymousId"]
    found = look_up(pipeline.context, ("anonymous_id", device), pipeline.clock.now(), actor="operator")
    return {key for key, verdict in found.verdicts.items() if verdict.allowed}


@pytest.mark.parametrize(
    ("scenario", "source", "permitted"),
    [
        ("opt-in, then a part", WEB, {"advertising"}),
        ("opt-in, then withdrawn", WEB, set()),
        ("opt-in with mappings, then withdrawn", WEB, set()),
        ("opt-out, then a part", CALIFORNIA, {"personalization", "advertising"}),
        ("opt-out, then withdrawn", CALIFORNIA, {"personalization"}),
        ("opt-out with mappings, then withdrawn", CALIFORNIA, SILENT),
        ("opt-out with mappings, then withdrawn, by the line of the page", CALIFORNIA, {"personalization"}),
    ],
)
def test_segment(pipeline: Pipeline, scenario: str, source: Source, permitted: set[str]) -> None:
    assert permitted_after(pipeline, SEGMENT[scenario], source) == permitted


@pytest.mark.parametrize(
    ("scenario", "source", "permitted"),
    [
        ("oneTrust, opt-in, before an answer", WEB, set()),
        ("oneTrust, opt-out, before an answer", CALIFORNIA, SILENT),
        ("ketch", WEB, {"analytics"}),
        ("custom", WEB, {"analytics"}),
        ("custom, resolutionStrategy or", WEB, {"analytics"}),
        ("custom, then withdrawn", WEB, set()),
        ("custom, buffered until an answer", WEB, {"analytics"}),
        ("oneTrust, buffered until an answer", WEB, {"analytics"}),
        ("iubenda", CALIFORNIA, set()),
    ],
)
def test_rudderstack(pipeline: Pipeline, scenario: str, source: Source, permitted: set[str]) -> None:
    assert permitted_after(pipeline, RUDDERSTACK[scenario], source) == permitted
