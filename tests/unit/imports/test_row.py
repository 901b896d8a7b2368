"""A row becomes a message, or is invalid with a reason that names no value."""

import gzip
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cdp.accounting.row_reasons import RowReason
from cdp.consent.model import Act, Authority
from cdp.flows.imports.cells import Row
from cdp.flows.imports.mapping import Mapping, load_mapping
from cdp.flows.imports.read import inspect_file, rows_of
from cdp.flows.imports.row import row_reader
from cdp.kit.errors import Fault
from cdp.wire.message import Invalid, Message
from tests.support.people import NOON, SHOP

HEAD = "event: Order Completed\nidentifiers: {user_id: id}\n"


def mapping_of(tmp_path: Path, text: str) -> Mapping:
    path = tmp_path / "mapping.yaml"
    path.write_text(text, encoding="utf-8")
    return load_mapping(path)


def made(tmp_path: Path, mapping: str, **fields: Any) -> Message | Invalid:
    return row_reader(mapping_of(tmp_path, mapping), SHOP, b"\x01" * 32)(Row(7, fields), NOON)


def message(tmp_path: Path, mapping: str, **fields: Any) -> Message:
    found = made(tmp_path, mapping, **fields)
    assert isinstance(found, Message), found
    return found


def reason(tmp_path: Path, mapping: str, **fields: Any) -> str:
    found = made(tmp_path, mapping, **fields)
    assert isinstance(found, Invalid), found
    return found.reason


@contextmanager
def rows(tmp_path: Path, name: str, content: bytes, mapping: str = HEAD) -> Iterator[Sequence[Row]]:
    path = tmp_path / name
    path.write_bytes(content)
    read = mapping_of(tmp_path, mapping)
    with rows_of(inspect_file(path, read), read) as (found, _):
        yield list(found)


def test_identifiers_go_where_every_message_carries_them(tmp_path: Path) -> None:
    text = "event: A\nidentifiers: {user_id: id, anonymous_id: device, email: mail, phone: tel}\n"
    body = message(tmp_path, text, id=" u1 ", device="d1", mail="ada@example.com", tel="").body
    assert (body["userId"], body["anonymousId"]) == ("u1", "d1")
    assert [(each["type"], each["id"]) for each in body["context"]["externalIds"]] == [("email", "ada@example.com")]


def test_a_row_without_a_message_id_is_named_by_its_file_and_number(tmp_path: Path) -> None:
    assert message(tmp_path, HEAD, id="u1").message_id == "import-01010101010101010101-7"
    named = message(tmp_path, HEAD + "message_id: {template: 'o-{order}'}\n", id="u1", order="5")
    assert named.message_id == "o-5"


