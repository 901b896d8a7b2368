"""Whether consent signals can reach the purposes of a policy folder."""

import json
from pathlib import Path
from typing import Any

import pytest

from cdp.kit.errors import Fault
from cdp.policy.load import build_policy, load_policy, warnings_of
from tests.support.commands import Shell
from tests.support.policies import SHIPPED, changed, documents_of, shipped, written


def with_signals(signals: dict[str, Any]) -> dict[str, Any]:
    """The documents of the shipped policy, in which `analytics` has other signals."""
    documents = documents_of(shipped())
    documents["purposes.yaml"]["purposes"]["analytics"]["signals"] = signals
    return documents


def folder_of(documents: dict[str, Any], folder: Path) -> Path:
    return written(build_policy(documents), folder)


@pytest.mark.parametrize("signals", [{"tcf": [9]}, {"segment": ["C0002"], "google": ["analytics_storage"]}])
def test_a_kind_of_signal_that_nothing_reads_is_refused(tmp_path: Path, signals: dict[str, Any]) -> None:
    (unread,) = signals.keys() - {"segment"}
    with pytest.raises(Fault) as fault:
        load_policy(folder_of(with_signals(signals), tmp_path))
    assert f"nothing reads the signal `{unread}`; remove it" in fault.value.detail
    assert "purposes.yaml:" in fault.value.detail


def test_a_policy_that_was_put_in_force_earlier_can_still_be_read() -> None:
    assert build_policy(with_signals({"tcf": [9]})).purposes["analytics"].signals.tcf == (9,)


def test_a_purpose_that_no_category_means_is_warned_of(tmp_path: Path) -> None:
    folder = folder_of(with_signals({}), tmp_path / "policies")
    warning, unnamed = warnings_of(folder, load_policy(folder))
    assert "controller.yaml" in unnamed
    assert "`analytics` is based on consent, but only a signal that names its key reaches it" in warning
    shell = Shell(tmp_path)
    assert f"Warning: {warning}" in shell.run("policy", "check", str(folder)).stdout
    assert json.loads(shell.run("policy", "check", str(folder), "--json").stdout)["warnings"] == [warning, unnamed]


def test_the_shipped_policy_has_no_warning_but_that_nobody_is_named_as_the_controller() -> None:
    (unnamed,) = warnings_of(SHIPPED, shipped())
    assert "the controller is not named" in unnamed


@pytest.mark.parametrize(
    ("event", "refuses", "why"),
    [
        ("Unsubscribed", ["newsletter"], "unknown purpose `newsletter`"),
        ("Unsubscribed", ["service"], "purpose `service` is based on contract, which no act can refuse"),
        ("identify", ["analytics"], "`identify` is a type of call, which states no refusal"),
    ],
)
def test_an_event_refuses_purposes_that_can_be_refused(event: str, refuses: list[str], why: str) -> None:
    plan = documents_of(shipped())["events.yaml"]["events"][event]
    with pytest.raises(Fault) as fault:
        changed(shipped(), "events.yaml", events={event: {**plan, "refuses": refuses}})
    assert why in fault.value.detail
