"""Files shipped with the code are found in a checkout and in an installed package, and their absence is reported."""

from pathlib import Path

import pytest

from cdp.kit.config import read_config
from cdp.kit.errors import Fault
from cdp.kit.shipped import ShippedFolder, shipped_folder
from tests.support.policies import ROOT


@pytest.mark.parametrize("name", ["migrations", "policies", "examples"])
def test_a_checkout_holds_them_at_the_top(name: ShippedFolder) -> None:
    assert shipped_folder(name) == ROOT / name


def test_an_installed_package_holds_them_inside_and_never_reads_its_neighbors(tmp_path: Path) -> None:
    package = tmp_path / "site-packages" / "cdp"
    (package / "_shipped" / "policies").mkdir(parents=True)
    (package.parent / "policies").mkdir()
    assert shipped_folder("policies", package=package) == package / "_shipped" / "policies"


def test_an_incomplete_installation_is_reported(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="installation_incomplete") as raised:
        shipped_folder("migrations", package=tmp_path / "cdp")
    assert "migrations" in raised.value.detail


def test_without_a_folder_of_policies_the_shipped_ones_are_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_config({}).policies == ROOT / "policies"
    assert read_config({"CDP_POLICIES": "mine"}).policies == Path("mine")
    (tmp_path / "policies").mkdir()
    assert read_config({}).policies == Path("policies")
