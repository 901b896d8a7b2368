"""The controller: what its file accepts, what `cdp policy check` warns of, and what it changes."""

import json
from pathlib import Path
from typing import Any

import pytest

from cdp.kit.errors import Fault
from cdp.policy.controller import Responsibility
from cdp.policy.diff import Change, differences
from cdp.policy.load import build_policy, load_policy, warnings_of
from cdp.policy.model import CONTROLLER_FILE, Policy
from tests.support.commands import Shell
from tests.support.controllers import CONTROLLER, RESPONSIBLE, with_controller
from tests.support.policies import SHIPPED, documents_of, permit_all, shipped, written


def without_file() -> Policy:
    """The shipped policy as an earlier version had it, without the file."""
    documents = documents_of(shipped())
    del documents[CONTROLLER_FILE]
    return build_policy(documents)


def test_everybody_who_is_named_has_a_role_and_details() -> None:
    responsible = with_controller(shipped()).responsible
    assert [party.role for party in responsible.parties] == [
        "controller", "joint controller", "representative in the European Union", "data protection officer",
    ]  # fmt: skip
    assert responsible.questions_to == (
        "Nordlicht Handel GmbH, Hafenstraße 1, 20457 Hamburg, Germany, privacy@nordlicht.example, +49 40 1234567, "
        "https://nordlicht.example/privacy-request"
    )
    assert responsible.parties[3].details == "Dr. Kim Doe, dpo@nordlicht.example, +49 40 7654321"


@pytest.mark.parametrize("content", [{}, {"controller": None}])
def test_a_file_that_names_nobody_is_valid(content: dict[str, Any]) -> None:
    responsible = with_controller(shipped(), content).responsible
    assert (responsible.parties, responsible.questions_to) == ((), None)


def test_a_folder_without_the_file_keeps_its_fingerprint(tmp_path: Path) -> None:
    before = without_file()
    folder = written(before, tmp_path / "policies")
    assert load_policy(folder).fingerprint == before.fingerprint
    assert CONTROLLER_FILE not in load_policy(folder).documents
    assert before.responsible == Responsibility()


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("name", "<full name of the organization>", "`controller.name`: is still a placeholder"),
        ("name", " Nordlicht", "`controller.name`: must be a text, without spaces"),
        ("name", "...", "`controller.name`: must be a text"),
        ("name", "Nordlicht\u202ehtilrednu", "`controller.name`: must be one line"),
        ("address", "Hafenstraße 1\n20457 Hamburg", "`controller.address`: must be one line"),
        ("email", "privacy", "`controller.email`: must be one e-mail address such as"),
        ("email", "privacy@nordlicht", "`controller.email`: must be one e-mail address"),
        ("email", "a@nordlicht.example, b@nordlicht.example", "`controller.email`: must be one e-mail address"),
        ("email", "<address for requests>", "`controller.email`: is still a placeholder"),
        ("email", 3, "`controller.email` must be a string, but is 3"),
        ("phone", "040 1234567", "`controller.phone`: must be a telephone number with country code"),
        ("url", "http://nordlicht.example/form", "`controller.url`: must be an https URL"),
        ("url", "javascript:alert(1)", "`controller.url`: must be an https URL"),
        ("fax", "+49 40 1234567", "unknown key `fax` in `controller`; expected one of: address, email, name, phone, url"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_an_error_that_says_what_would_be_right(field: str, value: object, why: str) -> None:
    with pytest.raises(Fault) as fault:
        with_controller(shipped(), {"controller": {**CONTROLLER, field: value}})
    assert fault.value.detail.startswith(f"{CONTROLLER_FILE}: {why}")


@pytest.mark.parametrize("field", ["name", "address", "email"])
def test_a_controller_can_be_written_to(field: str) -> None:
    with pytest.raises(Fault) as fault:
        with_controller(shipped(), {"controller": {key: CONTROLLER[key] for key in CONTROLLER if key != field}})
    assert f"`{field}` is missing in `controller`; add it: " in fault.value.detail


@pytest.mark.parametrize("key", sorted(RESPONSIBLE.keys() - {"controller"}))
def test_nobody_is_named_before_the_controller(key: str) -> None:
    with pytest.raises(Fault) as fault:
        with_controller(shipped(), {"controller": None, key: RESPONSIBLE[key]})
    assert fault.value.detail == f"{CONTROLLER_FILE}: `controller` is missing: name the controller before others"


def test_joint_controllers_have_different_names() -> None:
    """A plan compares them by name."""
    twice = [RESPONSIBLE["joint_controllers"][0], {**CONTROLLER, "name": "Südlicht AG"}]
    with pytest.raises(Fault) as fault:
        with_controller(shipped(), {"controller": CONTROLLER, "joint_controllers": twice})
    assert fault.value.detail == f"{CONTROLLER_FILE}: `joint_controllers` names `Südlicht AG` twice: keep one of them"


@pytest.mark.parametrize("email", ["datenschutz@münchen-laden.de", "o'hara+privacy@a.b.co.uk", "x@xn--bcher-kva.ch"])
def test_addresses_that_exist_are_accepted(email: str) -> None:
    assert with_controller(shipped(), {"controller": {**CONTROLLER, "email": email}}).responsible.controller


def test_the_shipped_file_names_nobody_and_its_comments_cannot_be_left_as_they_are(tmp_path: Path) -> None:
    """Lines that are uncommented and not filled in are errors: no placeholder can reach a person."""
    assert shipped().responsible == Responsibility()
    folder = written(shipped(), tmp_path / "policies")
    text = (SHIPPED / CONTROLLER_FILE).read_text()
    lines = text.splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith("controller:"))
    filled = [
        line.replace("# ", "", 1) if number > begin and ": <" in line else line for number, line in enumerate(lines)
    ]
    filled = [line.removeprefix("# ") if line.endswith((" representative:", "_officer:")) else line for line in filled]
    (folder / CONTROLLER_FILE).write_text("\n".join(filled))
    with pytest.raises(Fault) as fault:
        load_policy(folder)
    found = fault.value.detail.splitlines()
    assert len(found) == text.count("<")
    assert all("is still a placeholder. Write the real value" in line for line in found)


