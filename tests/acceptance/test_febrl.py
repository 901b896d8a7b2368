"""FEBRL's people with errors: joined by one exact number, nobody is ever joined with a stranger."""

from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from cdp.flows.imports.mapping import load_mapping
from cdp.flows.imports.messages import import_file
from cdp.kit.db import Database
from tests.support.pipeline import Pipeline, open_pipeline
from tests.support.policies import ROOT, changed, permit_all

pytestmark = pytest.mark.postgres

MAPPING = """
type: identify
identifiers: {rec_id: rec_id, soc_sec_id: soc_sec_id}
"""


def number_type(text: str, priority: int) -> dict[str, Any]:
    """A type that a message carries among its external ids; FEBRL has up to six records of a person."""
    return {
        "text": text,
        "normalizer": "id",
        "priority": priority,
        "limit": {"count": 20},
        "promote": [{"place": "context.externalIds[]"}],
    }


@pytest.fixture
def pipeline(database: Database, tmp_path: Path) -> Pipeline:
    policy = changed(
        permit_all(),
        "identifiers.yaml",
        types={"soc_sec_id": number_type("Social security number", 900), "rec_id": number_type("Record", 901)},
    )
    return open_pipeline(database, policy, tmp_path)


@pytest.mark.parametrize(("data_set", "records", "recall"), [(1, 1_000, 0.900), (2, 5_000, 0.872)])
def test_a_number_joins_the_same_people_and_no_others(
    data_set: int, records: int, recall: float, pipeline: Pipeline, tmp_path: Path
) -> None:
    rules = tmp_path / "mapping.yaml"
    rules.write_text(MAPPING)
    file = ROOT / "tests" / "data" / "linkage" / f"febrl_dataset{data_set}.csv.gz"
    done = import_file(pipeline.context, file, load_mapping(rules))
    assert done.tally.states == {"stored": records}
    people = [each.get("rec_id", set()) for each in pipeline.people().values()]
    assert sum(map(len, people)) == records
    true = pairs_of(grouped({record for each in people for record in each}))
    found = pairs_of(people)
    assert len(found & true) / len(found) == 1.0
    assert round(len(found & true) / len(true), 3) == recall


def grouped(records: set[str]) -> list[set[str]]:
    """The truth: `rec-12-org` and `rec-12-dup-0` are one person."""
    people: dict[str, set[str]] = {}
    for record in records:
        people.setdefault(record.split("-")[1], set()).add(record)
    return list(people.values())


def pairs_of(groups: list[set[str]]) -> set[tuple[str, str]]:
    """Every two records of one group."""
    return {pair for group in groups for pair in combinations(sorted(group), 2)}
