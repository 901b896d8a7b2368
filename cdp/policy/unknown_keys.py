"""Documents without unknown keys: what is checked of a mapping only once each of its keys is known."""

import copy
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from pydantic import JsonValue, ValidationError

from cdp.policy.problems import Path, nearest


@dataclass(slots=True)
class KnownKeys:
    """A document that is validated until none of its keys is unknown; `declared` gives the keys beside a path.

    Rules about several keys of a mapping apply only where each key is valid, so that an unknown key hides other faults.
    A key that is misspelled stands in for the one that is meant, so that nothing is reported as missing in addition.
    """

    content: JsonValue
    declared: Callable[[Path], Collection[str]]
    _meant: set[Path] = field(default_factory=set)

    def correct(self, fault: ValidationError) -> bool:
        """Take out, or spell right, every key that `fault` calls unknown; whether there was one."""
        paths = [error["loc"] for error in fault.errors(include_url=False) if error["type"] == "extra_forbidden"]
        self.content = copy.deepcopy(self.content)
        for path in paths:
            mapping: Any = self.content
            for step in path[:-1]:
                mapping = mapping[step]
            value = mapping.pop(path[-1])
            meant = nearest(str(path[-1]), self.declared(path))
            if meant is not None and meant not in mapping:
                mapping[meant] = value
                self._meant.add((*path[:-1], meant))
        return bool(paths)

    def is_misspelled(self, path: Path) -> bool:
        """Whether a path is, or is below, a key that the document spells otherwise: its faults have no place there."""
        return any(path[: len(meant)] == meant for meant in self._meant)