@pytest.mark.parametrize(
    ("when", "cell", "instant"),
    [
        ("{column: at}", "2026-05-01T10:00:00+02:00", datetime(2026, 5, 1, 8, tzinfo=UTC)),
        ("{column: at, zone: Europe/Berlin}", "2026-05-01 10:00", datetime(2026, 5, 1, 8, tzinfo=UTC)),
        ("{column: at, format: '%d.%m.%Y', zone: Europe/Berlin}", "01.05.2026", datetime(2026, 4, 30, 22, tzinfo=UTC)),
        ("{column: at, format: unix_seconds}", "1700000000", datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        (
            "{column: at, format: unix_milliseconds}",
            1700000000500,
            datetime(2023, 11, 14, 22, 13, 20, 500000, tzinfo=UTC),
        ),
        ("{column: at, empty: now}", "", NOON),
        ("{value: 2026-05-01}", "", datetime(2026, 5, 1, tzinfo=UTC)),
        ("{column: at}", "2270-01-01", NOON),
    ],
)
def test_the_time_of_a_row(tmp_path: Path, when: str, cell: object, instant: datetime) -> None:
    assert message(tmp_path, f"{HEAD}timestamp: {when}\n", id="u1", at=cell).occurred_at == instant


@pytest.mark.parametrize(
    ("rule", "cell", "value"),
    [
        ("{column: x, type: number}", "12.50", 12.5),
        ("{column: x, type: number}", "-3", -3),
        ("{column: x, type: number}", 7.25, 7.25),
        ("{column: x, type: boolean}", "Yes", True),
        ("{column: x, type: instant}", "2026-05-01", "2026-05-01T00:00:00.000000Z"),
        (
            "{column: x, type: instant, format: '%d.%m.%Y', zone: Europe/Berlin}",
            "01.05.2026",
            "2026-04-30T22:00:00.000000Z",
        ),
        ("{column: x, type: json}", {"a": [1]}, {"a": [1]}),
        ("{column: x, map: {DE: Germany}}", " DE ", "Germany"),
        ("{column: x, map: {DE: Germany}, otherwise: elsewhere}", "FR", "elsewhere"),
        ("{template: '{x}-{id}'}", "a", "a-u1"),
        ("x", " text ", "text"),
    ],
)
def test_a_cell_becomes_a_value(tmp_path: Path, rule: str, cell: object, value: object) -> None:
    assert message(tmp_path, f"{HEAD}properties: {{p: {rule}}}\n", id="u1", x=cell).body["properties"] == {"p": value}


def test_a_number_may_have_a_decimal_comma(tmp_path: Path) -> None:
    text = HEAD + "decimal: ','\nproperties: {p: {column: x, type: number}}\n"
    assert message(tmp_path, text, id="u1", x="12,5").body["properties"] == {"p": 12.5}


@pytest.mark.parametrize(("type_", "cell", "value"), [("number", "\u221212,5", -12.5), ("integer", "\u221212", -12)])
def test_a_negative_number_may_have_a_minus_sign(tmp_path: Path, type_: str, cell: str, value: float) -> None:
    """As Norwegian and Swedish browsers print it: `new Intl.NumberFormat("nb").format(-12.5)`, Node 20 with ICU 78.2."""
    text = f"{HEAD}decimal: ','\nproperties: {{p: {{column: x, type: {type_}}}}}\n"
    assert message(tmp_path, text, id="u1", x=cell).body["properties"] == {"p": value}


def test_an_empty_cell_is_no_value(tmp_path: Path) -> None:
    text = HEAD + "absent: ['', 'n/a']\nproperties: {p: x, q: y}\n"
    assert message(tmp_path, text, id="u1", x=" n/a ", y="0").body["properties"] == {"q": "0"}


@pytest.mark.parametrize(
    ("rule", "cell", "why"),
    [
        ("properties: {p: {column: x, type: number}}", "12 EUR", RowReason.NUMBER_MALFORMED),
        ("properties: {p: {column: x, type: number}}", "nan", RowReason.NUMBER_MALFORMED),
        ("properties: {p: {column: x, type: integer}}", "1.5", RowReason.NUMBER_MALFORMED),
        ("properties: {p: {column: x, type: boolean}}", "maybe", RowReason.BOOLEAN_MALFORMED),
        ("properties: {p: {column: x, map: {a: b}}}", "c", RowReason.VALUE_NOT_MAPPED),
        ("timestamp: {column: x}", "yesterday", RowReason.INSTANT_MALFORMED),
        ("timestamp: {column: x, format: unix_seconds}", "9" * 40, RowReason.INSTANT_MALFORMED),
        ("message_id: x", "", RowReason.MESSAGE_ID_MISSING),
        ("consents: {analytics: {column: x}}", "perhaps", RowReason.CONSENT_NOT_MAPPED),
    ],
)
def test_a_cell_that_cannot_be_understood_makes_the_row_invalid(
    tmp_path: Path, rule: str, cell: str, why: RowReason
) -> None:
    assert reason(tmp_path, f"{HEAD}{rule}\n", id="u1", x=cell) == why


@pytest.mark.parametrize(("type_", "event"), [("track", "event: A\n"), ("page", ""), ("screen", "")])
def test_an_event_without_a_time_is_not_an_event_of_now(tmp_path: Path, type_: str, event: str) -> None:
    text = f"type: {type_}\n{event}identifiers: {{user_id: id}}\ntimestamp: {{column: at}}\n"
    assert reason(tmp_path, text, id="u1", at=" ") == RowReason.INSTANT_MISSING


def test_a_consent_has_a_time_and_a_validity_of_its_own(tmp_path: Path) -> None:
    text = (
        "type: identify\nidentifiers: {user_id: id}\ntimestamp: {column: at}\n"
        "consents:\n"
        "  email_marketing:\n    column: mail\n    at: {column: mail_at, format: '%d.%m.%Y'}\n    valid_until: {column: ends}\n"
        "  analytics: {value: 'yes', at: {value: 2026-02-01}}\n"
    )
    row = {"id": "u1", "at": "2026-05-01", "mail": "yes", "mail_at": "01.03.2026", "ends": "2026-12-31"}
    mail, analytics = message(tmp_path, text, **row).acts
    assert (mail.stated_at, mail.ends_at) == (datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 12, 31, tzinfo=UTC))
    assert (analytics.stated_at, analytics.ends_at, analytics.is_undated) == (
        datetime(2026, 2, 1, tzinfo=UTC),
        None,
        False,
    )
    undated = message(tmp_path, text, **{**row, "mail_at": ""}).acts[0]
    assert (undated.is_undated, undated.stated_at) == (True, NOON)
    refused = message(tmp_path, text, **{**row, "mail": "no", "mail_at": ""}).acts[0]
    assert (refused.is_undated, refused.stated_at, refused.ends_at) == (False, NOON, None)
    assert reason(tmp_path, text, **{**row, "mail_at": "soon"}) == RowReason.INSTANT_MALFORMED
    found = made(tmp_path, text, **{**row, "mail": "no", "mail_at": "soon"})
    assert isinstance(found, Invalid)
    assert found.reason == RowReason.INSTANT_MALFORMED
    assert found.consents is not None
    assert next((act.purpose, act.act) for act in found.consents.acts) == ("email_marketing", Act.REFUSE)


