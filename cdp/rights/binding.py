"""The binding of a database to its state store, by which a copied or second store is recognized.

Every start of a service draws a new nonce with the next generation, writes it to the store and then to the database. A
copy of the store has an older generation, or another nonce of the same one. A store that learned that it is out of date
records it, so that it is also refused beside a database that was restored to an earlier generation.
"""

import json
from dataclasses import dataclass
from typing import Final

from cdp.kit.canonical import canonical_json
from cdp.kit.errors import Fault
from cdp.kit.state import StateStore

BINDING_FILE: Final = "binding.json"
OUTDATED_FILE: Final = "outdated.json"
NONCE_BYTES: Final = 16
_FORMAT: Final = "cdp/binding@v1"


@dataclass(frozen=True, slots=True)
class Binding:
    """A generation and its nonce; generation 0 is a store, or a database, that no service has bound yet."""

    generation: int = 0
    nonce: bytes = b""


def read_binding(store: StateStore) -> Binding:
    """The binding in a store. Raises the fault `replay_file_damaged` if cdp did not write it."""
    content = store.read(BINDING_FILE)
    return Binding() if content is None else _parsed(store, content)


def write_binding(store: StateStore, binding: Binding) -> None:
    """Write the binding to a store."""
    store.replace(BINDING_FILE, _content(binding))


def mark_outdated(store: StateStore, binding: Binding) -> None:
    """Record that another store has replaced the one with this binding."""
    store.replace(OUTDATED_FILE, _content(binding))


def is_marked_outdated(store: StateStore, binding: Binding) -> bool:
    """Whether the store with this binding was found to be out of date."""
    content = store.read(OUTDATED_FILE)
    return content is not None and _parsed(store, content) == binding


def _content(binding: Binding) -> bytes:
    document = {"format": _FORMAT, "generation": binding.generation, "nonce": binding.nonce.hex()}
    return canonical_json(document) + b"\n"


def _parsed(store: StateStore, content: bytes) -> Binding:
    try:
        entry = json.loads(content)
        return Binding(int(entry["generation"]), bytes.fromhex(entry["nonce"]))
    except (KeyError, TypeError, ValueError):
        raise Fault(
            "replay_file_damaged",
            "The replay file cannot be read",
            f"{store.place} contains a binding that cdp did not write. Restore the files from their backup.",
            status=500,
        ) from None
