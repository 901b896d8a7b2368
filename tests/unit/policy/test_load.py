"""Loading a folder: one value and one fingerprint, or every problem with its line."""

import json
import shutil
from pathlib import Path

import pytest

from cdp.kit.canonical import canonical_json, sha256
from cdp.kit.errors import Fault
from cdp.policy.load import build_policy, load_policy
from cdp.policy.model import FILES
from tests.support.policies import PERMIT_ALL, SHIPPED, documents_of, shipped, written


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped folder that a test may spoil."""
    return shutil.copytree(SHIPPED, tmp_path / "policies")


def spoil(folder: Path, file: str, old: str, new: str) -> int:
    """Replace a text that stands once in a file; the line on which it stood."""
    text = (folder / file).read_text()
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {file}"
    (folder / file).write_text(text.replace(old, new))
    return text[: text.index(old)].count("\n") + 1


def problems(folder: Path) -> list[str]:
    """The lines of the fault that loading ends with."""
    with pytest.raises(Fault) as fault:
        load_policy(folder)
    assert fault.value.code == "invalid_policy"
    return fault.value.detail.splitlines()


def test_a_policy_is_the_same_from_the_folder_and_from_its_documents() -> None:
    policy = shipped()
    assert build_policy(policy.documents) == policy


def test_the_fingerprint_is_the_hash_of_the_canonical_documents() -> None:
    policy = shipped()
    assert policy.fingerprint == sha256(canonical_json(dict(policy.documents))).hex()
    assert set(FILES) <= set(policy.documents)


def test_comments_and_layout_do_not_change_the_fingerprint(folder: Path) -> None:
    before = load_policy(folder).fingerprint
    for file in FILES:
        (folder / file).write_text("# another comment\n" + (folder / file).read_text())
    assert load_policy(folder).fingerprint == before
    policy = load_policy(folder)
    assert load_policy(written(policy, folder)).fingerprint == before


def test_any_value_changes_the_fingerprint(folder: Path) -> None:
    before = load_policy(folder).fingerprint
    spoil(folder, "jurisdictions.yaml", "minimum_disclosure_size: 100", "minimum_disclosure_size: 101")
    assert load_policy(folder).fingerprint != before


def test_segments_are_read_as_text_and_count_in_the_fingerprint(folder: Path) -> None:
    (folder / "segments").mkdir(exist_ok=True)
    before = load_policy(folder)
    text = 'key: big\nname: Big\npurpose: analytics\nwhere: |\n  count("page") > 3\n'
    (folder / "segments" / "big.yaml").write_text(text)
    after = load_policy(folder)
    assert after.segments["big"].where == 'count("page") > 3\n'
    assert after.fingerprint != before.fingerprint
    assert build_policy(after.documents) == after


@pytest.mark.parametrize("key", ["promo_20261122", "list_deadbeefdeadbeef"])
def test_a_key_that_could_name_somebody_is_refused(folder: Path, key: str) -> None:
    """The audit log takes no such name, so whatever is done with the segment could not be recorded."""
    (folder / "segments").mkdir(exist_ok=True)
    text = f'key: {key}\nname: Big\npurpose: analytics\nwhere: |\n  count("page") > 3\n'
    (folder / "segments" / f"{key}.yaml").write_text(text)
    (only,) = problems(folder)
    assert "could identify a person" in only
    assert f"segments/{key}.yaml:1:6" in only


def test_one_file_can_be_replaced_for_a_rehearsal(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "rules.yaml"
    other.write_text((folder / "identifiers.yaml").read_text().replace("default_region: US", "default_region: DE"))
    policy = load_policy(folder, instead={"identifiers.yaml": other})
    assert policy.identifiers.default_region == "DE"
    assert policy.fingerprint != load_policy(folder).fingerprint
    other.write_text("types: 1\n")
    with pytest.raises(Fault) as fault:
        load_policy(folder, instead={"identifiers.yaml": other})
    assert f"{other}:1:8: `types` must be a mapping, but is 1" in fault.value.detail


def test_a_wrong_key_names_file_line_column_and_the_right_one(folder: Path) -> None:
    line = spoil(folder, "purposes.yaml", "    sale_or_sharing: true", "    sale_or_sharng: true")
    (only,) = problems(folder)
    assert only == (
        f"policies/purposes.yaml:{line}:5: unknown key `sale_or_sharng` in `purposes.advertising`; did you mean `sale_or_sharing`?"
    )


def test_all_problems_of_all_files_are_listed_at_once(folder: Path) -> None:
    places = [
        f"policies/jurisdictions.yaml:{spoil(folder, 'jurisdictions.yaml', 'time_zone: UTC', 'time_zon: UTC')}:1",
        f"policies/purposes.yaml:{spoil(folder, 'purposes.yaml', 'legal_basis: contract', 'legal_basis: contact')}:18",
        f"policies/retention.yaml:{spoil(folder, 'retention.yaml', 'keep_for_days: 90', 'keep_for_days: ninety')}:20",
    ]
    bases = "'consent', 'contract', 'legal_obligation', 'vital_interests', 'public_task' or 'legitimate_interests'"
    lines = [
        f"{places[0]}: unknown key `time_zon`; did you mean `time_zone`?",
        f"{places[1]}: `purposes.service.legal_basis` must be {bases}, but is 'contact'; did you mean `contract`?",
        f"{places[2]}: `classes.system.keep_for_days` must be a whole number, but is 'ninety'",
    ]
    found = problems(folder)
    assert [line for line in lines if line not in found] == []
    assert any(
        line.startswith("policies/jurisdictions.yaml") and "`time_zone` is missing in the file" in line
        for line in found
    )
    assert len(found) == 4


def test_a_wrong_type_a_wrong_bound_and_a_wrong_name_read_well(folder: Path) -> None:
    spoil(folder, "purposes.yaml", "  service:\n    name: Fulfilling your orders", "  Service:\n    name: [1]")
    spoil(folder, "identifiers.yaml", "    priority: 13", "    priority: 0")
    found = "\n".join(problems(folder))
    assert "the name `Service` must match ^[a-z][a-z0-9_]{0,52}$" in found
    assert "`purposes.Service.name` must be a string, but is a list" in found
    assert "`types.household_id.priority` must be greater than or equal to 1, but is 0" in found


def test_alternatives_are_one_problem(folder: Path) -> None:
    line = spoil(
        folder,
        "purposes.yaml",
        "    events: [Order Completed, Order Updated, Order Refunded, Order Cancelled]",
        "    events: all",
    )
    assert problems(folder) == [
        f"policies/purposes.yaml:{line}:13: `purposes.service.events` must be '*' or a list, but is 'all'"
    ]


def test_a_missing_key_says_what_it_would_say(folder: Path) -> None:
    spoil(folder, "purposes.yaml", "    data_use: essential.service\n", "")
    (only,) = problems(folder)
    assert "`data_use` is missing in `purposes.service`; add it: Data use in fideslang's taxonomy" in only


def test_an_entry_does_not_repeat_its_key(folder: Path) -> None:
    line = spoil(folder, "traits.yaml", "  monetary:\n", "  monetary:\n    key: monetary\n") + 1
    (only,) = problems(folder)
    assert only.startswith(f"policies/traits.yaml:{line}:5: `key` must not be written inside `traits.monetary`")


def test_a_file_that_is_missing_or_has_a_strange_name_is_said(folder: Path) -> None:
    (folder / "purposes.yaml").rename(folder / "purpose.yaml")
    (folder / "traits.yaml").rename(folder / "traits.yml")
    found = problems(folder)
    assert "policies/purpose.yaml: this is not a name of a policy file; did you mean `purposes.yaml`?" in found
    assert "policies/purposes.yaml: the file is missing; every policy needs it; it may be short" in found
    assert "policies/traits.yml: this is not a name of a policy file; name it traits.yaml" in found


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    assert "the folder does not exist; set CDP_POLICIES" in problems(tmp_path / "nowhere")[0]


def test_yaml_faults_of_several_files_are_listed_together(folder: Path) -> None:
    (folder / "traits.yaml").write_text("traits: [\n")
    (folder / "events.yaml").write_text("events: &a {}\n")
    found = problems(folder)
    assert len(found) == 2
    assert found[0].startswith("policies/events.yaml:1:9: anchors")
    assert found[1].startswith("policies/traits.yaml:")


def test_documents_are_checked_as_folders_are() -> None:
    documents = documents_of(shipped())
    del documents["traits.yaml"]
    documents["trait.yaml"] = {}
    with pytest.raises(Fault) as fault:
        build_policy(documents)
    assert "traits.yaml: the file is missing" in fault.value.detail
    assert "trait.yaml: this is not a name of a policy file; did you mean `traits.yaml`?" in fault.value.detail


def test_a_fault_carries_its_problems_for_machines(folder: Path) -> None:
    line = spoil(folder, "destinations.yaml", "enabled: false", "enabled: no")
    with pytest.raises(Fault) as fault:
        load_policy(folder)
    (problem,) = fault.value.extra["problems"]
    assert (problem["file"], problem["line"], problem["column"]) == ("policies/destinations.yaml", line, 14)
    assert problem["what"] == "`destinations.newsletter.enabled` must be true or false, but is 'no'"
    assert json.loads(json.dumps(fault.value.extra)) == fault.value.extra


def test_a_thousand_problems_do_not_make_an_endless_message(folder: Path) -> None:
    strange = "".join(f"strange_{number}: 1\n" for number in range(1000))
    (folder / "destinations.yaml").write_text(strange)
    found = problems(folder)
    assert len(found) == 101
    assert found[-1] == "and 900 more"


def test_the_policy_for_tests_permits_everything() -> None:
    policy = load_policy(PERMIT_ALL)
    analytics = policy.purposes["analytics"]
    assert analytics.events == "*"
    assert all(analytics.allows(policy.events.category_of(name)) for name in [*policy.events.events, "never heard of"])
    assert policy.identifiers == shipped().identifiers
