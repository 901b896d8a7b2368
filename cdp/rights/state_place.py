"""Notes in a state store about where its files are: in a store that a move is filling, and in one that a move has left.

A store with either is refused by every service and command but `cdp state`.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cdp.kit.canonical import canonical_json, instant_text
from cdp.kit.errors import Fault
from cdp.kit.state import StateStore

MOVING_FILE: Final = "moving.json"
MOVED_FILE: Final = "moved.json"
_FORMAT: Final = "cdp/state-move@v1"


@dataclass(frozen=True, slots=True)
class MoveNote:
    """The other store of a move, without secrets, the replay file that both have, and when the move began."""

    place: str
    file_id: bytes
    at: str


def read_note(store: StateStore, name: str) -> MoveNote | None:
    """A note of a store; None without one. Raises the fault `replay_file_damaged` if cdp did not write it."""
    content = store.read(name)
    if content is None:
        return None
    try:
        entry = json.loads(content)
        return MoveNote(str(entry["place"]), bytes.fromhex(entry["file"]), str(entry["at"]))
    except (KeyError, TypeError, ValueError):
        raise Fault(
            "replay_file_damaged",
            "The replay file cannot be read",
            f"{store.place}/{name} is not a file that cdp wrote. Restore the files from their backup.",
            status=500,
        ) from None


def write_note(store: StateStore, name: str, other: StateStore, *, file_id: bytes, now: datetime) -> None:
    """Write a note about the other store of a move."""
    entry: dict[str, Any] = {"format": _FORMAT, "place": other.place, "file": file_id.hex(), "at": instant_text(now)}
    store.replace(name, canonical_json(entry) + b"\n")


def require_settled(store: StateStore) -> None:
    """Raise a fault for a store that a move is filling (`state_incomplete`), or has left (`state_moved`)."""
    if (moving := read_note(store, MOVING_FILE)) is not None:
        raise Fault(
            "state_incomplete",
            "The state store is not complete",
            f"The move of the state from {moving.place} to {store.place} was interrupted. With the settings from before, repeat "
            "`cdp state move --to` this place.",
            status=500,
        )
    if (moved := read_note(store, MOVED_FILE)) is not None:
        raise Fault(
            "state_moved",
            "The state is in another place now",
            f"The state was moved from {store.place} to {moved.place} at {moved.at}. Set CDP_STATE_URL to that place, or unset it if "
            "that is CDP_HOME. If the move was interrupted, repeat it.",
            status=500,
        )
