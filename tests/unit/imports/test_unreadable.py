"""Files that the system cannot read: a fault with the reason, whenever it shows."""

from dataclasses import replace
from pathlib import Path

import pytest

from cdp.flows.imports.mapping import load_mapping
from cdp.flows.imports.read import inspect_file, rows_of
from cdp.kit.errors import Fault


def test_a_file_that_cannot_be_read_is_a_fault_before_and_while_its_rows_are_read(tmp_path: Path) -> None:
    mapping_file, path = tmp_path / "mapping.yaml", tmp_path / "orders.csv"
    mapping_file.write_text("event: Order Completed\nidentifiers:\n  user_id: id\n")
    path.write_text("id\nada\n")
    mapping = load_mapping(mapping_file)
    file = inspect_file(path, mapping)
    path.unlink()
    with pytest.raises(Fault, match="unreadable_file") as gone, rows_of(file, mapping):
        pass
    assert "No such file" in gone.value.detail
    path.symlink_to("/proc/self/mem")  # a regular file whose first byte cannot be read
    with pytest.raises(Fault, match="unreadable_file"):
        inspect_file(path, mapping)
    for is_compressed in (False, True):
        with (
            pytest.raises(Fault, match="unreadable_file") as broken,
            rows_of(replace(file, is_compressed=is_compressed), mapping) as (rows, _),
        ):
            list(rows)
        assert broken.value.detail.startswith(f"{path}: Input/output error.")
