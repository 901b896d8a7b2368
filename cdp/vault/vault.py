"""The vault: root keys, subject keys, seals, pseudonyms and signatures in one place, as flows use them.

Open it once per process with `open_vault`; it refuses to open with a missing or wrong master key beside a database
that holds anything. Keys of shredded subjects leave the memory of this process with the commit; call `forget_all`
whenever another process may have shredded (the version counter of the identity room tells).
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID
from weakref import WeakMethod

from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.kit.ids import random_bytes
from cdp.vault import store
from cdp.vault.cache import KeyCache
from cdp.vault.keys import KeyProvider, open_kms_provider
from cdp.vault.providers.file import open_local_provider
from cdp.vault.providers.master_key import check_value, wrong_master_key
from cdp.vault.pseudonym import (
    ANCHOR,
    DISCLOSURE,
    DUPLICATES,
    GRAPH,
    SUPPRESSION,
    Domain,
    HashedForm,
    KeyedHash,
    hashed_forms,
    names_of_forms,
    reader,
)
from cdp.vault.seal import KEY_BYTES, RowId, SealedColumn, Wrapper, open_many, seal_each, seal_many
from cdp.vault.sign import Signer

AUDIT_SIGNING: Final = "sign/audit"
ROOT_KEYS: Final = (GRAPH, SUPPRESSION, DUPLICATES, ANCHOR, DISCLOSURE, reader("marketer"), AUDIT_SIGNING)

_MASTER = "master"
_CACHED_KEYS_MAX = 100_000


class Item(NamedTuple):
    """A value to seal, or an envelope to open: whose key, which row, the bytes."""

    subject_id: int
    row: RowId
    value: bytes


class FreshKeys(NamedTuple):
    """Keys of new subjects that the store does not have yet, each bare and wrapped under an epoch, side by side."""

    epoch_id: int
    ids: Sequence[int]
    keys: Sequence[bytes]
    wrapped: Sequence[bytes]

    def only(self, places: Sequence[int]) -> "FreshKeys":
        """Those at some places."""
        return FreshKeys(
            self.epoch_id,
            [self.ids[at] for at in places],
            [self.keys[at] for at in places],
            [self.wrapped[at] for at in places],
        )


def open_vault(
    tx: Transaction,
    folder: Path,
    master_key: bytes | None,
    *,
    now: datetime,
    kms_url: str | None = None,
    domains: Iterable[Domain] = (),
) -> tuple["Vault", str | None]:
    """Open the vault over local key files or a KMS, making on an empty database what it needs.

    Gives the vault and a notice to print loudly when a master key was made. `domains` are those of policy
    (readers, destinations) beside the ones that always exist. Faults: `master_key_missing`, `wrong_master_key`,
    `root_key_missing`, `key_file_exposed`, `master_key_malformed`, `kms_unknown`.
    """
    store.lock_root_keys(tx)
    if kms_url is not None:
        return open_with(tx, open_kms_provider(kms_url, folder), now, domains=domains), None
    provider, notice = open_local_provider(folder, master_key, may_create=not store.key_checks(tx))
    return open_with(tx, provider, now, domains=domains), notice


def open_with(tx: Transaction, provider: KeyProvider, now: datetime, *, domains: Iterable[Domain] = ()) -> "Vault":
    """Open the vault over any key provider."""
    store.lock_root_keys(tx)
    checks = store.key_checks(tx)
    _check_master(tx, provider, checks, now=now)
    vault = Vault(provider)
    vault.destroy_marked(tx)
    vault.refresh(tx)
    for stem in (*ROOT_KEYS, *domains):
        vault.ensure(tx, stem, now)
    if store.living_epoch(tx) is None:
        vault.begin_epoch(tx, now)
    vault.refresh(tx)
    return vault


def _check_master(tx: Transaction, provider: KeyProvider, checks: Sequence[store.KeyCheck], *, now: datetime) -> None:
    """Hold the master key and every root key to what the database remembers of them."""
    remembered = {check.name: check for check in checks}
    master = remembered.pop(_MASTER, None)
    if master is None:
        store.add_key_check(tx, _MASTER, provider.fingerprint(), now=now)
    elif master.check_value != provider.fingerprint():
        raise wrong_master_key("Its check value is another one.")
    for name, check in remembered.items():
        if not check.is_destroyed and check_value(provider.load(name), name) != check.check_value:
            raise wrong_master_key(f"The key {name} has another check value.")


class Vault:
    """What flows ask of the strongroom. One object serves all threads of a process."""

    def __init__(self, provider: KeyProvider, *, cached_keys_max: int = _CACHED_KEYS_MAX) -> None:
        self._provider = provider
        self._cache = KeyCache(cached_keys_max)
        self._root_keys: dict[str, bytes] = {}
        self._hashes: dict[str, KeyedHash] = {}
        self._wrappers: dict[int, Wrapper] = {}
        self._versions: dict[str, tuple[int, ...]] = {}
        self._refreshing = threading.Lock()
        self._also: list[WeakMethod[Callable[[int | None], None]]] = []

    # --- root keys ---

    def refresh(self, tx: Transaction) -> None:
        """Learn which root keys live, and drop from memory those that are to be gone.

        One thread at a time reads and remembers, so that none puts an older state over a newer one. For the same
        reason this is not for reading transactions, which look at an old snapshot: `living` is.
        """
        with self._refreshing:
            versions: dict[str, list[int]] = {}
            for check in store.key_checks(tx):
                if check.name == _MASTER:
                    continue
                if check.is_destroyed:
                    self._forget_root_key(check.name)
                    continue
                stem, _, version = check.name.rpartition("/")
                versions.setdefault(stem, []).append(int(version))
            self._versions = {stem: tuple(sorted(found)) for stem, found in versions.items()}

    def living(self, tx: Transaction, stem: str) -> tuple[int, ...]:
        """The living versions of a root key as this transaction sees them, oldest first."""
        names = (check.name.rpartition("/") for check in store.key_checks(tx) if not check.is_destroyed)
        return tuple(sorted(int(version) for found, _, version in names if found == stem))

    def ensure(self, tx: Transaction, stem: str, now: datetime) -> None:
        """Make the first version of a root key where there is none yet."""
        if stem not in self._versions:
            self.add_version(tx, stem, now)

    def versions(self, stem: str) -> tuple[int, ...]:
        """The living versions of a root key, oldest first; look up under all of them while a rotation runs."""
        found = self._versions.get(stem)
        if found is None:
            raise Fault(
                "root_key_missing",
                "A root key is missing",
                f"There is no key {stem}. A reader or destination of policy gets its key when the policy is applied.",
                status=500,
            )
        return found

    def add_version(self, tx: Transaction, stem: str, now: datetime) -> int:
        """Begin the next version of a root key; the older ones live on until they are destroyed.

        It counts from here on in this process, because the rest of the transaction needs it, unless that is taken back.
        """
        store.lock_root_keys(tx)
        used = [check.name for check in store.key_checks(tx) if check.name.rpartition("/")[0] == stem]
        version = 1 + max((int(name.rpartition("/")[2]) for name in used), default=0)
        name = f"{stem}/{version}"
        store.add_key_check(tx, name, check_value(self._provider.create(name), name), now=now)
        self._versions[stem] = (*self._versions.get(stem, ()), version)
        tx.on_rollback(lambda: self._unlearn(stem, version))
        return version

    def mark_version_destroyed(self, tx: Transaction, stem: str, version: int, *, now: datetime) -> None:
        """Decide that a version is to be gone; `destroy_marked` after the commit carries it out. Never the newest."""
        if version == self.versions(stem)[-1]:
            raise Fault("key_in_use", "The key is in use", f"Version {version} is the newest of {stem}: add one first.")
        store.mark_key_destroyed(tx, f"{stem}/{version}", now)

    def destroy_marked(self, tx: Transaction) -> list[str]:
        """Destroy at the provider what a committed transaction marked; the names of the keys destroyed now.

        Safe to repeat: a kill between the mark and this call is made good by the next one, or the next start.
        """
        kept = self._provider.names()
        marked = [check.name for check in store.key_checks(tx) if check.is_destroyed and check.name in kept]
        for name in marked:
            self._provider.destroy(name)
            self._forget_root_key(name)
        return marked

    # --- keyed hashes ---

    def pseudonym(self, domain: Domain, kind: str, value: str, *, version: int | None = None) -> bytes:
        """The 32-byte pseudonym of a normalized identifier, under the newest version unless one is named."""
        return self._hash(domain, version).of(kind, value.encode("utf-8", "surrogatepass"))

    def pseudonyms(
        self, domain: Domain, identifiers: Iterable[tuple[str, str]], *, version: int | None = None
    ) -> list[bytes]:
        """The pseudonyms of (type, normalized value), in order."""
        keyed = self._hash(domain, version)
        return [keyed.of(kind, value.encode("utf-8", "surrogatepass")) for kind, value in identifiers]

    def form_pseudonyms(self, domain: Domain, kind: str, value: str) -> list[tuple[str, bytes]]:
        """(form, pseudonym) of each plain hash by which a protocol may name this identifier."""
        keyed = self._hash(domain, None)
        return [(form.name, keyed.of(form.name, form.digest)) for form in hashed_forms(kind, value)]

    def received_form_pseudonyms(
        self, domain: Domain, kind: str, protocol: str, *, digest: bytes
    ) -> list[tuple[str, bytes]]:
        """(form, pseudonym) under which a received hash may stand; `protocol` is `md5`, `sha1`, `sha256` or `drop`."""
        keyed = self._hash(domain, None)
        forms = [HashedForm(name, digest) for name in names_of_forms(kind, protocol)]
        return [(form.name, keyed.of(form.name, form.digest)) for form in forms]

    def reader_pseudonyms(self, domain: Domain, profile_ids: Sequence[int]) -> list[bytes]:
        """The 16-byte pseudonyms of profiles for one reader or destination, in order."""
        return [full[:16] for full in self.digests(domain, "profile", (n.to_bytes(8, "big") for n in profile_ids))]

    def message_digests(self, source_id: int, message_ids: Iterable[str]) -> list[UUID]:
        """The duplicate keys of messages of one source, in order: 16 bytes of keyed hash, as UUIDs."""
        prefix = source_id.to_bytes(8, "big")
        values = (prefix + message_id.encode("utf-8", "surrogatepass") for message_id in message_ids)
        return [UUID(bytes=full[:16]) for full in self.digests(DUPLICATES, "message", values)]

    def digests(self, domain: Domain, kind: str, values: Iterable[bytes], *, version: int | None = None) -> list[bytes]:
        """32-byte keyed hashes of any bytes, in order; `kind` keeps uses of one domain apart."""
        return self._hash(domain, version).of_many(kind, values)

    # --- subject keys ---

    def new_subject_keys(self, tx: Transaction, ids: Sequence[int]) -> dict[int, bytes]:
        """Make a key for each new subject (anchor or identifier) and store it wrapped; the keys, for use at once. Two statements."""
        if not ids:
            return {}
        block = random_bytes(KEY_BYTES * len(ids))
        keys = {one: block[at * KEY_BYTES : (at + 1) * KEY_BYTES] for at, one in enumerate(ids)}
        epoch_id = store.hold_living_epoch(tx)
        store.add_keys(tx, epoch_id, self._wrapped(epoch_id, keys))
        self._cache.remember(keys)
        return keys

    def living_epoch(self, tx: Transaction) -> int:
        """The epoch under which to wrap keys made ahead; another one may live when they are stored."""
        return store.living_epoch(tx) or 0

    def make_subject_keys(self, epoch_id: int, ids: Sequence[int]) -> FreshKeys:
        """Make a key for each new subject without the store; they count once `put_subject_keys` stored them."""
        block = random_bytes(KEY_BYTES * len(ids))
        keys = [block[at : at + KEY_BYTES] for at in range(0, len(block), KEY_BYTES)]
        contexts = [subject_id.to_bytes(8, "big") for subject_id in ids]
        wrapped = self._wrapper(epoch_id).wrap_many(zip(contexts, keys, strict=True))
        return FreshKeys(epoch_id, ids, keys, wrapped)

    def put_subject_keys(self, tx: Transaction, fresh: FreshKeys) -> None:
        """Store keys that were made ahead, wrapped anew if another epoch lives by now. Two statements."""
        epoch_id = store.hold_living_epoch(tx)
        wrapped = fresh.wrapped
        if epoch_id != fresh.epoch_id:
            wrapped = list(self._wrapped(epoch_id, dict(zip(fresh.ids, fresh.keys, strict=True))).values())
        store.copy_keys(tx, epoch_id, fresh.ids, wrapped=wrapped)

    def keys_for(self, tx: Transaction, ids: Iterable[int]) -> dict[int, bytes]:
        """The keys of these subjects; a shredded subject is not among them. At most one statement."""
        wanted = set(ids)
        since = self._cache.forgotten
        keys = self._cache.found(wanted)
        missing = [subject_id for subject_id in wanted if subject_id not in keys]
        if missing:
            loaded = self._unwrapped(store.keys_of(tx, missing))
            if not tx.one_instant:  # such a transaction may see keys that are shredded by now
                self._cache.remember(loaded, since=since)
            keys |= loaded
        return keys

    def shred(self, tx: Transaction, ids: Sequence[int]) -> int:
        """Destroy the keys of these subjects, and drop them from memory once that is on disk; how many there were."""
        self._cache.evict(ids)
        tx.on_commit(lambda: self.evict(ids))  # until then, others could still load them
        return store.delete_keys(tx, ids)

    def evict(self, ids: Iterable[int]) -> None:
        """Drop the keys of these subjects from memory."""
        self._cache.evict(ids)
        self._tell(None)

    def evict_all(self, *, version: int | None = None) -> None:
        """Drop all subject keys from memory; `version` is that of the mapping when somebody may have shredded, if known."""
        self._cache.evict_all()
        self._tell(version)

    def on_eviction(self, follower: Callable[[int | None], None]) -> None:
        """Have a method called whenever keys are dropped, for as long as its object lives: it holds what they sealed.

        It gets the version of the mapping until which everybody's changes are to be distrusted, None for any.
        """
        self._also = [*(each for each in self._also if each() is not None), WeakMethod(follower)]

    def _tell(self, version: int | None) -> None:
        for each in self._also:
            follower = each()
            if follower is not None:
                follower(version)

    # --- seals ---

    def seal_many(self, keys: Mapping[int, bytes], place: SealedColumn, items: Iterable[Item]) -> list[bytes]:
        """Seal values of one column under keys at hand (of `new_subject_keys` and `keys_for`), in order."""
        return seal_many(place, [(keys[subject_id], row, value) for subject_id, row, value in items])

    def seal_each(self, place: SealedColumn, fresh: FreshKeys, values: Iterable[bytes]) -> list[bytes]:
        """Seal one value for each new subject, whose row has the subject's id."""
        return seal_each(place, fresh.keys, fresh.ids, plaintexts=values)

    def open_many(self, keys: Mapping[int, bytes], place: SealedColumn, items: Sequence[Item]) -> list[bytes | None]:
        """Open envelopes of one column, in order; None where the subject's key is shredded."""
        living = [item for item in items if item.subject_id in keys]
        opened = iter(open_many(place, ((keys[item.subject_id], item.row, item.value) for item in living)))
        return [next(opened) if item.subject_id in keys else None for item in items]

    def seal(self, tx: Transaction, place: SealedColumn, item: Item) -> bytes:
        """Seal one value. Raises the fault `subject_key_shredded` when its subject has no key."""
        keys = self.keys_for(tx, [item.subject_id])
        if not keys:
            raise Fault(
                "subject_key_shredded", "The key is gone", "Nothing can be sealed for an erased subject.", status=409
            )
        return self.seal_many(keys, place, [item])[0]

    def open(self, tx: Transaction, place: SealedColumn, item: Item) -> bytes | None:
        """Open one envelope; None when the subject's key is shredded."""
        return self.open_many(self.keys_for(tx, [item.subject_id]), place, [item])[0]

    # --- epochs ---

    def begin_epoch(self, tx: Transaction, now: datetime) -> int:
        """Begin a new epoch; keys of the older ones are re-wrapped with `rewrap` before those are destroyed."""
        store.lock_root_keys(tx)
        epoch_id = store.add_epoch(tx, now)
        name = f"epoch/{epoch_id}"
        store.add_key_check(tx, name, check_value(self._provider.create(name), name), now=now)
        return epoch_id

    def rewrap(self, tx: Transaction, *, after: int, limit: int) -> int | None:
        """Hang up to `limit` living keys of retired epochs on the living one.

        Gives the subject id to go on after, None when none is left. One transaction per call.
        """
        living, retired = store.hold_living_epoch(tx), store.retired_epochs(tx)
        taken = store.take_keys(tx, retired, after, limit=limit)
        if not taken:
            return None
        store.replace_keys(tx, living, self._wrapped(living, self._unwrapped(taken)))
        return taken[-1].subject_id

    def mark_epoch_destroyed(self, tx: Transaction, epoch_id: int, now: datetime) -> None:
        """Decide that a retired epoch's key is to be gone; `destroy_marked` after the commit carries it out.

        Raises the fault `epoch_in_use` while it is living or keys hang on it.
        """
        store.lock_root_keys(tx)
        if epoch_id not in store.retired_epochs(tx) or store.count_keys(tx, epoch_id):
            raise Fault(
                "epoch_in_use",
                "The epoch is in use",
                f"Epoch {epoch_id} is not retired, or living keys still hang on it: begin a new epoch and re-wrap first.",
                status=409,
            )
        store.mark_epoch_destroyed(tx, epoch_id, now)
        store.mark_key_destroyed(tx, f"epoch/{epoch_id}", now)

    def retired_epochs(self, tx: Transaction) -> list[int]:
        """Epochs that can be destroyed once no key hangs on them."""
        return store.retired_epochs(tx)

    def count_keys(self, tx: Transaction) -> dict[int, int]:
        """How many subject keys hang on the living epoch, which comes last, and on each retired one."""
        return {
            epoch_id: store.count_keys(tx, epoch_id)
            for epoch_id in (*store.retired_epochs(tx), store.hold_living_epoch(tx))
        }

    # --- signatures ---

    def signer(self, stem: str = AUDIT_SIGNING) -> Signer:
        """Signs under the newest version of a signing key."""
        return Signer(self._root_key(f"{stem}/{self.versions(stem)[-1]}"))

    # --- inside ---

    def _root_key(self, name: str) -> bytes:
        key = self._root_keys.get(name)
        if key is None:
            key = self._root_keys[name] = self._provider.load(name)
        return key

    def _hash(self, domain: Domain, version: int | None) -> KeyedHash:
        name = f"{domain}/{version or self.versions(domain)[-1]}"
        keyed = self._hashes.get(name)
        if keyed is None:
            keyed = self._hashes[name] = KeyedHash(self._root_key(name))
        return keyed

    def _wrapper(self, epoch_id: int) -> Wrapper:
        wrapper = self._wrappers.get(epoch_id)
        if wrapper is None:
            wrapper = self._wrappers[epoch_id] = Wrapper(self._root_key(f"epoch/{epoch_id}"), "cdp/subject-key/v1")
        return wrapper

    def _wrapped(self, epoch_id: int, keys: Mapping[int, bytes]) -> dict[int, bytes]:
        items = ((subject_id.to_bytes(8, "big"), key) for subject_id, key in keys.items())
        return dict(zip(keys, self._wrapper(epoch_id).wrap_many(items), strict=True))

    def _unwrapped(self, found: Iterable[store.WrappedKey]) -> dict[int, bytes]:
        by_epoch: dict[int, list[store.WrappedKey]] = {}
        for one in found:
            by_epoch.setdefault(one.epoch_id, []).append(one)
        keys: dict[int, bytes] = {}
        for epoch_id, group in by_epoch.items():
            items = ((one.subject_id.to_bytes(8, "big"), one.wrapped) for one in group)
            opened = self._wrapper(epoch_id).unwrap_many(items)
            keys.update(zip((one.subject_id for one in group), opened, strict=True))
        return keys

    def _unlearn(self, stem: str, version: int) -> None:
        left = tuple(each for each in self._versions.get(stem, ()) if each != version)
        if left:
            self._versions[stem] = left
        else:
            self._versions.pop(stem, None)

    def _forget_root_key(self, name: str) -> None:
        self._root_keys.pop(name, None)
        self._hashes.pop(name, None)
        stem, _, version = name.rpartition("/")
        if stem == "epoch":
            self._wrappers.pop(int(version), None)
