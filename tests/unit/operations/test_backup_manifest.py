"""Manifests that cdp did not write: refused before a database is asked for, in bounded memory."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from cdp.flows.operations.backup import FORMAT, restore_backup
from cdp.kit.config import Config
from cdp.kit.errors import Fault

FIELDS: dict[str, Any] = {
    "format": FORMAT,
    "created_at": "2026-01-01T00:00:00Z",
    "rows": {},
    "roles": [],
    "keys": {},
    "replay_line": 0,
    "sha256": "0" * 64,
}


def refused(folder: Path) -> Fault:
    config = Config(home=folder, policies=folder, host="", port=0, log_level="error", fixed_now=None)
    with pytest.raises(Fault) as caught:
        restore_backup(config, folder, None, is_confirmed=True)
    return caught.value


@pytest.mark.parametrize("text", ["", "[]", "1", "null", "[" * 100_000, '{"format":' * 5_000, "\x00"])
def test_what_is_no_manifest_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    assert refused(tmp_path).code == "backup_damaged"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (name, value)
        for name, right in FIELDS.items()
        for value in (None, "", [1], {"a": 1}, 1.5)
        if name != "format" and not isinstance(value, type(right))
    ],
)
def test_a_field_of_another_form_is_refused(tmp_path: Path, field: str, value: Any) -> None:
    changed = {**FIELDS, field: value}
    (tmp_path / "manifest.json").write_text(json.dumps(changed))
    fault = refused(tmp_path)
    assert (fault.code, "lacks what a restore needs" in fault.detail) == ("backup_damaged", True)


def test_a_manifest_that_never_ends_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.touch()
    os.truncate(path, 100_000_000_000)
    assert refused(tmp_path).code == "file_too_large"
    path.unlink()
    os.mkfifo(path)
    assert refused(tmp_path).code == "not_a_file"
