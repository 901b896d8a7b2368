"""Random histories of subjects, shredding, rotations, kills and restarts: shredded values never open again."""

import random
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cdp.kit.db import Database
from cdp.kit.ids import new_ids
from cdp.vault.epochs import Rewrapped
from cdp.vault.seal import SealedColumn
from cdp.vault.vault import Item, Vault, open_vault

pytestmark = pytest.mark.postgres

NOW = datetime(2026, 3, 1, tzinfo=UTC)
PLACE = SealedColumn("identity.identifier", "sealed")


class Killed(Exception):
    """The process ended before the commit."""


class History:
    """Two processes over subject_id database, and what must be true of it."""

    def __init__(self, database: Database, home: Path, seed: int) -> None:
        self.database, self.home, self.random = database, home, random.Random(seed)
        self.sealed: dict[int, tuple[bytes, bytes]] = {}
        self.shredded: dict[int, bytes] = {}
        self.vaults = [self.opened(), self.opened()]

    def opened(self) -> Vault:
        with self.database.transaction() as tx:
            return open_vault(tx, self.home / "keys", None, now=NOW)[0]

    def some(self, share: float) -> list[int]:
        return [subject_id for subject_id in self.sealed if self.random.random() < share]

    def add(self, vault: Vault) -> None:
        ids = new_ids(self.random.randint(1, 30))
        is_killed = self.random.random() < 0.2
        try:
            with self.database.transaction() as tx:
                keys = vault.subject_keys.create(tx, ids)
                values = [self.random.randbytes(20) for _ in ids]
                items = [Item(subject_id, subject_id, value) for subject_id, value in zip(ids, values, strict=True)]
                envelopes = vault.seal_many(keys, PLACE, items)
                if is_killed:
                    raise Killed
        except Killed:
            return
        self.sealed |= dict(zip(ids, zip(values, envelopes, strict=True), strict=True))

    def shred(self, vault: Vault) -> None:
        shredded = self.some(0.2)
        with self.database.transaction() as tx:
            assert vault.subject_keys.shred(tx, shredded) == len(shredded)
        for process in self.vaults:
            process.subject_keys.evict(shredded)
        self.shredded |= {subject_id: self.sealed.pop(subject_id)[1] for subject_id in shredded}

    def begin_epoch(self, vault: Vault) -> None:
        with self.database.transaction() as tx:
            vault.epochs.begin(tx, NOW)

    def rewrap(self, vault: Vault) -> None:
        with self.database.transaction() as tx:
            vault.epochs.rewrap(tx, after=0, limit=self.random.randint(1, 40))

    def finish_rotation(self, vault: Vault) -> None:
        rewrapped: Rewrapped | None = Rewrapped(0, 0)
        while rewrapped is not None:
            with self.database.transaction() as tx:
                rewrapped = vault.epochs.rewrap(tx, after=rewrapped.last, limit=25)
        with self.database.transaction() as tx:
            for epoch_id in vault.epochs.retired(tx):
                vault.epochs.mark_destroyed(tx, epoch_id, NOW)
        if self.random.random() < 0.5:  # otherwise killed here: the next start destroys
            with self.database.transaction() as tx:
                vault.root_keys.destroy_marked(tx)

    def restart(self, vault: Vault) -> None:
        self.vaults[self.vaults.index(vault)] = self.opened()

    def check(self) -> None:
        vault = self.random.choice(self.vaults)
        if self.random.random() < 0.5:
            vault.subject_keys.evict_all()
        ids = [*self.sealed, *self.shredded]
        items = [Item(subject_id, subject_id, self.sealed[subject_id][1]) for subject_id in self.sealed]
        items += [Item(subject_id, subject_id, envelope) for subject_id, envelope in self.shredded.items()]
        with self.database.transaction(read_only=True) as tx:
            opened = vault.open_many(vault.subject_keys.keys_for(tx, ids), PLACE, items)
        assert opened == [value for value, _ in self.sealed.values()] + [None] * len(self.shredded)


@pytest.mark.parametrize("seed", range(4))
def test_after_any_history_only_what_was_not_shredded_opens(database: Database, home: Path, seed: int) -> None:
    history = History(database, home, seed)
    steps = [
        history.add,
        history.add,
        history.shred,
        history.begin_epoch,
        history.rewrap,
        history.finish_rotation,
        history.restart,
    ]

    for _ in range(40):
        history.random.choice(steps)(history.random.choice(history.vaults))
        history.check()

    assert len(history.shredded) > 10
    assert len(history.sealed) > 10
