"""An unknown key hides no other fault: of the same entry, of its file or of another one."""

from pathlib import Path
from typing import Any

import pytest

from cdp.flows.imports.mapping import load_mapping
from cdp.kit.errors import Fault
from cdp.policy.load import build_policy
from tests.support.controllers import CONTROLLER, with_controller
from tests.support.policies import changed, documents_of, shipped


def with_trait(**fields: Any) -> None:
    changed(shipped(), "events.yaml", traits={"mood": {"type": "number", "keep": "sealed", **fields}})


def faults(raised: pytest.ExceptionInfo[Fault]) -> list[str]:
    return raised.value.detail.splitlines()


def test_a_type_that_cannot_be_kept_so_and_an_unknown_key_are_two_faults() -> None:
    with pytest.raises(Fault) as raised:
        with_trait(type="any", keep="plain", caterogy="user")
    assert faults(raised) == [
        "events.yaml: `traits.mood`: type `any` cannot be kept plain: use `keep: sealed`, or one of number, boolean, instant, string, list",
        "events.yaml: unknown key `caterogy` in `traits.mood`; did you mean `category`?",
    ]  # fmt: skip


def test_a_name_that_is_not_declared_and_an_unknown_key_are_two_faults() -> None:
    documents = documents_of(shipped())
    documents["purposes.yaml"]["owner"] = "marketing"
    documents["purposes.yaml"]["purposes"]["analytics"]["categories"] = ["user.mood"]
    with pytest.raises(Fault) as raised:
        build_policy(documents)
    found = faults(raised)
    assert any("unknown key `owner`" in line for line in found)
    assert any("unknown data category `user.mood`" in line for line in found)


def test_unknown_keys_in_an_entry_and_in_one_below_it_are_two_faults() -> None:
    with pytest.raises(Fault) as raised:
        with_controller(shipped(), {"controller": {**CONTROLLER, "fax": "1"}, "owner": {"name": "x"}})
    assert [line.split(";")[0] for line in faults(raised)] == [
        "controller.yaml: unknown key `fax` in `controller`",
        "controller.yaml: unknown key `owner`",
    ]


@pytest.mark.parametrize(("value", "others"), [("user.behavior", 0), (3, 0), ("user.mood", 1)])
def test_a_misspelled_key_stands_for_the_one_that_is_meant(value: object, others: int) -> None:
    """A trait without a category would be a fault of its own; a category that does not exist is one."""
    with pytest.raises(Fault) as raised:
        with_trait(caterogy=value)
    (*more, unknown) = faults(raised)
    assert unknown == "events.yaml: unknown key `caterogy` in `traits.mood`; did you mean `category`?"
    assert ["unknown data category `user.mood`" in line for line in more] == [True] * others


def problems_of_mapping(folder: Path, text: str) -> list[str]:
    """The problems of the mapping of an import."""
    file = folder / "mapping.yaml"
    file.write_text(text)
    with pytest.raises(Fault) as raised:
        load_mapping(file)
    return faults(raised)


def test_the_mapping_of_an_import_reports_a_wrong_type_and_an_unknown_key(tmp_path: Path) -> None:
    assert problems_of_mapping(tmp_path, "type: trakc\nidentifiers: {user_id: customer}\ntrait: {city: town}\n") == [
        "mapping.yaml:1:1: the mapping: `trakc` is not a message type; use one of identify, track, page, screen, group, alias",
        "mapping.yaml:3:1: unknown key `trait`; did you mean `traits`?",
    ]


def test_an_unknown_key_at_the_beginning_of_a_mapping_hides_nothing(tmp_path: Path) -> None:
    """The mapping begins where its first key does."""
    found = problems_of_mapping(tmp_path, "trait: {city: town}\ntype: trakc\nidentifiers: {user_id: customer}\n")
    assert [line.split(": ", 1)[1].split(";")[0] for line in found] == [
        "the mapping: `trakc` is not a message type",
        "unknown key `trait`",
    ]


def test_a_value_of_a_mapping_with_a_wrong_type_and_an_unknown_key_has_two_faults(tmp_path: Path) -> None:
    column = "{column: age, type: nunber, tpye: number}"
    found = problems_of_mapping(
        tmp_path, f"type: identify\nidentifiers: {{user_id: customer}}\ntraits: {{age: {column}}}\n"
    )
    assert [line.split(": ", 1)[1].split(";")[0] for line in found] == [
        "traits.age.type: must be 'text', 'number', 'integer', 'boolean', 'instant' or 'json'",
        "unknown key `tpye`",
    ]
