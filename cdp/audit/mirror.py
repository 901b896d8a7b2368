"""The copy of the log outside the database: signed checkpoints remain known if the database is restored.

One folder per tree contains `entries` (32 bytes each, in order, appended and synced) and `checkpoint` (the last signed
note, replaced as a whole). It is written before the commit that publishes a checkpoint, so it is never behind a
published one; entries after the last checkpoint come from an interrupted write and are ignored.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cdp.audit.checkpoint import Checkpoint, Malformed, parse_checkpoint, parse_note
from cdp.kit.errors import UNAVAILABLE, Fault
from cdp.kit.state import StateStore

ENTRY_BYTES = 32
_CHUNK_ENTRIES = 4096


@dataclass(frozen=True, slots=True)
class MirroredHead:
    """The last checkpoint in the copy of one tree."""

    checkpoint: Checkpoint
    note: str


class Mirror:
    """Copies of all trees in one state store."""

    def __init__(self, store: StateStore) -> None:
        self._store = store

    def newest_tree(self) -> int:
        """The highest id of a tree in this store, 0 if there is none."""
        trees = {name.partition("/")[0] for name in self._store.names()}
        return max((int(tree) for tree in trees if tree.isdecimal()), default=0)

    def head(self, tree_id: int) -> MirroredHead | None:
        """The last checkpoint of a tree, None if there is no copy of it. Raises the fault `audit_copy_broken`."""
        name = f"{tree_id}/checkpoint"
        content = self._store.read(name)
        if content is None:
            return None
        note = content.decode(errors="replace")
        try:
            return MirroredHead(parse_checkpoint(parse_note(note).text), note)
        except Malformed as error:
            raise self._broken(name, f"The checkpoint is invalid: {error}.") from None

    def entries(self, tree_id: int, begin: int, end: int) -> Iterator[bytes]:
        """The entries from `begin` up to, but without, `end`. Raises the fault `audit_copy_broken` if some are missing."""
        name = f"{tree_id}/entries"
        while begin < end:
            count = min(_CHUNK_ENTRIES, end - begin)
            block = self._store.read(name, begin * ENTRY_BYTES, (begin + count) * ENTRY_BYTES) or b""
            if len(block) != count * ENTRY_BYTES:
                raise self._broken(name, "It contains fewer entries than its checkpoint states.")
            yield from (block[at : at + ENTRY_BYTES] for at in range(0, len(block), ENTRY_BYTES))
            begin += count

    def append(self, tree_id: int, begin: int, entries: Sequence[bytes], *, note: str) -> None:
        """Add entries after the first `begin`, then the checkpoint over all; both are on disk when this returns."""
        try:
            self._store.append(f"{tree_id}/entries", begin * ENTRY_BYTES, b"".join(entries))
            self._store.replace(f"{tree_id}/checkpoint", note.encode())
        except Fault as fault:
            raise Fault(
                "audit_copy_failed",
                "The copy of the audit log cannot be written",
                f"{fault.detail} Nothing is signed until it can be written.",
                status=503,
                retry_after_seconds=5,
                caller_detail=UNAVAILABLE,
            ) from fault

    def _broken(self, name: str, detail: str) -> Fault:
        return Fault(
            "audit_copy_broken",
            "The copy of the audit log is damaged",
            f"{self._store.place}/{name}: {detail} Restore it from a backup, or move the folder elsewhere to start a new copy.",
            status=500,
        )
