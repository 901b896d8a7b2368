"""Random histories of subjects, shreddings, rotations, kills and restarts: the living open, the shredded never again."""

import random
from datetime import UTC, datetime

import pytest

from cdp.kit.ids import new_ids
from cdp.vault.seal import SealedColumn
from cdp.vault.vault import Item, Vault, open_vault

pytestmark = pytest.mark.postgres

NOW = datetime(2026, 3, 1, tzinfo=UTC)
PLACE = SealedColumn("identity.identifier", "sealed")


class Killed(Exception):
    """The process ended before the commit."""


class History:
    """Two processes over one database, and what must be true of it."""

    def __init__(self, database, home, seed):
        self.database, self.home, self.random = database, home, random.Random(seed)
        self.sealed: dict[int, tuple[bytes, bytes]] = {}
        self.shredded: dict[int, bytes] = {}
        self.vaults = [self.opened(), self.opened()]

    def opened(self) -> Vault:
        with self.database.transaction() as tx:
            return open_vault(tx, self.home / "keys", None, now=NOW)[0]

    def some(self, share):
        return [one for one in self.sealed if self.random.random() < share]

    def add(self, vault):
        ids = new_ids(self.random.randint(1, 30))
        is_killed = self.random.random() < 0.2
        try:
            with self.database.transaction() as tx:
                keys = vault.new_subject_keys(tx, ids)
                values = [self.random.randbytes(20) for _ in ids]
                items = [Item(one, one, value) for one, value in zip(ids, values, strict=True)]
                envelopes = vault.seal_many(keys, PLACE, items)
                if is_killed:
                    raise Killed
        except Killed:
            return
        self.sealed |= dict(zip(ids, zip(values, envelopes, strict=True), strict=True))

    def shred(self, vault):
        gone = self.some(0.2)
        with self.database.transaction() as tx:
            assert vault.shred(tx, gone) == len(gone)
        for one in self.vaults:
            one.evict(gone)
        self.shredded |= {one: self.sealed.pop(one)[1] for one in gone}

    def begin_epoch(self, vault):
        with self.database.transaction() as tx:
            vault.begin_epoch(tx, NOW)

    def rewrap(self, vault):
        with self.database.transaction() as tx:
            vault.rewrap(tx, after=0, limit=self.random.randint(1, 40))

    def finish_rotation(self, vault):
        after = 0
        while after is not None:
            with self.database.transaction() as tx:
                after = vault.rewrap(tx, after=after, limit=25)
        with self.database.transaction() as tx:
            for epoch_id in vault.retired_epochs(tx):
                vault.mark_epoch_destroyed(tx, epoch_id, NOW)
        if self.random.random() < 0.5:  # otherwise killed here: the next start destroys
            with self.database.transaction() as tx:
                vault.destroy_marked(tx)

    def restart(self, vault):
        self.vaults[self.vaults.index(vault)] = self.opened()

    def check(self):
        vault = self.random.choice(self.vaults)
        if self.random.random() < 0.5:
            vault.evict_all()
        ids = [*self.sealed, *self.shredded]
        items = [Item(one, one, self.sealed[one][1]) for one in self.sealed]
        items += [Item(one, one, envelope) for one, envelope in self.shredded.items()]
        with self.database.transaction(read_only=True) as tx:
            opened = vault.open_many(vault.keys_for(tx, ids), PLACE, items)
        assert opened == [value for value, _ in self.sealed.values()] + [None] * len(self.shredded)


@pytest.mark.parametrize("seed", range(4))
def test_after_any_history_the_living_open_and_the_shredded_do_not(database, home, seed):
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
