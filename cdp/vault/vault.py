"""The vault: root keys, keyed hashes, subject keys, epochs and seals in one place, as use cases need them.

Open it once per process with `open_vault`, which refuses a missing or wrong master key beside a database that holds
anything. Keys of shredded subjects leave the memory of this process with the commit; call `subject_keys.evict_all`
whenever another process may have shredded keys (the version counter of the identity tables shows it).
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.kit.state import StateFolder, StateStore
from cdp.vault import store
from cdp.vault.epochs import Epochs
from cdp.vault.keyed_hashes import KeyedHashes
from cdp.vault.keys import KeyProvider, open_kms_provider
from cdp.vault.providers.file import open_local_provider
from cdp.vault.pseudonym import Domain
from cdp.vault.root_keys import ROOT_KEYS, RootKeys, require_check_values, require_kept
from cdp.vault.seal import RowId, SealedColumn, open_many, seal_each, seal_many
from cdp.vault.subject_keys import FreshKeys, SubjectKeys

_CACHED_KEYS_MAX = 100_000


class Item(NamedTuple):
    """A value to seal, or an envelope to open: the subject whose key it is under, the row, the bytes."""

    subject_id: int
    row: RowId
    value: bytes


class Vault:
    """Everything that needs a key. One object serves all threads of a process."""

    def __init__(self, provider: KeyProvider, *, cached_keys_max: int = _CACHED_KEYS_MAX) -> None:
        self._provider = provider
        self.root_keys = RootKeys(provider)
        self.hashes = KeyedHashes(self.root_keys)
        self.subject_keys = SubjectKeys(self.root_keys, cached_keys_max=cached_keys_max)
        self.epochs = Epochs(self.root_keys)

    def seal_many(self, keys: Mapping[int, bytes], place: SealedColumn, items: Iterable[Item]) -> list[bytes]:
        """Seal values of one column under `keys` (of `subject_keys.create` or `keys_for`), in order."""
        return seal_many(place, [(keys[subject_id], row, value) for subject_id, row, value in items])

    def seal_each(self, place: SealedColumn, fresh: FreshKeys, values: Iterable[bytes]) -> list[bytes]:
        """Seal one value for each new subject, in the row that has the subject's id."""
        return seal_each(place, fresh.keys, fresh.ids, plaintexts=values)

    def open_many(self, keys: Mapping[int, bytes], place: SealedColumn, items: Sequence[Item]) -> list[bytes | None]:
        """Open envelopes of one column, in order; None where the subject's key is shredded."""
        openable = [item for item in items if item.subject_id in keys]
        opened = iter(open_many(place, ((keys[item.subject_id], item.row, item.value) for item in openable)))
        return [next(opened) if item.subject_id in keys else None for item in items]

    def require_kept(self, tx: Transaction) -> None:
        """Require that the key provider still has every key in use. Faults: those of `open_vault`."""
        require_kept(tx, self.root_keys, self._provider)

    def seal(self, tx: Transaction, place: SealedColumn, item: Item) -> bytes:
        """Seal one value. Raises the fault `subject_key_shredded` when its subject has no key."""
        keys = self.subject_keys.keys_for(tx, [item.subject_id])
        if not keys:
            raise Fault(
                "subject_key_shredded",
                "The subject's key is shredded",
                "Nothing can be sealed for an erased subject.",
                status=409,
            )
        return self.seal_many(keys, place, [item])[0]

    def open(self, tx: Transaction, place: SealedColumn, item: Item) -> bytes | None:
        """Open one envelope; None when the subject's key is shredded."""
        return self.open_many(self.subject_keys.keys_for(tx, [item.subject_id]), place, [item])[0]


def open_vault(
    tx: Transaction,
    folder: Path,
    master_key: bytes | None,
    *,
    now: datetime,
    kms_url: str | None = None,
    wrapped_keys: StateStore | None = None,
    domains: Iterable[Domain] = (),
) -> tuple[Vault, str | None]:
    """Open the vault over local key files or a KMS; in an empty database, create the keys it needs.

    Wrapped keys are kept in `wrapped_keys`, or else in the folder, in which the file of the master key always is. Returns the
    vault, and a notice to print prominently when a master key was created. `domains` are those of the
    policy (destinations) in addition to the ones that always exist. Faults: `master_key_missing`,
    `wrong_master_key`, `root_key_missing`, `key_file_exposed`, `master_key_malformed`, `kms_unknown`, `key_service_unavailable`.
    """
    store.lock_root_keys(tx)
    if kms_url is not None:
        kept = wrapped_keys or StateFolder(folder)
        return open_with(tx, open_kms_provider(kms_url, _folder_of(kept)), now, domains=domains), None
    provider, notice = open_local_provider(folder, master_key, may_create=not store.key_checks(tx), store=wrapped_keys)
    return open_with(tx, provider, now, domains=domains), notice


def open_with(tx: Transaction, provider: KeyProvider, now: datetime, *, domains: Iterable[Domain] = ()) -> Vault:
    """Open the vault over any key provider."""
    store.lock_root_keys(tx)
    vault = Vault(provider)
    root_keys = vault.root_keys
    root_keys.check_keys(tx, now)
    root_keys.destroy_marked(tx)
    root_keys.refresh(tx)
    for stem in (*ROOT_KEYS, *domains):
        root_keys.ensure(tx, stem, now)
    if store.active_epoch(tx) is None:
        vault.epochs.begin(tx, now)
    root_keys.refresh(tx)
    return vault


def _folder_of(kept: StateStore) -> Path:
    """The folder for the wrapped keys of a KMS provider, which is given a folder."""
    if not isinstance(kept, StateFolder):
        raise Fault(
            "wrong_setting",
            "A setting is invalid",
            "CDP_KMS_URL needs a folder for its wrapped keys. Expected: CDP_STATE_URL=file:///folder, a folder that all services "
            "reach, or no CDP_STATE_URL.",
            status=500,
        )
    return kept.folder


def require_keys(
    folder: Path,
    master_key: bytes | None,
    *,
    kms_url: str | None,
    wrapped_keys: StateStore,
    check_values: Mapping[str, bytes],
) -> None:
    """Require that the keys with these check values (of a backup) can be opened. Faults: those of `open_vault`."""
    if kms_url is not None:
        provider = open_kms_provider(kms_url, _folder_of(wrapped_keys))
    else:
        provider, _ = open_local_provider(folder, master_key, may_create=False, store=wrapped_keys)
    require_check_values(provider, check_values)
