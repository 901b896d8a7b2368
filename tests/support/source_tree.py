"""The project's own source, as the house tests read it: files, trees, and what is tracked."""

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Source:
    """One Python file: its path from the root, its text and its tree."""

    path: str
    text: str
    tree: ast.Module

    def matches(self, *patterns: str) -> bool:
        return any(fnmatch(self.path, pattern) for pattern in patterns)


def read(path: str, text: str) -> Source:
    return Source(path, text, ast.parse(text))


@cache
def service() -> tuple[Source, ...]:
    """Every file of the package `cdp`."""
    files = sorted((ROOT / "cdp").rglob("*.py"))
    return tuple(read(file.relative_to(ROOT).as_posix(), file.read_text()) for file in files)


@cache
def written_tests() -> tuple[Source, ...]:
    """Every file of the tests."""
    files = sorted((ROOT / "tests").rglob("*.py"))
    return tuple(read(file.relative_to(ROOT).as_posix(), file.read_text()) for file in files)


@cache
def tracked() -> tuple[Path, ...]:
    """What git tracks; in an unpacked archive without git, every file that `make` does not create."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "-c", f"safe.directory={ROOT}", "ls-files", "-z"], capture_output=True
    )
    if listed.returncode == 0 and listed.stdout:
        files = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
        return tuple(file for file in files if file.is_file())
    made = {
        ".venv",
        ".git",
        "var",
        "__pycache__",
        ".cache",
        ".mypy_cache",
        ".ruff_cache",
        ".pytest_cache",
        ".hypothesis",
    }
    return tuple(file for file in ROOT.rglob("*") if file.is_file() and not made & set(file.relative_to(ROOT).parts))


def imported(source: Source) -> Iterator[tuple[str, int]]:
    """The full name of everything a file imports, with the line: `a.b` for `import a.b`, `a.b.c` for `from a.b import c`."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node.lineno


def dotted(node: ast.expr) -> str:
    """`a.b.c` for that chain of attributes; a leading dot when it begins with anything but a name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return ""
