"""All SQL of the strongroom: wrapped subject keys, epochs, and check values of root keys."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import func, insert, select, text, update

from cdp.kit.copy import copy_packed
from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.kit.pg_binary.copying import always_integer, bigints, octets
from cdp.schema.vault import epoch, key_check
from cdp.vault.seal import WRAPPED_BYTES


class WrappedKey(NamedTuple):
    """A subject key as it lies in the table."""

    subject_id: int
    epoch_id: int
    wrapped: bytes


class KeyCheck(NamedTuple):
    """What a root key must answer; `is_destroyed` when it must be gone."""

    name: str
    check_value: bytes
    is_destroyed: bool


def lock_root_keys(tx: Transaction) -> None:
    """Hold the making and destroying of root keys until the transaction ends."""
    tx.execute_core(text("LOCK TABLE vault.key_check IN SHARE ROW EXCLUSIVE MODE"))


def key_checks(tx: Transaction) -> list[KeyCheck]:
    """The check values of all root keys that ever were, by name."""
    columns = (key_check.c.name, key_check.c.check_value, key_check.c.destroyed_at.is_not(None))
    return [KeyCheck(*row) for row in tx.all(select(*columns).order_by(key_check.c.name))]


def add_key_check(tx: Transaction, name: str, check_value: bytes, *, now: datetime) -> None:
    """Record what a root key must answer from now on."""
    tx.execute_core(insert(key_check).values(name=name, check_value=check_value, created_at=now))


def mark_key_destroyed(tx: Transaction, name: str, now: datetime) -> None:
    """Record that a root key is to be gone from the provider."""
    tx.execute_core(
        update(key_check).where(key_check.c.name == name, key_check.c.destroyed_at.is_(None)).values(destroyed_at=now)
    )


def living_epoch(tx: Transaction) -> int | None:
    """The epoch under which new subject keys are wrapped."""
    found = tx.scalar(select(func.max(epoch.c.epoch_id)).where(epoch.c.retired_at.is_(None)))
    return None if found is None else int(found)


def hold_living_epoch(tx: Transaction) -> int:
    """The living epoch, held so that it cannot be retired before the transaction ends."""
    for _ in range(2):  # the first may have waited for a rotation, whose new epoch only a second look sees
        rows = tx.execute("SELECT epoch_id FROM vault.epoch WHERE retired_at IS NULL FOR KEY SHARE")
        if rows:
            return int(rows[0][0])
    raise Fault("epoch_missing", "There is no epoch", "The vault was not opened on this database.", status=500)


def add_epoch(tx: Transaction, now: datetime) -> int:
    """Begin the next epoch and retire those before it: they take no new keys from here on.

    Waits for transactions that are just adding keys to the epochs retired.
    """
    tx.all(select(epoch.c.epoch_id).where(epoch.c.retired_at.is_(None)).with_for_update())
    tx.execute_core(update(epoch).where(epoch.c.retired_at.is_(None)).values(retired_at=now))
    epoch_id = int(tx.scalar(select(func.coalesce(func.max(epoch.c.epoch_id), 0) + 1)))
    tx.execute_core(insert(epoch).values(epoch_id=epoch_id, created_at=now))
    return epoch_id


def retired_epochs(tx: Transaction) -> list[int]:
    """Epochs that take no new keys and whose root key is not destroyed yet."""
    waiting = epoch.c.retired_at.is_not(None) & epoch.c.destroyed_at.is_(None)
    return [row[0] for row in tx.all(select(epoch.c.epoch_id).where(waiting).order_by(epoch.c.epoch_id))]


def mark_epoch_destroyed(tx: Transaction, epoch_id: int, now: datetime) -> None:
    """Record that the key of an epoch is to be gone."""
    tx.execute_core(update(epoch).where(epoch.c.epoch_id == epoch_id).values(destroyed_at=now))


def count_keys(tx: Transaction, epoch_id: int) -> int:
    """How many subject keys hang on an epoch."""
    rows = tx.execute("SELECT count(*) FROM vault.subject_key WHERE epoch_id = %(epoch)s", {"epoch": epoch_id})
    return int(rows[0][0])


def add_keys(tx: Transaction, epoch_id: int, wrapped: Mapping[int, bytes]) -> None:
    """Insert wrapped keys by subject id, under an epoch that the transaction holds."""
    tx.execute(
        """
        INSERT INTO vault.subject_key (subject_id, epoch_id, wrapped)
        SELECT id, %(epoch)s, wrapped FROM unnest(%(ids)s::bigint[], %(wrapped)s::bytea[]) AS made (id, wrapped)
        """,
        {"epoch": epoch_id, "ids": list(wrapped), "wrapped": list(wrapped.values())},
    )


def copy_keys(tx: Transaction, epoch_id: int, ids: Sequence[int], *, wrapped: Sequence[bytes]) -> None:
    """Insert many wrapped keys, those of the smallest ids first at best, under an epoch that the transaction holds."""
    copy_packed(
        tx,
        "vault.subject_key",
        ("subject_id", "epoch_id", "wrapped"),
        count=len(ids),
        fields=(bigints(ids), always_integer(epoch_id), octets(wrapped, WRAPPED_BYTES)),
    )


def keys_of(tx: Transaction, ids: Sequence[int]) -> list[WrappedKey]:
    """The wrapped keys of these subjects; a shredded one is not among them."""
    rows = tx.execute(
        "SELECT subject_id, epoch_id, wrapped FROM vault.subject_key WHERE subject_id = ANY(%(ids)s::bigint[])",
        {"ids": list(ids)},
    )
    return [WrappedKey(*row) for row in rows]


def take_keys(tx: Transaction, epoch_ids: Sequence[int], after: int, *, limit: int) -> list[WrappedKey]:
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


def replace_keys(tx: Transaction, epoch_id: int, wrapped: Mapping[int, bytes]) -> None:
    """Hang these subjects' keys, wrapped anew, on another epoch."""
    tx.execute(
        """
        UPDATE vault.subject_key AS held
        SET epoch_id = %(epoch)s, wrapped = fresh.wrapped
        FROM unnest(%(ids)s::bigint[], %(wrapped)s::bytea[]) AS fresh (subject_id, wrapped)
        WHERE held.subject_id = fresh.subject_id
        """,
        {"epoch": epoch_id, "ids": list(wrapped), "wrapped": list(wrapped.values())},
    )


def delete_keys(tx: Transaction, ids: Sequence[int]) -> int:
    """Delete the wrapped keys of these subjects; the number that there were."""
    rows = tx.execute(
        """
        WITH gone AS (DELETE FROM vault.subject_key WHERE subject_id = ANY(%(ids)s::bigint[]) RETURNING 1)
        SELECT count(*) FROM gone
        """,
        {"ids": list(ids)},
    )
    return int(rows[0][0])
