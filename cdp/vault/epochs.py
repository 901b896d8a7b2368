"""Epochs: the keys under which subject keys are wrapped, replaced from time to time, so that old backups stop opening.

A rotation begins an epoch, re-wraps the subject keys of the older ones, and then destroys the keys of those.
"""

from datetime import datetime
from typing import NamedTuple

from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.vault import store
from cdp.vault.root_keys import RootKeys, mark_epoch_key_destroyed


class Rewrapped(NamedTuple):
    """One step of a rotation: the subject id to continue after, and the number of keys."""

    last: int
    keys: int


class Epochs:
    """The epochs of a database: one is active, the others are retired or destroyed."""

    def __init__(self, root_keys: RootKeys) -> None:
        self._root_keys = root_keys

    def active(self, tx: Transaction) -> int:
        """The epoch under which to wrap prepared keys, 0 when there is none; another may be active when they are stored."""
        return store.active_epoch(tx) or 0

    def retired(self, tx: Transaction) -> list[int]:
        """Epochs that can be destroyed once they wrap no subject key."""
        return store.retired_epochs(tx)

    def retired_at(self, tx: Transaction) -> list[tuple[int, datetime]]:
        """Retired epochs whose keys are not destroyed, with the instant of their retirement."""
        return store.retired_epochs_at(tx)

    def begin(self, tx: Transaction, now: datetime) -> int:
        """Begin an epoch, retire the one before, and return the new epoch's id."""
        store.lock_root_keys(tx)
        epoch_id = store.add_epoch(tx, now)
        self._root_keys.add_epoch_key(tx, epoch_id, now)
        return epoch_id

    def rewrap(self, tx: Transaction, *, after: int, limit: int) -> "Rewrapped | None":
        """Wrap up to `limit` subject keys of retired epochs under the active one. One transaction per call.

        Returns None when no key is left.
        """
        epoch_id, retired = store.hold_active_epoch(tx), store.retired_epochs(tx)
        wrapped_keys = store.lock_keys(tx, retired, after, limit=limit)
        if not wrapped_keys:
            return None
        keys = self._root_keys.unwrap_keys(wrapped_keys)
        ids = list(keys)
        store.replace_keys(tx, epoch_id, ids, wrapped=self._root_keys.wrap_keys(epoch_id, ids, list(keys.values())))
        return Rewrapped(wrapped_keys[-1].subject_id, len(ids))

    def mark_destroyed(self, tx: Transaction, epoch_id: int, now: datetime) -> None:
        """Mark a retired epoch's key for destruction, which `RootKeys.destroy_marked` carries out after the commit.

        Raises the fault `epoch_in_use` while the epoch is active or wraps subject keys.
        """
        store.lock_root_keys(tx)
        if epoch_id not in store.retired_epochs(tx) or store.count_keys(tx, epoch_id):
            raise Fault(
                "epoch_in_use",
                "The epoch is in use",
                f"Epoch {epoch_id} is not retired, or still wraps subject keys: begin a new epoch and re-wrap first.",
                status=409,
            )
        store.mark_epoch_destroyed(tx, epoch_id, now)
        mark_epoch_key_destroyed(tx, epoch_id, now)

    def count_keys(self, tx: Transaction) -> dict[int, int]:
        """How many subject keys each retired epoch wraps, and the active epoch, which comes last."""
        epoch_ids = (*store.retired_epochs(tx), store.hold_active_epoch(tx))
        return {epoch_id: store.count_keys(tx, epoch_id) for epoch_id in epoch_ids}
