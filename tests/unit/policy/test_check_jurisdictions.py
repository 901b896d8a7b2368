"""The jurisdiction `unknown` has the strictest consent model, in every policy folder."""

from pathlib import Path
from typing import Any

import pytest

from cdp.kit.errors import Fault
from cdp.policy.load import build_policy, load_policy
from tests.support.policies import documents_of, shipped, written


def with_model(model: dict[str, str]) -> dict[str, Any]:
    """The documents of the shipped policy, in which `analytics` has another consent model."""
    documents = documents_of(shipped())
    documents["purposes.yaml"]["purposes"]["analytics"]["model"] = model
    return documents


def test_a_laxer_model_for_unknown_jurisdictions_is_refused(tmp_path: Path) -> None:
    policy = build_policy(with_model({"eu": "opt_in", "us-ca": "opt_out", "unknown": "opt_out"}))
    with pytest.raises(Fault) as fault:
        load_policy(written(policy, tmp_path))
    assert "purposes.yaml:" in fault.value.detail
    assert "people whose jurisdiction is not known have the strictest rules, and `eu` is opt_in" in fault.value.detail
    assert "write `unknown: opt_in`" in fault.value.detail


@pytest.mark.parametrize(
    "model",
    [
        {"eu": "opt_out", "us-ca": "opt_out", "unknown": "opt_out"},
        {"eu": "opt_out", "us-ca": "opt_out", "unknown": "opt_in"},
    ],
)
def test_the_strictest_model_is_accepted(tmp_path: Path, model: dict[str, str]) -> None:
    policy = load_policy(written(build_policy(with_model(model)), tmp_path))
    assert policy.purposes["analytics"].model["unknown"].value == model["unknown"]
