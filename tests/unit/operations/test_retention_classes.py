"""A promise of retention without a sweep behind it fails: in the dictionary, in a policy file, in the export, in /privacy."""

import re
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cdp.flows.context import Context
from cdp.flows.operations.retention import EVENTS
from cdp.flows.operations.retention_tasks import EVENT_CLASS, sweep_tasks
from cdp.policy.model import KeepRule, StandingRule
from cdp.rights.plan import export_plan
from cdp.schema.all import tables
from cdp.schema.dictionary import PERSONAL_FILES, declaration_of
from tests.support.policies import shipped

ROOT = Path(__file__).parents[3]
NOTICE = ROOT / "cdp" / "web" / "center" / "templates" / "notice.html"


@pytest.fixture(scope="module")
def swept() -> dict[str, set[str]]:
    """The tables that the sweep cleans, by retention class."""
    context = cast("Context", SimpleNamespace(policy=shipped()))
    found: dict[str, set[str]] = {EVENT_CLASS: {EVENTS}}
    for task in sweep_tasks(context, datetime(2026, 6, 1, tzinfo=UTC)):
        found.setdefault(task.retention_class, set()).add(task.table)
    return found


def test_every_class_of_the_dictionary_has_a_sweep(swept: dict[str, set[str]]) -> None:
    declared = {
        declaration.retention: f"{table.fullname}.{column.name}"
        for table in tables()
        for column in table.columns
        if (declaration := declaration_of(column)) is not None and declaration.is_personal
    }
    declared |= {file.declaration.retention: file.name for file in PERSONAL_FILES}
    assert {name: column for name, column in declared.items() if name not in swept} == {}


def test_every_rule_of_the_policy_has_a_sweep(swept: dict[str, set[str]]) -> None:
    rules = {name for name, rule in shipped().retention if isinstance(rule, KeepRule | StandingRule)}
    assert rules - swept.keys() == set()
    assert {"traits", "identifiers", "suppressions"} <= rules, "the rules are found"


def test_every_retention_that_an_export_states_has_a_sweep(swept: dict[str, set[str]]) -> None:
    assert {section.retention for section in export_plan()} - swept.keys() == set()


def test_every_period_that_the_privacy_notice_states_has_a_sweep(swept: dict[str, set[str]]) -> None:
    stated = set(re.findall(r"retention\.([a-z_]+)\.keep_for_days", NOTICE.read_text(encoding="utf-8")))
    assert {"traits", "consent_records"} <= stated
    assert stated - swept.keys() == set()


@pytest.mark.parametrize("name", ["tables", "policy"])
def test_the_comparison_notices_a_class_without_a_sweep(swept: dict[str, set[str]], name: str) -> None:
    without: dict[str, Any] = {key: value for key, value in swept.items() if key != "identifiers"}
    check = {
        "tables": test_every_class_of_the_dictionary_has_a_sweep,
        "policy": test_every_rule_of_the_policy_has_a_sweep,
    }
    with pytest.raises(AssertionError):
        check[name](without)
