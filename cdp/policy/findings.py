"""Findings of the cross checks: a place by its path in a file, what is wrong, and what would be right."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from cdp.policy.model import Policy
from cdp.policy.problems import Path, choose


@dataclass(frozen=True)
class Finding:
    """One disagreement; `of_key` points at the name of the entry instead of its content."""

    file: str
    path: Path
    what: str
    remedy: str = ""
    of_key: bool = False


def must_exist(file: str, path: Path, name: str, *, known: Collection[str], kind: str) -> Iterator[Finding]:
    """Find fault with a name that nothing declares."""
    if name not in known:
        yield Finding(file, path, f"there is no {kind} `{name}`", choose(name, known))


def must_be_category(file: str, path: Path, category: str, *, policy: Policy) -> Iterator[Finding]:
    """Find fault with a data category that purposes.yaml does not list."""
    yield from must_exist(file, path, category, known=policy.categories, kind="data category")
