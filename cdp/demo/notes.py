"""The state of the demonstration between runs: its write keys and tokens, its dates, and its progress.

Stored in CDP_HOME/demo/notes.json, readable only by this user.
"""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from cdp.postgres.place import write_private

FOLDER: Final = "demo"
_FILE: Final = "notes.json"


@dataclass(frozen=True, slots=True)
class Notes:
    """`acts` are the completed phases; the requests are those of the person whose data is exported and erased."""

    path: Path
    write_keys: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    weeks: int = 0
    acts: tuple[str, ...] = ()
    access: str | None = None
    erasure: str | None = None
    is_erased: bool = False

    @property
    def folder(self) -> Path:
        return self.path.parent

    def noted(self, **changes: Any) -> "Notes":
        """The notes with these changes, saved."""
        changed = replace(self, **changes)
        document = {name: value for name, value in asdict(changed).items() if name != "path"}
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(self.path, json.dumps(document, indent=1).encode() + b"\n")
        return changed


def read_notes(home: Path) -> Notes | None:
    """The notes of an earlier run, None before the first."""
    path = home / FOLDER / _FILE
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    document["acts"] = tuple(document["acts"])
    return Notes(path, **document)


def new_notes(home: Path) -> Notes:
    """Empty notes for a first run."""
    return Notes(home / FOLDER / _FILE)
