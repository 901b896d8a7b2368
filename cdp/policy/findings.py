"""Findings of the cross checks: a path in a file, what is wrong, and a remedy."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from cdp.policy.model import Policy
from cdp.policy.problems import Path, choose


@dataclass(frozen=True)
class Finding:
    """One inconsistency; `of_key` points at the name of the entry instead of its content."""

    file: str
    path: Path
    what: str
    remedy: str = ""
    of_key: bool = False


def must_exist(file: str, path: Path, name: str, *, known: Collection[str], kind: str) -> Iterator[Finding]:
    """Report a name that is not declared."""
    if name not in known:
        yield Finding(file, path, f"unknown {kind} `{name}`", choose(name, known))


def must_be_category(file: str, path: Path, category: str, *, policy: Policy) -> Iterator[Finding]:
    """Report a data category that purposes.yaml does not list."""
    yield from must_exist(file, path, category, known=policy.categories, kind="data category")
