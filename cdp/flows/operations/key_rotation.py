"""Use cases of keys: rotating the pseudonym keys of the graph, and starting a new epoch.

Replaced keys are retired and kept, because backups from before need them (`key_destruction` ends them).
They run during live traffic in small transactions and can be repeated after a kill: the remaining work is read from the
store, never from memory.
"""

from collections.abc import Callable
from dataclasses import dataclass

from cdp.audit.store import facts as fact_store
from cdp.flows.context import Context
from cdp.flows.identifiers import IDENTIFIER_PLACE
from cdp.identity.store import generation as generation_store
from cdp.identity.store import rekey as rekey_store
from cdp.kit.errors import Fault
from cdp.kit.wording import counted
from cdp.vault.epochs import Rewrapped
from cdp.vault.pseudonym import GRAPH
from cdp.vault.vault import Item

Progress = Callable[[int, int], None]

CHUNK = 2_000


@dataclass(frozen=True, slots=True)
class RotationResult:
    """The result of a rotation: the current version, how many identifiers or keys moved to it, and the keys retired."""

    version: int
    moved: int
    retired: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RotationPreview:
    """What a rotation would do: the resulting version, how many move, and which keys are retired."""

    version: int
    to_move: int
    to_retire: tuple[str, ...]


def preview_pseudonym_rotation(context: Context) -> RotationPreview:
    """What `rotate_pseudonyms` would do."""
    with context.database.transaction(read_only=True) as tx:
        versions = context.vault.root_keys.active_versions(tx, GRAPH)
        version = versions[-1] if len(versions) > 1 else versions[-1] + 1
        older = tuple(f"{GRAPH}/{old}" for old in versions if old < version)
        return RotationPreview(version, rekey_store.count_older(tx, version), older)


def preview_epoch_rotation(context: Context) -> RotationPreview:
    """What `rotate_epoch` would do."""
    with context.database.transaction() as tx:
        keys = context.vault.epochs.count_keys(tx)
        return RotationPreview(max(keys) + 1, sum(keys.values()), (f"epoch/{max(keys)}",))


def rotate_pseudonyms(
    context: Context, *, actor: str = "admin", chunk: int = CHUNK, progress: Progress | None = None
) -> RotationResult:
    """Give every identifier a pseudonym under a new graph key, then retire the old key.

    In between, messages and lookups try both keys. The next rotation completes one that was killed: it continues with the
    newest version instead of creating another.
    """
    version = _begin_version(context, actor)
    with context.database.transaction(read_only=True) as tx:
        total = rekey_store.count_older(tx, version)
    moved = 0
    while True:
        done = _rekey_chunk(context, version, chunk)
        if not done:
            break
        moved += done
        if progress is not None:
            progress(moved, max(total, moved))
    return RotationResult(version, moved, _retire_older_versions(context, version, actor))


def rotate_epoch(
    context: Context, *, actor: str = "admin", chunk: int = CHUNK, progress: Progress | None = None
) -> RotationResult:
    """Start a new epoch and re-wrap every subject key under it; the old epoch is retired."""
    with context.database.transaction() as tx:
        generation_store.lock_exclusive(tx)
        epoch = context.vault.epochs.begin(tx, context.clock.now())
        fact_store.append(
            tx, {"kind": "key.created", "actor": actor, "key": "epoch", "version": epoch}, context.clock.now()
        )
        generation_store.advance(tx, changed=True)
    rewrapped: Rewrapped | None = Rewrapped(0, 0)
    moved = 0
    while rewrapped is not None:
        with context.database.transaction() as tx:
            rewrapped = context.vault.epochs.rewrap(tx, after=rewrapped.last, limit=chunk)
        if rewrapped is not None:
            moved += rewrapped.keys
            if progress is not None:
                progress(moved, moved)
    return RotationResult(epoch, moved, (f"epoch/{epoch - 1}",))


def _begin_version(context: Context, actor: str) -> int:
    """A new version, or the newest one if an earlier rotation was killed while identifiers used older ones."""
    with context.database.transaction() as tx:
        generation_store.lock_exclusive(tx)
        context.vault.root_keys.refresh(tx)
        versions = context.vault.root_keys.versions(GRAPH)
        if len(versions) > 1:
            return versions[-1]
        version = context.vault.root_keys.add_version(tx, GRAPH, context.clock.now())
        fact_store.append(
            tx, {"kind": "key.created", "actor": actor, "key": "graph", "version": version}, context.clock.now()
        )
        generation_store.advance(tx, changed=True)
        return version


def _rekey_chunk(context: Context, version: int, chunk: int) -> int:
    vault = context.vault
    with context.database.transaction() as tx:
        generation_store.lock_exclusive(tx)
        rows = rekey_store.older(tx, version, chunk)
        if not rows:
            return 0
        keys = vault.subject_keys.keys_for(tx, [row.identifier_id for row in rows])
        items = [Item(row.identifier_id, row.identifier_id, row.sealed) for row in rows]
        values = vault.open_many(keys, IDENTIFIER_PLACE, items)
        opened = [(row, value.decode()) for row, value in zip(rows, values, strict=True) if value is not None]
        pseudonyms = vault.hashes.pseudonyms(GRAPH, ((row.type, value) for row, value in opened), version=version)
        rekey_store.update_pseudonyms(
            tx, {row.identifier_id: pseudonym for (row, _), pseudonym in zip(opened, pseudonyms, strict=True)}, version
        )
        if len(opened) < len(rows):
            raise _unreadable(len(rows) - len(opened))
        return len(rows)


def _retire_older_versions(context: Context, version: int, actor: str) -> tuple[str, ...]:
    with context.database.transaction() as tx:
        generation_store.lock_exclusive(tx)
        if rekey_store.count_older(tx, version):
            raise _unreadable(rekey_store.count_older(tx, version))
        now = context.clock.now()
        retired = [older for older in context.vault.root_keys.versions(GRAPH) if older < version]
        for older in retired:
            context.vault.root_keys.retire_version(tx, GRAPH, older, now=now)
        fact_store.append(tx, {"kind": "key.rotated", "actor": actor, "key": "graph", "version": version}, now)
        generation_store.advance(tx, changed=True)
    with context.database.transaction() as tx:
        context.vault.root_keys.refresh(tx)
    return tuple(f"{GRAPH}/{older}" for older in retired)


def _unreadable(count: int) -> Fault:
    return Fault(
        "identifiers_unreadable",
        "Some identifiers cannot be opened",
        f"Without a key, and therefore without a new pseudonym: {counted(count, 'identifier')}; the old key stays in use. "
        "Complete the erasures in progress, then rotate again.",
        status=409,
    )
