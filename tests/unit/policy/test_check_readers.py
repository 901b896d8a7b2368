"""`cdp policy check` warns of roles that read people who could not refuse."""

from pathlib import Path

import pytest

from cdp.policy.load import load_policy, warnings_of
from tests.support.policies import changed, shipped, written


@pytest.mark.parametrize(
    ("role", "purposes"),
    [
        ({}, []),
        ({"purposes": ["analytics"]}, []),
        ({"purposes": ["service"]}, ["service"]),
        ({"legal_bases": ["consent", "contract"]}, ["service"]),
    ],
)
def test_a_role_that_reads_a_purpose_without_a_choice_is_warned_of(
    tmp_path: Path, role: dict[str, list[str]], purposes: list[str]
) -> None:
    folder = written(changed(shipped(), "readers.yaml", roles={"marketer": role}), tmp_path)
    found = [line for line in warnings_of(folder, load_policy(folder)) if "readers.yaml" in line]
    assert [
        f"`marketer` reads `{purpose}`, which rests on contract" in line
        for purpose, line in zip(purposes, found, strict=True)
    ] == [True] * len(purposes)
    assert all("readers.yaml:" in line for line in found)
