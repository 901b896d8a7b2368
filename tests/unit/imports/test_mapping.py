"""A mapping is read strictly: each mistake is told with its line and what would be right."""

from pathlib import Path

import pytest

from cdp.flows.imports.mapping import Mapping, load_mapping
from cdp.flows.imports.messages import check_mapping
from cdp.kit.errors import Fault
from tests.support.policies import ROOT, shipped

EXAMPLE = ROOT / "examples" / "online_retail" / "mapping.yaml"


def read(tmp_path: Path, text: str) -> Mapping:
    path = tmp_path / "mapping.yaml"
    path.write_text(text, encoding="utf-8")
    return load_mapping(path)


def refusal(tmp_path: Path, text: str) -> str:
    with pytest.raises(Fault) as refused:
        read(tmp_path, text)
    assert refused.value.code == "invalid_mapping"
    return refused.value.detail


def test_the_example_is_a_mapping_under_the_shipped_policy() -> None:
    mapping = load_mapping(EXAMPLE)
    check_mapping(mapping, shipped())
    assert mapping.columns == {"customer_id", "invoice", "ts", "amount", "lines", "items", "country"}


def test_a_word_alone_is_a_column_and_for_the_event_a_text(tmp_path: Path) -> None:
    mapping = read(tmp_path, "event: Order Completed\nidentifiers:\n  user_id: customer\n")
    assert mapping.event is not None
    assert (mapping.event.value, mapping.identifiers["user_id"].column) == ("Order Completed", "customer")


def test_a_mapping_says_the_same_whatever_its_layout(tmp_path: Path) -> None:
    one = read(tmp_path, "event: A\nidentifiers: {user_id: id}\n")
    other = read(tmp_path, "# comment\nidentifiers:\n  user_id: {column: id}\nevent: {value: A}\n")
    assert one.digest == other.digest
    assert one.digest != read(tmp_path, "event: B\nidentifiers: {user_id: id}\n").digest


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "event: A\nidentifers: {user_id: id}\n",
            "mapping.yaml:2:1: unknown key `identifers`; did you mean `identifiers`?",
        ),
        ("event: A\n", "`identifiers` is missing"),
        ("event: A\nidentifiers: {user_id: id}\nthousands: '.'\n", "`.` cannot be both `decimal` and `thousands`"),
        ("event: A\nidentifiers: {user_id: id}\ntimestamp: {}\n", "give either `column` or `value`"),
        (
            "event: A\nidentifiers: {user_id: id}\ntimestamp: {value: soon}\n",
            "`soon` is not an instant of the format `iso8601`",
        ),
        (
            "event: A\nidentifiers: {user_id: id}\ntimestamp: {column: x, format: '%d.%m. %H:%M'}\n",
            "the pattern of `format` has no year",
        ),
        (
            "event: A\nidentifiers: {user_id: id}\nproperties: {x: {column: x, zone: Europe/Berlin}}\n",
            "`format` and `zone` require `type: instant`",
        ),
        (
            "type: identify\nidentifiers: {user_id: id}\nconsents: {analytics: {column: x, at: {colum: y}}}\n",
            "unknown key `colum`; did you mean `column`?",
        ),
        ("identifiers: {user_id: id}\n", "`event` is missing: a track message needs the name of its event"),
        ("type: trak\nevent: A\nidentifiers: {user_id: id}\n", "`trak` is not a message type"),
        (
            "event: A\nidentifiers:\n  user_id: {column: id, value: x}\n",
            "mapping.yaml:3:12: identifiers.user_id: give exactly one of column, value, template",
        ),
        (
            "event: A\nidentifiers: {user_id: id}\ntimestamp: {column: at, zone: Europe/Londn}\n",
            "mapping.yaml:3:12: timestamp: `Europe/Londn` is not an IANA time zone",
        ),
        (
            "event: A\nidentifiers: {user_id: id}\nproperties:\n  total: {colum: t}\n",
            "mapping.yaml:4:11: unknown key `colum`; did you mean `column`?",
        ),
        (
            "event: A\nidentifiers: {user_id: id}\nconsents:\n  analytics: {column: c, grant: [Yes], refuse: ['yes']}\n",
            "mapping.yaml:4:14: consents.analytics: `yes` is listed both under `grant` and under `refuse`",
        ),
        ("event: A\nidentifiers: {user_id: [\n", "this is not YAML"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    assert told in refusal(tmp_path, text)


def test_an_identifier_type_must_be_one_of_the_policy(tmp_path: Path) -> None:
    mapping = read(tmp_path, "event: A\nidentifiers: {emial: id}\n")
    with pytest.raises(Fault, match="unknown_identifier_type") as refused:
        check_mapping(mapping, shipped())
    assert refused.value.detail == "identifiers.emial: did you mean `email`?"


def test_consent_is_imported_only_for_purposes_that_ask_for_it(tmp_path: Path) -> None:
    mapping = read(tmp_path, "event: A\nidentifiers: {email: id}\nconsents: {service: {column: c}}\n")
    with pytest.raises(Fault, match="unknown_purpose"):
        check_mapping(mapping, shipped())
