"""The manual and the published schema agree with the code."""

import json

import jsonschema_rs
import pytest

from cdp.query.language.jsonform import json_schema, to_json
from cdp.query.manual.chapters import CHAPTERS
from cdp.query.manual.pages import manual, schema
from tests.support.policies import ROOT
from tests.support.segment_histories import condition_of

REFERENCE = ROOT / "docs" / "reference"
MANUAL = REFERENCE / "segment-language.md"
SCHEMA = REFERENCE / "schemas" / "segment-condition.schema.json"
PROGRAMS = [example.program for chapter in CHAPTERS for example in chapter.examples]


def test_the_manual_is_up_to_date() -> None:
    assert MANUAL.read_text(encoding="utf-8") == manual(), "run: make docs"


def test_the_published_schema_is_up_to_date() -> None:
    assert SCHEMA.read_text(encoding="utf-8") == schema(), "run: make docs"


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_schema_accepts_every_example(program: str) -> None:
    validator = jsonschema_rs.validator_for(json_schema())
    assert validator.is_valid(json.loads(json.dumps(to_json(condition_of(program)))))


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"is": "did"},
        {"is": "did", "events": {"is": "events", "name": "X"}, "more": 1},
        {"is": "and", "terms": "x"},
        {"is": "compare", "value": {"is": "trait", "name": "x"}, "operator": "~", "literal": 1},
    ],
)
def test_the_schema_rejects_what_is_not_a_condition(form: object) -> None:
    assert not jsonschema_rs.validator_for(json_schema()).is_valid(form)
