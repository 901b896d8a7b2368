"""Files that never end or expand without limit: refused by row or as a whole, in bounded memory."""

import gzip
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cdp.accounting.row_reasons import RowReason
from cdp.flows.imports.lines import RECORD_MAX, BoundedLines, RecordTooLong
from cdp.flows.imports.mapping import load_mapping
from cdp.flows.imports.read import inspect_file, rows_of
from cdp.kit.bounded_file import read_bounded
from cdp.kit.errors import Fault
from cdp.kit.shipped import shipped_folder
from cdp.policy.load import load_policy

MAPPING = "event: Order Completed\nidentifiers:\n  user_id: id\n"
READ = """
import resource, sys
from pathlib import Path
from cdp.flows.imports.mapping import load_mapping
from cdp.flows.imports.read import inspect_file, rows_of
mapping = load_mapping(Path(sys.argv[2]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with rows_of(inspect_file(Path(sys.argv[1]), mapping), mapping) as (rows, _):
    for row in rows:
        print(row.number, row.reason)
print("grown", (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    path = tmp_path / "mapping.yaml"
    path.write_text(MAPPING)
    return path


def bomb(path: Path, start: bytes, filling: bytes, end: bytes) -> Path:
    """A compressed file with one line of 200 MB."""
    with gzip.open(path, "wb", compresslevel=6) as file:
        file.write(start)
        for _ in range(200):
            file.write(filling * (1024 * 1024 // len(filling)))
        file.write(end)
    return path


@pytest.mark.parametrize(
    ("name", "start", "filling", "end"),
    [
        ("rows.jsonl.gz", b'{"id":"a"}\n{"id":"', b"x", b'"}\n{"id":"b"}\n'),
        ("rows.csv.gz", b"id\na\n", b"x", b"\nb\n"),
        ("quoted.csv.gz", b'id\na\n"', b"x", b'"\nb\n'),
    ],
)
def test_a_line_that_expands_without_limit_is_refused_by_its_number(
    tmp_path: Path, mapping: Path, name: str, start: bytes, filling: bytes, end: bytes
) -> None:
    path = bomb(tmp_path / name, start, filling, end)
    assert path.stat().st_size < 500_000
    command = [sys.executable, "-c", READ, str(path), str(mapping)]
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout.split("\n")
    assert output[:3] == ["1 None", f"2 {RowReason.ROW_TOO_LARGE}", "3 None"]
    assert int(output[3].split()[1]) < 60, "megabytes"


def test_a_record_of_many_lines_is_bounded_too(tmp_path: Path, mapping: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("id\na\n" + '"x\n",' * RECORD_MAX + "\nb\n")
    loaded = load_mapping(mapping)
    with rows_of(inspect_file(path, loaded), loaded) as (rows, _):
        reasons = [row.reason for row in rows]
    assert reasons[0] is None
    assert RowReason.ROW_TOO_LARGE in reasons
    assert reasons[-1] is None


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_go_on_after_one_that_is_too_long(end: str) -> None:
    text = io.TextIOWrapper(io.BytesIO(f"ab{end}abcdefghijk{end}cd".encode()), "utf-8", newline="")
    lines = BoundedLines(text, record_max=6)
    assert next(lines).strip() == "ab"
    lines.begin_record()
    with pytest.raises(RecordTooLong):
        next(lines)
    lines.begin_record()
    assert [line.strip() for line in lines if line.strip()] == ["cd"]


def test_a_header_that_is_too_long_is_named(tmp_path: Path, mapping: Path) -> None:
    path = bomb(tmp_path / "rows.csv.gz", b"", b"x", b"\n")
    loaded = load_mapping(mapping)
    with pytest.raises(Fault, match="header"), rows_of(inspect_file(path, loaded), loaded) as (rows, _):
        next(rows)


def test_a_device_or_a_pipe_is_refused_wherever_a_file_is_named(tmp_path: Path, mapping: Path) -> None:
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    loaded = load_mapping(mapping)
    for path in (Path("/dev/zero"), pipe):
        for read in (
            lambda path: inspect_file(path, loaded.model_copy(update={"format": "csv"})),
            load_mapping,
            lambda path: load_policy(shipped_folder("policies"), instead={"events.yaml": path}),
            read_bounded,
        ):
            with pytest.raises(Fault) as fault:
                read(path)
            assert fault.value.code == "not_a_file"


def test_a_file_over_the_limit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"x" * 11)
    assert read_bounded(path, bytes_max=11) == b"x" * 11
    with pytest.raises(Fault, match="too large"):
        read_bounded(path, bytes_max=10)


@pytest.mark.parametrize("command", [["audit", "verify"], ["audit", "check-log", "--from"], ["segment", "check"]])
def test_a_command_that_reads_a_file_refuses_one_that_never_ends(tmp_path: Path, command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cdp", *command, "/dev/zero"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "CDP_HOME": str(tmp_path)},
    )
    assert done.returncode == 2
    assert "not_a_file" in done.stderr
