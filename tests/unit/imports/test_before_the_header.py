"""What comes before the header, and the encoding of the file: read as meant, or refused by name."""

import gzip
from pathlib import Path

import pytest

from cdp.accounting.row_reasons import RowReason
from cdp.flows.imports.mapping import load_mapping
from cdp.flows.imports.read import inspect_file, rows_of
from cdp.kit.errors import Fault

HEAD = "type: identify\nidentifiers: {email: mail}\ntraits: {name: name}\n"


def cells(folder: Path, content: bytes, mapping: str = HEAD, name: str = "a.csv") -> list[tuple[object, object]]:
    file, rules = folder / name, folder / "mapping.yaml"
    file.write_bytes(content)
    rules.write_text(mapping, encoding="utf-8")
    read = load_mapping(rules)
    with rows_of(inspect_file(file, read), read) as (rows, _):
        return [(row.fields.get("name"), row.reason) for row in rows]


def refusal(folder: Path, content: bytes, mapping: str = HEAD) -> Fault:
    with pytest.raises(Fault) as refused:
        cells(folder, content, mapping)
    return refused.value


def test_lines_before_the_header_are_left_out(tmp_path: Path) -> None:
    content = b'Report of customers\n"as of\n\nmail,name\na@example.com,Ada\n'
    assert cells(tmp_path, content, HEAD + "skip_lines: 3\n") == [("Ada", None)]
    assert cells(tmp_path, b"mail,name\n", HEAD) == []
    assert refusal(tmp_path, b"one\n", HEAD + "skip_lines: 3\n").code == "unknown_column"


@pytest.mark.parametrize("note", ["sep=;\n", "SEP=;\r\n", '"sep=;"\r\n', "\ufeffsep=;\n"])
def test_a_line_that_names_the_separator_is_read(tmp_path: Path, note: str) -> None:
    content = note.encode() + b"mail;name\na@example.com;Ada\n"
    assert cells(tmp_path, content) == [("Ada", None)]
    assert cells(tmp_path, content, HEAD + 'delimiter: ";"\n') == [("Ada", None)]
    assert cells(tmp_path, content, HEAD + 'delimiter: ";"\nskip_lines: 1\n') == [("Ada", None)]


def test_a_separator_that_the_mapping_contradicts_is_refused_with_its_line(tmp_path: Path) -> None:
    fault = refusal(tmp_path, b"sep=;\nmail;name\n", HEAD + 'delimiter: ","\n')
    assert fault.code == "separator_disagrees"
    assert "Line 1" in fault.detail
    assert "skip_lines: 1" in fault.detail


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("is_compressed", [False, True])
def test_utf_16_is_named_where_it_is_not_declared(tmp_path: Path, codec: str, is_compressed: bool) -> None:
    content = "mail\tname\na@example.com\tSvén\n".encode(codec)
    name = "a.csv.gz" if is_compressed else "a.csv"
    packed = gzip.compress(content) if is_compressed else content
    with pytest.raises(Fault) as refused:
        cells(tmp_path, packed, HEAD, name)
    assert (refused.value.code, refused.value.title) == ("other_encoding", "The file is UTF-16")
    assert "\x00" not in refused.value.detail


def test_utf_16_is_read_where_it_is_declared(tmp_path: Path) -> None:
    mapping = HEAD + 'encoding: utf-16\ndelimiter: "\\t"\n'
    text = "mail\tname\na@example.com\tSvén 🙂\nb@example.com\tBo\n"
    for codec in ("utf-16", "utf-16-le", "utf-16-be"):
        assert cells(tmp_path, text.encode(codec), mapping) == [("Svén 🙂", None), ("Bo", None)]
    assert refusal(tmp_path, text.encode(), mapping).title == "The file is not UTF-16"


def test_bytes_that_are_invalid_in_utf_16_cost_their_row(tmp_path: Path) -> None:
    mapping = HEAD + "encoding: utf-16\n"
    content = "mail,name\na@example.com,A".encode("utf-16-le") + b"\x00\xd8" + "\nb@example.com,B\n".encode("utf-16-le")
    assert [reason for _, reason in cells(tmp_path, content, mapping)] == [RowReason.TEXT_NOT_UNICODE, None]


def test_windows_1252_is_read_where_it_is_declared_and_costs_its_rows_where_it_is_not(tmp_path: Path) -> None:
    content = "mail,name\na@example.com,Ren\u00e9e \u20ac\nb@example.com,Bo\n".encode("cp1252")
    assert cells(tmp_path, content, HEAD + "encoding: cp1252\n") == [("Renée €", None), ("Bo", None)]
    assert [reason for _, reason in cells(tmp_path, content)] == [RowReason.TEXT_NOT_UNICODE, None]
    fault = refusal(tmp_path, "mail,name,größe\n".encode("cp1252"))
    assert (fault.code, fault.title) == ("other_encoding", "The header has bytes that are invalid in the encoding")
    assert "encoding: cp1252" in fault.detail
