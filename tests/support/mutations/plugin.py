"""A pytest plugin that reads one file of the source with other text, and reports how each test ended.

It imports nothing of the project, so that nothing is loaded before the file is replaced. `CDP_MUTATION` is JSON: the path, the text,
and the file for the report.
"""

import json
import os
from collections.abc import Generator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

_TASK: dict[str, str] = json.loads(os.environ["CDP_MUTATION"])
_ENDS: dict[str, str] = {}
_LOADED: list[str] = []
_get_code = SourceFileLoader.get_code


def _get_code_of(self: SourceFileLoader, fullname: str) -> CodeType | None:
    """The code of a module; of the one file, that of the other text, which no cache of bytecode has."""
    if Path(self.path).resolve() != Path(_TASK["file"]):
        return _get_code(self, fullname)
    _LOADED.append(fullname)
    code: CodeType = self.source_to_code(_TASK["text"].encode(), self.path)
    return code


SourceFileLoader.get_code = _get_code_of  # type: ignore[method-assign, assignment]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Note how a test ended: `passed`, or the phase and the type of the exception."""
    if call.excinfo is not None:
        _ENDS[item.nodeid] = f"{call.when}: {call.excinfo.typename}"
    else:
        _ENDS.setdefault(item.nodeid, "passed")
    return (yield)


def pytest_sessionfinish() -> None:
    """Write the report."""
    Path(_TASK["report"]).write_text(json.dumps({"ends": _ENDS, "is_loaded": bool(_LOADED)}))
