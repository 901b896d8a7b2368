"""Running the tests of a mutation, and judging whether the missing check was noticed."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.support.every_basis import Basis
from tests.support.mutations.model import Mutation, mutated
from tests.support.source_tree import ROOT

_RED: Final = frozenset({"call: AssertionError", "call: Failed"})
"""How a test ends that noticed something: by an assertion, or because an expected error was not raised."""
_SECONDS_MAX: Final = 300


def run_mutated(mutation: Mutation) -> list[str]:
    """What is wrong with the tests of a mutation: nothing, if each noticed for each basis that the check is missing."""
    text = mutated((ROOT / mutation.file).read_text(), mutation.edits)
    ends, is_loaded, output = run_tests(mutation.tests, file=mutation.file, text=text)
    if not is_loaded:
        return [f"{mutation.key}: {mutation.file} was not loaded\n{output}"]
    return list(survivals(mutation, ends))


def run_unchanged(tests: Sequence[str]) -> list[str]:
    """Which of these tests are red without a mutation."""
    ends, _, output = run_tests(tests, file="cdp/__init__.py", text=(ROOT / "cdp" / "__init__.py").read_text())
    red = [f"{name}: {end}" for name, end in ends.items() if end != "passed"]
    return red if ends else [output]


def run_tests(tests: Sequence[str], *, file: str, text: str) -> tuple[dict[str, str], bool, str]:
    """How each test ended in a process in which a file has this text, whether the file was loaded, and what was printed."""
    with tempfile.TemporaryDirectory(prefix="cdp-test-") as folder:
        report = Path(folder) / "report.json"
        task = {"file": str((ROOT / file).resolve()), "text": text, "report": str(report)}
        environment = os.environ | {
            "CDP_MUTATION": json.dumps(task),
            "PYTHONPATH": str(ROOT),
            "HYPOTHESIS_PROFILE": "quick",
        }
        command = [sys.executable, "-m", "pytest", "-p", "tests.support.mutations.plugin", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [*command, "-p", "no:xdist", "--no-header", "-q", "--tb=no", *tests],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_SECONDS_MAX,
        )
        output = done.stdout[-2000:] + done.stderr[-2000:]
        if not report.exists():
            return {}, False, output
        found = json.loads(report.read_text())
        return found["ends"], found["is_loaded"], output


def survivals(mutation: Mutation, ends: Mapping[str, str]) -> Iterator[str]:
    """The tests and bases for which a mutation was not noticed, or ended otherwise than by an assertion."""
    for test in mutation.tests:
        for basis in mutation.bases:
            own = [end for name, end in ends.items() if is_about(name, test, basis)]
            if not any(end in _RED for end in own):
                yield f"{mutation.key}: {test} [{basis}] ended with {sorted(set(own)) or 'nothing'}"


def is_about(name: str, test: str, basis: Basis) -> bool:
    """Whether a test as pytest names it is the test, for the basis if it has parameters."""
    function, _, parameters = name.partition("[")
    return function == test and (not parameters or basis.value in parameters.rstrip("]").split("-"))
