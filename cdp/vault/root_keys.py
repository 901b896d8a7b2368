"""Root keys in use: which versions are active, what is derived from each, and how they are added and destroyed."""

import threading
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.vault import store
from cdp.vault.keys import KMS_UNAVAILABLE, KeyProvider
from cdp.vault.providers.file import LocalFileProvider
from cdp.vault.providers.master_key import check_value, wrong_master_key
from cdp.vault.pseudonym import ANCHOR, DUPLICATES, GRAPH, SUPPRESSION, KeyedHash
from cdp.vault.seal import Wrapper
from cdp.vault.sign import Signer

AUDIT_SIGNING: Final = "sign/audit"
ROOT_KEYS: Final = (GRAPH, SUPPRESSION, DUPLICATES, ANCHOR, AUDIT_SIGNING)

_EPOCH: Final = "epoch"
_MASTER: Final = "master"


class RootKeys:
    """The root keys of one process by name, `<stem>/<version>`; one object serves all threads."""

    def __init__(self, provider: KeyProvider) -> None:
        self._provider = provider
        self._keys: dict[str, bytes] = {}
        self._hashes: dict[str, KeyedHash] = {}
        self._wrappers: dict[int, Wrapper] = {}
        self._versions: dict[str, tuple[int, ...]] = {}
        self._refreshing = threading.Lock()

    def refresh(self, tx: Transaction) -> None:
        """Read which root keys are active, and drop from memory those marked as destroyed.

        One thread at a time reads and stores the result, so that none replaces a newer state with an older one. For
        the same reason this is not for read-only transactions, which see an old snapshot: use `active_versions` there.
        """
        with self._refreshing:
            versions: dict[str, list[int]] = {}
            for check in store.key_checks(tx):
                if check.name == _MASTER:
                    continue
                if check.is_destroyed:
                    self._drop(check.name)
                if not check.is_active:
                    continue
                stem, _, version = check.name.rpartition("/")
                versions.setdefault(stem, []).append(int(version))
            self._versions = {stem: tuple(sorted(numbers)) for stem, numbers in versions.items()}

    def check_keys(self, tx: Transaction, now: datetime) -> None:
        """Compare the master key and every root key with the check values in the database.

        Records the master key of an empty database. Raises the faults `wrong_master_key` and `root_key_missing`.
        """
        checks = {check.name: check for check in store.key_checks(tx)}
        master = checks.pop(_MASTER, None)
        if master is None:
            store.add_key_check(tx, _MASTER, self._provider.fingerprint(), now=now)
        elif master.check_value != self._provider.fingerprint():
            raise wrong_master_key("Its check value differs.")
        require_check_values(
            self._provider, {name: check.check_value for name, check in checks.items() if check.is_active}
        )

    def active_versions(self, tx: Transaction, stem: str) -> tuple[int, ...]:
        """The active versions of a root key as this transaction sees them, oldest first."""
        names = (check.name.rpartition("/") for check in store.key_checks(tx) if check.is_active)
        return tuple(sorted(int(version) for name_stem, _, version in names if name_stem == stem))

    def versions(self, stem: str) -> tuple[int, ...]:
        """The active versions of a root key, oldest first; look up under all of them while a rotation runs.

        Raises the fault `root_key_missing` when there is none.
        """
        versions = self._versions.get(stem)
        if versions is None:
            raise Fault(
                "root_key_missing",
                "A root key is missing",
                f"There is no key {stem}. The key of a destination is created when the policy is applied.",
                status=500,
            )
        return versions

    def ensure(self, tx: Transaction, stem: str, now: datetime) -> None:
        """Create the first version of a root key if there is none yet."""
        if stem not in self._versions:
            self.add_version(tx, stem, now)

    def add_version(self, tx: Transaction, stem: str, now: datetime) -> int:
        """Create the next version of a root key and return its number; older versions stay until they are destroyed.

        It is the newest in this process from now on, because the rest of the transaction needs it, unless the
        transaction is rolled back.
        """
        store.lock_root_keys(tx)
        used = [check.name for check in store.key_checks(tx) if check.name.rpartition("/")[0] == stem]
        version = 1 + max((int(name.rpartition("/")[2]) for name in used), default=0)
        self._create(tx, f"{stem}/{version}", now)
        self._versions[stem] = (*self._versions.get(stem, ()), version)
        tx.on_rollback(lambda: self._drop_version(stem, version))
        return version

    def add_epoch_key(self, tx: Transaction, epoch_id: int, now: datetime) -> None:
        """Create the root key of a new epoch."""
        self._create(tx, f"{_EPOCH}/{epoch_id}", now)

    def retire_version(self, tx: Transaction, stem: str, version: int, *, now: datetime) -> None:
        """Use a version no longer; it is kept for backups from before until it is destroyed.

        Raises the fault `key_in_use` for the newest version.
        """
        if version == self.versions(stem)[-1]:
            raise Fault("key_in_use", "The key is in use", f"Version {version} is the newest of {stem}: add one first.")
        store.mark_key_retired(tx, f"{stem}/{version}", now)

    def mark_version_destroyed(self, tx: Transaction, stem: str, version: int, *, now: datetime) -> None:
        """Mark a version for destruction, which `destroy_marked` carries out after the commit.

        Raises the fault `key_in_use` unless the version is retired.
        """
        if version not in {number for number, _ in retired_versions(tx, stem)}:
            raise Fault("key_in_use", "The key is in use", f"Version {version} of {stem} is not retired: rotate first.")
        store.mark_key_destroyed(tx, f"{stem}/{version}", now)

    def destroy_marked(self, tx: Transaction) -> list[str]:
        """Destroy at the provider what a committed transaction marked; returns the names of the keys destroyed now.

        Safe to repeat: what a crash between the mark and this call left undone, the next call or start completes.
        """
        kept = self._provider.names()
        marked = [check.name for check in store.key_checks(tx) if check.is_destroyed and check.name in kept]
        for name in marked:
            self._provider.destroy(name)
            self._drop(name)
        return marked

    def signer(self, stem: str = AUDIT_SIGNING) -> Signer:
        """Signs under the newest version of a signing key."""
        return Signer(self.load(f"{stem}/{self.versions(stem)[-1]}"))

    def keyed_hash(self, stem: str, version: int | None) -> KeyedHash:
        """The keyed hash under one version of a root key, the newest unless one is named."""
        name = f"{stem}/{version or self.versions(stem)[-1]}"
        keyed_hash = self._hashes.get(name)
        if keyed_hash is None:
            keyed_hash = self._hashes[name] = KeyedHash(self.load(name))
        return keyed_hash

    def load(self, name: str) -> bytes:
        """A root key, from memory once the provider has given it. Faults: those of `KeyProvider.load`, `key_service_unavailable`."""
        key = self._keys.get(name)
        if key is None:
            key = self._keys[name] = self._provider.load(name)
        return key

    def wrap_keys(self, epoch_id: int, ids: Sequence[int], keys: Sequence[bytes]) -> list[bytes]:
        """Wrap the keys of these subjects, side by side, under the key of an epoch."""
        contexts = [subject_id.to_bytes(8, "big") for subject_id in ids]
        return self._wrapper(epoch_id).wrap_many(zip(contexts, keys, strict=True))

    def unwrap_keys(self, wrapped_keys: Sequence[store.WrappedKey]) -> dict[int, bytes]:
        """The keys by subject id. Raises the fault `seal_broken`."""
        by_epoch: dict[int, list[store.WrappedKey]] = {}
        for wrapped_key in wrapped_keys:
            by_epoch.setdefault(wrapped_key.epoch_id, []).append(wrapped_key)
        keys: dict[int, bytes] = {}
        for epoch_id, group in by_epoch.items():
            items = ((row.subject_id.to_bytes(8, "big"), row.wrapped) for row in group)
            opened = self._wrapper(epoch_id).unwrap_many(items)
            keys.update(zip((row.subject_id for row in group), opened, strict=True))
        return keys

    def _create(self, tx: Transaction, name: str, now: datetime) -> None:
        store.add_key_check(tx, name, check_value(self._provider.create(name), name), now=now)

    def _wrapper(self, epoch_id: int) -> Wrapper:
        wrapper = self._wrappers.get(epoch_id)
        if wrapper is None:
            wrapper = self._wrappers[epoch_id] = Wrapper(self.load(f"{_EPOCH}/{epoch_id}"), "cdp/subject-key/v1")
        return wrapper

    def _drop_version(self, stem: str, version: int) -> None:
        left = tuple(number for number in self._versions.get(stem, ()) if number != version)
        if left:
            self._versions[stem] = left
        else:
            self._versions.pop(stem, None)

    def _drop(self, name: str) -> None:
        self._keys.pop(name, None)
        self._hashes.pop(name, None)
        stem, _, version = name.rpartition("/")
        if stem == _EPOCH:
            self._wrappers.pop(int(version), None)


