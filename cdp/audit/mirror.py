"""The copy of the log outside the database: signed checkpoints remain known if the database is restored.

One folder per tree contains `entries` (32 bytes each, in order, appended and synced) and `checkpoint` (the last signed
note, replaced as a whole). It is written before the commit that publishes a checkpoint, so it is never behind a
published one; entries after the last checkpoint come from an interrupted write and are ignored.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cdp.audit.checkpoint import Checkpoint, Malformed, parse_checkpoint, parse_note
from cdp.kit.errors import Fault

ENTRY_BYTES = 32
_CHUNK_ENTRIES = 4096


@dataclass(frozen=True, slots=True)
class MirroredHead:
    """The last checkpoint in the copy of one tree."""

    checkpoint: Checkpoint
    note: str


class Mirror:
    """Copies of all trees in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def newest_tree(self) -> int:
        """The highest id of a tree in this folder, 0 if there is none."""
        if not self._folder.is_dir():
            return 0
        return max((int(path.name) for path in self._folder.iterdir() if path.name.isdecimal()), default=0)

    def head(self, tree_id: int) -> MirroredHead | None:
        """The last checkpoint of a tree, None if there is no copy of it. Raises the fault `audit_copy_broken`."""
        path = self._tree(tree_id) / "checkpoint"
        try:
            note = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        try:
            return MirroredHead(parse_checkpoint(parse_note(note).text), note)
        except Malformed as error:
            raise _broken(path, f"The checkpoint is invalid: {error}.") from None

    def entries(self, tree_id: int, begin: int, end: int) -> Iterator[bytes]:
        """The entries from `begin` up to, but without, `end`. Raises the fault `audit_copy_broken` if some are missing."""
        path = self._tree(tree_id) / "entries"
        with path.open("rb") as file:
            file.seek(begin * ENTRY_BYTES)
            while begin < end:
                count = min(_CHUNK_ENTRIES, end - begin)
                block = file.read(count * ENTRY_BYTES)
                if len(block) != count * ENTRY_BYTES:
                    raise _broken(path, "It contains fewer entries than its checkpoint states.")
                yield from (block[at : at + ENTRY_BYTES] for at in range(0, len(block), ENTRY_BYTES))
                begin += count

    def append(self, tree_id: int, begin: int, entries: Sequence[bytes], *, note: str) -> None:
        """Add entries after the first `begin`, then the checkpoint over all; both are on disk when this returns."""
        try:
            folder = self._prepared(tree_id)
            with (folder / "entries").open("ab") as file:
                file.truncate(begin * ENTRY_BYTES)
                file.write(b"".join(entries))
                file.flush()
                os.fsync(file.fileno())
            draft = folder / "checkpoint.draft"
            with draft.open("w", encoding="utf-8") as file_of_note:
                file_of_note.write(note)
                file_of_note.flush()
                os.fsync(file_of_note.fileno())
            draft.replace(folder / "checkpoint")
            _sync(folder)
        except OSError as error:
            raise Fault(
                "audit_copy_failed",
                "The copy of the audit log cannot be written",
                f"{self._folder}: {error.strerror}. Nothing is signed until it can be written.",
                status=503,
                retry_after_seconds=5,
            ) from error

    def _tree(self, tree_id: int) -> Path:
        return self._folder / str(tree_id)

    def _prepared(self, tree_id: int) -> Path:
        folder = self._tree(tree_id)
        if not folder.is_dir():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _sync(folder.parent)
            _sync(folder.parent.parent)
        return folder


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _broken(path: Path, detail: str) -> Fault:
    return Fault(
        "audit_copy_broken",
        "The copy of the audit log is damaged",
        f"{path}: {detail} Restore it from a backup, or move the folder elsewhere to start a new copy.",
        status=500,
    )
