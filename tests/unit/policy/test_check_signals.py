"""Whether consent signals can reach the purposes of a policy folder."""

import json
from pathlib import Path
from typing import Any

import pytest

from cdp.kit.errors import Fault
from cdp.policy.load import build_policy, load_policy, warnings_of
from cdp.policy.model import TcfMapping
from tests.support.commands import Shell
from tests.support.policies import SHIPPED, changed, documents_of, shipped, written


def with_signals(signals: dict[str, Any]) -> dict[str, Any]:
    """The documents of the shipped policy, in which `analytics` has other signals."""
    documents = documents_of(shipped())
    documents["purposes.yaml"]["purposes"]["analytics"]["signals"] = signals
    return documents


def folder_of(documents: dict[str, Any], folder: Path) -> Path:
    return written(build_policy(documents), folder)


@pytest.mark.parametrize(
    "signals", [{"tcf": {"purposes": [9]}}, {"gpp": ["sale"]}, {"segment": ["C0001"], "google": ["analytics_storage"]}]
)
def test_a_mapping_to_a_purpose_that_nobody_can_refuse_is_refused(tmp_path: Path, signals: dict[str, Any]) -> None:
    (kind,) = signals.keys() - {"segment"}
    documents = documents_of(shipped())
    documents["purposes.yaml"]["purposes"]["service"]["signals"] = signals
    with pytest.raises(Fault) as fault:
        load_policy(folder_of(documents, tmp_path))
    assert f"`service` is based on contract, which no signal can grant or refuse; remove `{kind}`" in fault.value.detail
    assert "purposes.yaml:" in fault.value.detail


@pytest.mark.parametrize(
    ("stated", "mapping"),
    [([9], TcfMapping(purposes=(9,))), ([], None), ({"special_features": [1]}, TcfMapping(special_features=(1,)))],
)
def test_the_purposes_of_a_tc_string_may_be_a_list_as_in_earlier_policies(stated: Any, mapping: Any) -> None:
    assert build_policy(with_signals({"tcf": stated})).purposes["analytics"].signals.tcf_mapping == mapping


@pytest.mark.parametrize(
    "tcf", [{}, {"purposes": [12]}, {"purposes": [1], "basis": "contract"}, {"special_features": [3]}, 7]
)
def test_a_mapping_of_what_a_tc_string_does_not_have_is_refused(tcf: Any) -> None:
    with pytest.raises(Fault) as fault:
        build_policy(with_signals({"tcf": tcf}))
    assert "purposes.yaml: `purposes.analytics.signals.tcf` " in fault.value.detail


def test_a_format_of_cookies_that_is_not_known_is_refused_with_those_that_are() -> None:
    documents = documents_of(shipped())
    documents["purposes.yaml"]["signals"] = {"cookies": {"CookieConsent": "cookybot"}}
    with pytest.raises(Fault) as fault:
        build_policy(documents)
    assert "cookiebot" in fault.value.detail


@pytest.mark.parametrize("gpp", [None, [], ["sale"]])
def test_a_purpose_of_sale_is_refused_by_each_opt_out_of_sale_unless_the_policy_says_which(gpp: Any) -> None:
    documents = documents_of(shipped())
    signals = documents["purposes.yaml"]["purposes"]["advertising"]["signals"]
    signals.pop("gpp", None)
    if gpp is not None:
        signals["gpp"] = gpp
    purposes = build_policy(documents).purposes
    every = {"sale", "sharing", "targeted_advertising"}
    assert {*map(str, purposes["advertising"].gpp_opt_outs)} == (every if gpp is None else set(gpp))
    assert not purposes["analytics"].gpp_opt_outs


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