def test_a_row_that_names_nobody_is_invalid_as_any_message_would_be(tmp_path: Path) -> None:
    assert reason(tmp_path, HEAD, id="") == "id_missing"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"n": "many"}, RowReason.NUMBER_MALFORMED),
        ({"at": "never"}, RowReason.INSTANT_MALFORMED),
        ({"b": "perhaps"}, RowReason.CONSENT_NOT_MAPPED),
        ({"event": ""}, "event_missing"),
    ],
)
def test_a_refusal_counts_whatever_else_is_wrong_with_its_row(
    tmp_path: Path, fields: dict[str, str], code: str
) -> None:
    text = (
        "event: {column: event}\nidentifiers: {user_id: id, email: mail}\ntimestamp: {column: at}\n"
        "properties: {n: {column: n, type: number}}\n"
        "consents: {analytics: {column: a}, email_marketing: {column: b}}\n"
    )
    row = {"event": "A", "at": "2026-03-01T10:00:00Z", "id": "u1", "mail": "ada@example.com", "a": "no"}
    found = made(tmp_path, text, **{**row, **fields})
    assert isinstance(found, Invalid)
    assert found.reason == code
    consents = found.consents
    assert consents is not None
    assert [(act.purpose, act.act) for act in consents.acts] == [("analytics", Act.REFUSE)]
    assert consents.body["userId"] == "u1"
    assert consents.body["context"]["externalIds"][0]["id"] == "ada@example.com"
    at = NOON if "at" in fields else datetime(2026, 3, 1, 10, tzinfo=UTC)
    assert consents.occurred_at == at


def test_consent_columns_become_acts_with_the_authority_of_an_import(tmp_path: Path) -> None:
    text = (
        HEAD
        + "consents: {analytics: {column: a}, email_marketing: {column: b, grant: [ja], refuse: [nein]}, advertising: {column: c}}\n"
    )
    acts = message(tmp_path, text, id="u1", a="YES", b="nein", c="").acts
    assert [(each.purpose, each.act) for each in acts] == [("analytics", Act.GRANT), ("email_marketing", Act.REFUSE)]
    assert {each.authority for each in acts} == {Authority.IMPORTED}


def test_json_lines_are_reached_by_paths(tmp_path: Path) -> None:
    text = "format: jsonl\nevent: A\nidentifiers: {user_id: user.id}\n"
    content = b'{"user": {"id": 5}}\n\n{"user": 1}\n[1]\n{"user": NaN}\n{broken\n'
    with rows(tmp_path, "a.txt", content, text) as found:
        assert [each.reason for each in found] == [
            None,
            None,
            RowReason.ROW_MALFORMED,
            None,
            RowReason.ROW_MALFORMED,
        ]
        read = row_reader(mapping_of(tmp_path, text), SHOP, b"")
        assert isinstance(first := read(found[0], NOON), Message)
        assert first.body["userId"] == "5"
        assert isinstance(second := read(found[1], NOON), Invalid)
        assert second.reason == "id_missing"


def test_csv_rows_that_cannot_be_read_are_named_and_the_rest_are_read(tmp_path: Path) -> None:
    content = b'\xef\xbb\xbfid,note\nu1,"two\nlines"\n\nu2\nu3,\xff\nu4,' + b"x" * 40_000 + b"\nu5,ok\n"
    with rows(tmp_path, "a.csv", content) as found:
        assert [(each.number, each.reason) for each in found] == [
            (1, None),
            (2, RowReason.ROW_MALFORMED),
            (3, RowReason.TEXT_NOT_UNICODE),
            (4, RowReason.ROW_TOO_LARGE),
            (5, None),
        ]
        assert found[0].fields == {"id": "u1", "note": "two\nlines"}


def test_a_compressed_file_reads_the_same(tmp_path: Path) -> None:
    with rows(tmp_path, "a.csv.gz", gzip.compress(b"id\nu1\nu2\n")) as found:
        assert [each.fields["id"] for each in found] == ["u1", "u2"]


def test_a_file_that_breaks_off_is_a_fault_after_its_rows(tmp_path: Path) -> None:
    content = gzip.compress(b"id\n" + b"".join(b"u%d\n" % number for number in range(50_000)))
    with pytest.raises(Fault, match="damaged_file"), rows(tmp_path, "a.csv.gz", content[: len(content) // 2]):
        pass


def test_a_column_that_is_not_there_is_told_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="unknown_column") as refused, rows(tmp_path, "a.csv", b"idd\nu1\n"):
        pass
    assert refused.value.detail == "`id`: did you mean `idd`?"


def test_a_format_that_is_not_known_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="unknown_format"), rows(tmp_path, "a.dat", b"id\n"):
        pass


def test_a_time_just_behind_the_clock_stands(tmp_path: Path) -> None:
    at = NOON - timedelta(microseconds=1)
    assert message(tmp_path, HEAD + "timestamp: {column: at}\n", id="u1", at=at.isoformat()).occurred_at == at
