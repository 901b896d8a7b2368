"""Use cases of destroying retired keys: a planned act of its own, because it ends backups."""

from dataclasses import dataclass
from datetime import datetime

from cdp.audit.store import facts as fact_store
from cdp.flows.context import Context
from cdp.identity.store import generation as generation_store
from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.vault.pseudonym import GRAPH
from cdp.vault.root_keys import retired_versions

_EPOCH = "epoch"


@dataclass(frozen=True, slots=True)
class RetiredKey:
    """A key that only earlier backups need; `in_use` counts subject keys that an interrupted rotation left under it."""

    name: str
    retired_at: datetime
    in_use: int = 0


@dataclass(frozen=True, slots=True)
class DestructionPlan:
    """The keys that would be destroyed; backups made before `unreadable_before` could then not be opened any more."""

    keys: tuple[RetiredKey, ...]

    @property
    def to_destroy(self) -> tuple[str, ...]:
        """The names of the keys."""
        return tuple(key.name for key in self.keys)

    @property
    def unreadable_before(self) -> datetime | None:
        """The latest retirement among the keys, None without keys."""
        return max((key.retired_at for key in self.keys), default=None)

    @property
    def in_use(self) -> int:
        """How many subject keys prevent the destruction."""
        return sum(key.in_use for key in self.keys)


def plan_destruction(context: Context, *, only_epochs: bool = False) -> DestructionPlan:
    """What `destroy_keys` would do."""
    with context.database.transaction() as tx:
        return _plan(tx, context, only_epochs=only_epochs)


def destroy_keys(
    context: Context, *, only_epochs: bool = False, actor: str = "admin"
) -> tuple[DestructionPlan, tuple[str, ...]]:
    """Destroy every retired key; returns the plan that was carried out, and the names of the keys destroyed.

    Faults: `no_retired_key` (409), `epoch_in_use` (409).
    """
    with context.database.transaction() as tx:
        generation_store.lock_exclusive(tx)
        plan = _plan(tx, context, only_epochs=only_epochs)
        if not plan.keys:
            raise Fault(
                "no_retired_key",
                "There is no retired key",
                "`cdp keys rotate` and `cdp keys rotate --epoch` retire the keys that they replace; then these can be destroyed.",
                status=409,
            )
        now = context.clock.now()
        for key in plan.keys:
            stem, _, number = key.name.rpartition("/")
            if stem == _EPOCH:
                context.vault.epochs.mark_destroyed(tx, int(number), now)
            else:
                context.vault.root_keys.mark_version_destroyed(tx, stem, int(number), now=now)
            word = _EPOCH if stem == _EPOCH else "graph"
            fact_store.append(tx, {"kind": "key.destroyed", "actor": actor, "key": word, "version": int(number)}, now)
        generation_store.advance(tx, changed=True)
    return plan, _destroy_marked(context)


def _plan(tx: Transaction, context: Context, *, only_epochs: bool) -> DestructionPlan:
    counts = context.vault.epochs.count_keys(tx)
    keys = [
        RetiredKey(f"{_EPOCH}/{epoch}", retired_at, counts.get(epoch, 0))
        for epoch, retired_at in context.vault.epochs.retired_at(tx)
    ]
    if not only_epochs:
        retired = retired_versions(tx, GRAPH)
        keys += [RetiredKey(f"{GRAPH}/{version}", retired_at) for version, retired_at in retired]
    return DestructionPlan(tuple(keys))


def _destroy_marked(context: Context) -> tuple[str, ...]:
    """Destroy the keys at the provider that are marked as destroyed; after a kill, the next start repeats it."""
    with context.database.transaction() as tx:
        destroyed = context.vault.root_keys.destroy_marked(tx)
        context.vault.root_keys.refresh(tx)
    return tuple(destroyed)
