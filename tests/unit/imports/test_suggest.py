"""A proposal is a mapping that is accepted, without a value of the file, and leaves open what the sample leaves open."""

import csv
import gzip
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from cdp.cli.imports import import_
from cdp.flows.imports.mapping import Mapping, read_mapping
from cdp.flows.imports.messages import check_mapping
from cdp.flows.imports.suggest.guess import instant_format, number_format
from cdp.flows.imports.suggest.layouts import LAYOUTS
from cdp.flows.imports.suggest.propose import SuggestedMapping, suggest_mapping
from cdp.flows.imports.trial import try_file
from cdp.kit.errors import Fault
from tests.support.people import NOON
from tests.support.policies import ROOT, changed, permit_all, shipped

EXPORTS = sorted((ROOT / "tests" / "data" / "exports").glob("*.csv"))


def proposed(path: Path) -> tuple[SuggestedMapping, Mapping]:
    proposal = suggest_mapping(path, shipped())
    return proposal, read_mapping("mapping.yaml", proposal.mapping.encode())


def of(folder: Path, content: str, name: str = "a.csv") -> tuple[SuggestedMapping, Mapping]:
    path = folder / name
    path.write_bytes(gzip.compress(content.encode()) if name.endswith(".gz") else content.encode())
    return proposed(path)


@pytest.mark.parametrize("path", EXPORTS, ids=lambda path: path.stem)
def test_the_mapping_of_a_known_export_is_accepted_and_contains_no_value(path: Path) -> None:
    proposal, mapping = proposed(path)
    assert proposal.layout is not None
    check_mapping(mapping, shipped())
    tried = try_file(permit_all(), path, mapping, now=NOON)
    assert tried.rows
    assert {name for name in tried.tally.reasons if name.startswith("invalid")} <= {"invalid: not_selected"}
    with path.open(encoding="utf-8", newline="") as file:
        _, *rows = csv.reader(file)
    values = {cell for row in rows for cell in row if any(mark in cell for mark in "@0123456789") and len(cell) > 3}
    assert not [value for value in values if value in proposal.mapping]


def test_every_layout_has_a_file() -> None:
    known = {proposed(path)[0].layout for path in EXPORTS}
    assert known == {layout.name for layout in LAYOUTS}


def test_how_a_file_is_written_is_declared(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(
        "Größe;E-Mail;Bestellnr;Order Date;Total;Order ID\nL;a@example.com;1;02.10.2026 10:00;1.234,50;7\n".encode(
            "cp1252"
        )
    )
    _, mapping = proposed(path)
    assert (mapping.delimiter, mapping.encoding, mapping.decimal, mapping.thousands) == (";", "cp1252", ",", ".")
    assert mapping.timestamp is not None
    assert mapping.timestamp.format == "%d.%m.%Y %H:%M"
    assert mapping.identifiers.keys() == {"email"}
    path.write_bytes("email\tname\na@example.com\tAda\n".encode("utf-16"))
    _, mapping = proposed(path)
    assert (mapping.delimiter, mapping.encoding) == ("\t", "utf-16")


@pytest.mark.parametrize(
    ("name", "content", "columns"),
    [
        ("a.csv", "sep=;\nmail;x\na@example.com;1\n", {"mail"}),
        ("a.csv.gz", "mail,x\na@example.com,1\n", {"mail"}),
        ("a.csv", "mail,x\n", {"mail"}),
        (
            "a.jsonl",
            '{"user": {"id": 1, "email": "a@example.com"}}\n{"customer_id": 5}\n',
            {"user.email", "customer_id"},
        ),
    ],
)
def test_an_unknown_file_is_read_by_the_names_of_its_columns(
    tmp_path: Path, name: str, content: str, columns: set[str]
) -> None:
    proposal, mapping = of(tmp_path, content, name)
    assert proposal.layout is None
    assert mapping.columns == columns


def test_what_a_sample_leaves_open_is_not_guessed(tmp_path: Path) -> None:
    proposal, mapping = of(tmp_path, 'order id,email,created,total\n1,a@example.com,03/04/2026,"1,234"\n')
    assert "CHECK numbers" in proposal.mapping
    assert "CHECK timestamp" in proposal.mapping
    assert (mapping.decimal, mapping.thousands) == (".", "")
    tried = try_file(permit_all(), tmp_path / "a.csv", mapping, now=NOON)
    assert tried.tally.states == {"invalid": 1}


@pytest.mark.parametrize(
    ("cells", "written", "is_certain"),
    [
        (["12.50", "1"], (".", ""), True),
        (["12,50"], (",", ""), True),
        (["1.234,50", "3"], (",", "."), True),
        (["1,234.50"], (".", ","), True),
        (["1'234.50"], (".", "'"), True),
        (["1 234,50"], (",", " "), True),
        (["1.234"], (".", ""), False),
        (["1,234", "5"], (".", ""), False),
        (["many"], (".", ""), False),
        ([], (".", ""), True),
    ],
)
def test_marks_in_numbers(cells: list[str], written: tuple[str, str], is_certain: bool) -> None:
    found, certain = number_format(cells)
    assert ((found.decimal, found.thousands), certain) == (written, is_certain)


@pytest.mark.parametrize(
    ("cells", "name", "possible"),
    [
        (["2026-10-02 09:59:00 +0200", ""], "iso8601", 0),
        (["1760000000"], "unix_seconds", 0),
        (["1760000000000"], "unix_milliseconds", 0),
        (["13/04/2026"], "%d/%m/%Y", 0),
        (["04/13/2026 01:05 PM"], "%m/%d/%Y %I:%M %p", 0),
        (["03/04/2026"], "iso8601", 2),
        (["soon"], "iso8601", 0),
    ],
)
def test_formats_of_times(cells: list[str], name: str, possible: int) -> None:
    found, others = instant_format(cells)
    assert (found, len(others)) == (name, possible)


def test_an_identifier_type_that_the_policy_does_not_have_is_left_out() -> None:
    policy = changed(shipped(), "identifiers.yaml", types={"phone": None})
    path = next(path for path in EXPORTS if path.stem == "klaviyo_list")
    proposal = suggest_mapping(path, policy)
    assert "The policy has no phone for `identifiers`" in proposal.mapping
    check_mapping(read_mapping("mapping.yaml", proposal.mapping.encode()), policy)


def test_a_file_that_names_nobody_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="nothing_to_suggest") as refused:
        of(tmp_path, "colour,size\nred,5\n")
    assert "`colour`, `size`" in refused.value.detail
    with pytest.raises(Fault, match="nothing_to_suggest"):
        of(tmp_path, "")


def test_the_command_prints_the_mapping_and_needs_one_for_an_import(monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(EXPORTS[0])
    monkeypatch.setenv("CDP_POLICIES", str(ROOT / "policies"))
    printed = CliRunner().invoke(import_, [path, "--suggest"])
    assert read_mapping("mapping.yaml", printed.output.encode()).identifiers
    as_json = json.loads(CliRunner().invoke(import_, [path, "--suggest", "--json"]).output)
    assert as_json["mapping"] == printed.output
    missing = CliRunner().invoke(import_, [path])
    assert missing.exit_code == 2
    assert "--suggest" in missing.output
