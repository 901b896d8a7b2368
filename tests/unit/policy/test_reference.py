"""Published schemas and reference pages: generated, fresh, and true."""

import json
from typing import Any

import jsonschema_rs
import pytest

from cdp.policy.jsonschema import SEGMENT_FILE, schema_at, schema_of
from cdp.policy.model import FILES, Policy
from cdp.policy.reference import pages
from tests.support.policies import ROOT, documents_of, permit_all, shipped

REFERENCE = ROOT / "docs" / "reference"


@pytest.mark.parametrize("name", sorted(pages()))
def test_the_page_is_as_the_models_say(name: str) -> None:
    assert (REFERENCE / name).read_text() == pages()[name], "run: make docs"


def test_no_generated_page_is_left_over() -> None:
    there = {path.name for path in REFERENCE.glob("policies-*.md")}
    assert there == {name for name in pages() if name.startswith("policies-")}


@pytest.mark.parametrize("name", sorted(name for name in pages() if name.endswith(".md")))
def test_every_key_has_a_meaning(name: str) -> None:
    rows = [line for line in pages()[name].splitlines() if line.startswith("| `")]
    assert rows
    assert [row for row in rows if row.rstrip("| ").endswith(("required", "none"))] == []


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("policy", [shipped(), permit_all()], ids=["shipped", "permit_all"])
def test_a_foreign_validator_accepts_the_files(file: str, policy: Policy) -> None:
    assert jsonschema_rs.is_valid(dict(schema_of(file)), policy.documents.get(file, {}))


@pytest.mark.parametrize("file", FILES)
def test_a_foreign_validator_refuses_a_wrong_key(file: str) -> None:
    documents = documents_of(shipped())
    documents[file]["wrong"] = 1
    assert not jsonschema_rs.is_valid(dict(schema_of(file)), documents[file])


def test_entries_do_not_have_their_key_in_the_schema() -> None:
    entry: dict[str, Any] = {"text": "x", "normalizer": "id", "priority": 3}
    schema = json.loads(json.dumps(schema_at("identifiers.yaml", ("types", "mine"))))
    assert "key" not in schema["properties"]
    assert set(entry) <= set(schema["properties"])
    assert schema["required"] == ["normalizer", "priority"]


def test_the_schema_can_be_walked_to_any_value() -> None:
    assert schema_at("events.yaml", ("events", "page", "properties", "url", "keep"))["enum"] == [
        "plain",
        "sealed",
        "drop",
    ]
    assert schema_at("purposes.yaml", ("purposes", "x", "categories", 0))["type"] == "string"
    assert schema_at(SEGMENT_FILE, ("where",))["type"] == "string"
    assert schema_at("purposes.yaml", ("nothing", "such")) == {}


def test_the_overview_names_every_file_and_tells_the_truth_about_patterns() -> None:
    text = (REFERENCE / "policies.md").read_text()
    for file in FILES:
        assert f"[{file}](policies-{file.removesuffix('.yaml')}.md)" in text
    sku: Any = shipped().documents["events.yaml"]
    assert f'pattern: "{sku["vocabularies"]["sku"]["pattern"]}"' in text