def require_check_values(provider: KeyProvider, check_values: Mapping[str, bytes]) -> None:
    """Require keys with these check values. Raises the faults `wrong_master_key` and `root_key_missing`."""
    for name, expected in check_values.items():
        found = provider.fingerprint() if name == _MASTER else check_value(provider.load(name), name)
        if found != expected:
            raise wrong_master_key(f"The check value of the key {name} differs.")


def require_kept(tx: Transaction, root_keys: RootKeys, provider: KeyProvider) -> None:
    """Require that the provider still has every key in use, whatever is in memory.

    A key service is asked for its names, and for the keys that are not in memory: those of a new epoch, say.
    Faults: `master_key_missing`, `wrong_master_key`, `root_key_missing`, `key_service_unavailable`.
    """
    check_values = active_check_values(tx)
    if isinstance(provider, LocalFileProvider):
        provider.require_master_file()
        require_check_values(provider, check_values)
        return
    names = check_values.keys() - {_MASTER}
    for name in names:
        root_keys.load(name)
    try:
        lost = names - provider.names()
    except Fault as fault:
        if fault.code != KMS_UNAVAILABLE:
            raise
        return  # every key is in memory: nothing fails for want of the service
    for name in sorted(lost):
        provider.load(name)  # it says why it does not have it


def mark_epoch_key_destroyed(tx: Transaction, epoch_id: int, now: datetime) -> None:
    """Mark the root key of an epoch for destruction, which `RootKeys.destroy_marked` carries out after the commit."""
    store.mark_key_destroyed(tx, f"{_EPOCH}/{epoch_id}", now)


def active_check_values(tx: Transaction) -> dict[str, bytes]:
    """The check values of the keys in use by name, that of the master key included: for a backup."""
    return {check.name: check.check_value for check in store.key_checks(tx) if check.is_active}


def retired_versions(tx: Transaction, stem: str) -> list[tuple[int, datetime]]:
    """The versions of a root key that are retired and not destroyed, with the instant of their retirement."""
    return [
        (int(check.name.rpartition("/")[2]), check.retired_at)
        for check in store.key_checks(tx)
        if check.retired_at is not None and not check.is_destroyed and check.name.rpartition("/")[0] == stem
    ]