@pytest.mark.parametrize("content", [None, {}, {"controller": None}])
def test_an_unnamed_controller_is_warned_of(tmp_path: Path, content: dict[str, Any] | None) -> None:
    policy = without_file() if content is None else with_controller(shipped(), content)
    folder = written(policy, tmp_path / "policies")
    (warning,) = warnings_of(folder, load_policy(folder))
    assert warning.startswith(f"policies/{CONTROLLER_FILE}")
    assert (
        "the controller is not named: /privacy, denials and the record of processing say so; give its name" in warning
    )
    shell = Shell(tmp_path)
    assert f"Warning: {warning}" in shell.run("policy", "check", str(folder)).stdout
    assert json.loads(shell.run("policy", "check", str(folder), "--json").stdout)["warnings"] == [warning]


@pytest.mark.parametrize("domain", ["example.com", "shop.example.org", "nordlicht.example", "shop.TEST"])
def test_an_address_of_an_example_is_warned_of(tmp_path: Path, domain: str) -> None:
    email = {"email": f"privacy@{domain}"}
    content = {"controller": {**CONTROLLER, **email}, "data_protection_officer": email}
    folder = written(with_controller(shipped(), content), tmp_path / "policies")
    first, second = warnings_of(folder, load_policy(folder))
    assert f"`{domain.casefold()}` is a domain for examples, at which nobody receives mail" in first
    assert [warning.count("controller.yaml:") for warning in (first, second)] == [1, 1]
    assert first != second


def test_a_real_address_is_not_warned_of(tmp_path: Path) -> None:
    content = {"controller": {**CONTROLLER, "email": "privacy@notexample.com"}}
    folder = written(with_controller(shipped(), content), tmp_path / "policies")
    assert warnings_of(folder, load_policy(folder)) == []


def test_a_plan_shows_who_becomes_responsible() -> None:
    (named,) = differences(shipped(), with_controller(shipped(), {"controller": CONTROLLER}))
    assert (named.file, named.path, named.change) == (CONTROLLER_FILE, ("controller",), Change.ADDED)
    assert (
        named.effect
        == "/privacy, denials, archives and the record of processing show it as soon as the policy is applied"
    )
    moved = {"controller": {**CONTROLLER, "address": "Kaiweg 2, 20457 Hamburg, Germany"}}
    (change,) = differences(with_controller(shipped(), {"controller": CONTROLLER}), with_controller(shipped(), moved))
    assert change.text == (
        "controller › address changes from Hafenstraße 1, 20457 Hamburg, Germany to Kaiweg 2, 20457 Hamburg, Germany"
    )
    ended = differences(with_controller(shipped()), with_controller(shipped(), {"controller": CONTROLLER}))
    assert {(change.path, change.change) for change in ended} == {
        (("joint_controllers", "Südlicht AG"), Change.ENDED),
        (("representative",), Change.ENDED),
        (("data_protection_officer",), Change.ENDED),
    }
    shown = "/privacy, archives and the record of processing show it as soon as the policy is applied"
    assert {change.effect for change in ended} == {shown}
    (unnamed,) = differences(with_controller(shipped(), {"controller": CONTROLLER}), shipped())
    assert unnamed.effect == "nobody is named any more: /privacy, denials and the record of processing say so"


def test_a_file_that_names_nobody_is_no_difference() -> None:
    assert differences(without_file(), shipped()) == ()
    assert differences(permit_all(), with_controller(permit_all(), {})) == ()
