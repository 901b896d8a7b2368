"""All SQL of the vault: wrapped subject keys, epochs, and check values of root keys."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from cdp.kit.copy import copy_packed
from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.kit.pg_binary.copying import always_integer, bigints, octets
from cdp.vault.seal import WRAPPED_BYTES


class WrappedKey(NamedTuple):
    """A subject key as it is stored."""

    subject_id: int
    epoch_id: int
    wrapped: bytes


class KeyCheck(NamedTuple):
    """The check value of a root key; `is_destroyed` when the key is destroyed or marked for destruction.

    A key with `retired_at` is not used any more, and kept for backups from before.
    """

    name: str
    check_value: bytes
    is_destroyed: bool
    retired_at: datetime | None

    @property
    def is_active(self) -> bool:
        """Whether this database uses the key."""
        return not self.is_destroyed and self.retired_at is None


def lock_root_keys(tx: Transaction) -> None:
    """Keep other transactions from creating or destroying root keys until this one ends."""
    tx.execute("LOCK TABLE vault.key_check IN SHARE ROW EXCLUSIVE MODE")


def key_checks(tx: Transaction) -> list[KeyCheck]:
    """The check values of all root keys, destroyed ones included, by name."""
    rows = tx.execute(
        "SELECT name, check_value, destroyed_at IS NOT NULL, retired_at FROM vault.key_check ORDER BY name"
    )
    return [KeyCheck(*row) for row in rows]


def add_key_check(tx: Transaction, name: str, check_value: bytes, *, now: datetime) -> None:
    """Record the check value of a new root key."""
    tx.execute(
        "INSERT INTO vault.key_check (name, check_value, created_at) VALUES (%(name)s, %(check_value)s, %(now)s)",
        {"name": name, "check_value": check_value, "now": now},
    )


def mark_key_retired(tx: Transaction, name: str, now: datetime) -> None:
    """Record that this database does not use a root key any more."""
    tx.execute(
        "UPDATE vault.key_check SET retired_at = %(now)s WHERE name = %(name)s AND retired_at IS NULL",
        {"name": name, "now": now},
    )


def mark_key_destroyed(tx: Transaction, name: str, now: datetime) -> None:
    """Record that a root key is to be destroyed at the provider."""
    tx.execute(
        "UPDATE vault.key_check SET destroyed_at = %(now)s WHERE name = %(name)s AND destroyed_at IS NULL",
        {"name": name, "now": now},
    )


def active_epoch(tx: Transaction) -> int | None:
    """The epoch under which new subject keys are wrapped."""
    rows = tx.execute("SELECT max(epoch_id) FROM vault.epoch WHERE retired_at IS NULL")
    return next((int(epoch_id) for (epoch_id,) in rows if epoch_id is not None), None)


def hold_active_epoch(tx: Transaction) -> int:
    """The active epoch, locked so that it cannot be retired before the transaction ends."""
    for _ in range(2):  # the first may have waited for a rotation, whose new epoch only a second statement sees
        for (epoch_id,) in tx.execute("SELECT epoch_id FROM vault.hold_active_epoch() AS held (epoch_id)"):
            return int(epoch_id)
    raise Fault("epoch_missing", "There is no epoch", "The vault was not opened on this database.", status=500)


def add_epoch(tx: Transaction, now: datetime) -> int:
    """Begin the next epoch and retire those before it, which wrap no new keys from here on.

    Waits for transactions that are adding keys to the epochs retired.
    """
    tx.execute("SELECT epoch_id FROM vault.epoch WHERE retired_at IS NULL FOR UPDATE")
    tx.execute("UPDATE vault.epoch SET retired_at = %(now)s WHERE retired_at IS NULL", {"now": now})
    rows = tx.execute(
        """
        INSERT INTO vault.epoch (epoch_id, created_at)
        SELECT coalesce(max(epoch_id), 0) + 1, %(now)s FROM vault.epoch
        RETURNING epoch_id
        """,
        {"now": now},
    )
    return next(int(epoch_id) for (epoch_id,) in rows)


def retired_epochs(tx: Transaction) -> list[int]:
    """Epochs that wrap no new keys and whose root key is not destroyed yet."""
    rows = tx.execute(
        "SELECT epoch_id FROM vault.epoch WHERE retired_at IS NOT NULL AND destroyed_at IS NULL ORDER BY epoch_id"
    )
    return [epoch_id for (epoch_id,) in rows]


def retired_epochs_at(tx: Transaction) -> list[tuple[int, datetime]]:
    """Epochs that are retired and not destroyed, with the instant at which they were retired."""
    rows = tx.execute(
        "SELECT epoch_id, retired_at FROM vault.epoch WHERE retired_at IS NOT NULL AND destroyed_at IS NULL ORDER BY epoch_id"
    )
    return [(epoch_id, retired_at) for epoch_id, retired_at in rows]


def oldest_usable_epoch_at(tx: Transaction) -> datetime | None:
    """When the oldest epoch began whose key is not destroyed; None before the first one."""
    ((created_at,),) = tx.execute("SELECT min(created_at) FROM vault.epoch WHERE destroyed_at IS NULL")
    return None if created_at is None else created_at


def mark_epoch_destroyed(tx: Transaction, epoch_id: int, now: datetime) -> None:
    """Record that the key of an epoch is to be destroyed."""
    tx.execute(
        "UPDATE vault.epoch SET destroyed_at = %(now)s WHERE epoch_id = %(epoch)s", {"epoch": epoch_id, "now": now}
    )


def count_keys(tx: Transaction, epoch_id: int) -> int:
    """How many subject keys an epoch wraps."""
    rows = tx.execute("SELECT count(*) FROM vault.subject_key WHERE epoch_id = %(epoch)s", {"epoch": epoch_id})
    return next(int(count) for (count,) in rows)


def add_keys(tx: Transaction, epoch_id: int, ids: Sequence[int], *, wrapped: Sequence[bytes]) -> None:
    """Insert the wrapped keys of these subjects, side by side, under an epoch that the transaction holds."""
    tx.execute(
        """
        INSERT INTO vault.subject_key (subject_id, epoch_id, wrapped)
        SELECT id, %(epoch)s, wrapped FROM unnest(%(ids)s::bigint[], %(wrapped)s::bytea[]) AS fresh (id, wrapped)
        """,
        {"epoch": epoch_id, "ids": list(ids), "wrapped": list(wrapped)},
    )


def copy_keys(tx: Transaction, epoch_id: int, ids: Sequence[int], *, wrapped: Sequence[bytes]) -> None:
    """Insert many wrapped keys, best in ascending order of id, under an epoch that the transaction holds."""
    copy_packed(
        tx,
        "vault.subject_key",
        ("subject_id", "epoch_id", "wrapped"),
        count=len(ids),
        fields=(bigints(ids), always_integer(epoch_id), octets(wrapped, WRAPPED_BYTES)),
    )


def keys_of(tx: Transaction, ids: Sequence[int]) -> list[WrappedKey]:
    """The wrapped keys of these subjects; a shredded subject has none."""
    rows = tx.execute(
        "SELECT subject_id, epoch_id, wrapped FROM vault.subject_key WHERE subject_id = ANY(%(ids)s::bigint[])",
        {"ids": list(ids)},
    )
    return [WrappedKey(*row) for row in rows]


def lock_keys(tx: Transaction, epoch_ids: Sequence[int], after: int, *, limit: int) -> list[WrappedKey]:
    """The next keys of these epochs by subject id, locked until the transaction ends."""
    rows = tx.execute(
        """
        SELECT subject_id, epoch_id, wrapped
        FROM vault.subject_key
        WHERE epoch_id = ANY(%(epochs)s::int[]) AND subject_id > %(after)s
        ORDER BY subject_id
        LIMIT %(limit)s
        FOR UPDATE
        """,
        {"epochs": list(epoch_ids), "after": after, "limit": limit},
    )
    return [WrappedKey(*row) for row in rows]


def replace_keys(tx: Transaction, epoch_id: int, ids: Sequence[int], *, wrapped: Sequence[bytes]) -> None:
    """Replace the wrapped keys of these subjects, side by side, by ones wrapped under another epoch."""
    tx.execute(
        """
        UPDATE vault.subject_key AS stored
        SET epoch_id = %(epoch)s, wrapped = fresh.wrapped
        FROM unnest(%(ids)s::bigint[], %(wrapped)s::bytea[]) AS fresh (subject_id, wrapped)
        WHERE stored.subject_id = fresh.subject_id
        """,
        {"epoch": epoch_id, "ids": list(ids), "wrapped": list(wrapped)},
    )


def delete_keys(tx: Transaction, ids: Sequence[int]) -> int:
    """Delete the wrapped keys of these subjects; returns how many there were."""
    rows = tx.execute(
        """
        WITH deleted AS (DELETE FROM vault.subject_key WHERE subject_id = ANY(%(ids)s::bigint[]) RETURNING 1)
        SELECT count(*) FROM deleted
        """,
        {"ids": list(ids)},
    )
    return next(int(count) for (count,) in rows)


def throw_away_keys(tx: Transaction, ids: Sequence[int]) -> int:
    """Delete the wrapped keys of subjects that are neither people nor requests nor holds; returns how many there were."""
    rows = tx.execute("SELECT vault.throw_away_keys(%(ids)s::bigint[])", {"ids": list(ids)})
    return next(int(count) for (count,) in rows)


def shred_request_keys(tx: Transaction, ids: Sequence[int]) -> int:
    """Delete the wrapped keys of closed requests; returns how many there were."""
    rows = tx.execute("SELECT vault.shred_request_keys(%(ids)s::bigint[])", {"ids": list(ids)})
    return next(int(count) for (count,) in rows)
