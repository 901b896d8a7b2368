"""Tests that need Node run where Node is; elsewhere the summary says that they did not."""

import shutil
from typing import Final

import pytest

_NOT_RUN: Final = pytest.StashKey[int]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if shutil.which("node") is not None:
        return
    without = [item for item in items if item.get_closest_marker("node") is not None]
    config.stash[_NOT_RUN] = len(without)
    config.hook.pytest_deselected(items=without)
    items[:] = [item for item in items if item.get_closest_marker("node") is None]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    count = config.stash.get(_NOT_RUN, 0)
    if count:
        terminalreporter.write_line(f"{count} tests with Node clients did not run: node is not installed.")
