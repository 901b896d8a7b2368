"""Use cases of the webhooks of sources. Each change is logged."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from cdp.audit.store import facts as fact_store
from cdp.flows.context import Context
from cdp.flows.hooks.mapping import read_hook_mapping
from cdp.flows.hooks.secrets import check_secrets, opened_secrets, seal_secrets
from cdp.flows.imports.messages import check_mapping
from cdp.flows.operations.sources import unknown_source
from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.schema.ids import SourceId
from cdp.sources.hook import (
    SECRETS_MAX,
    WINDOW_SECONDS_DEFAULT,
    WINDOW_SECONDS_MAX,
    WINDOW_SECONDS_MIN,
    Hook,
    SignatureScheme,
)
from cdp.sources.model import Source, SourceKind
from cdp.sources.store import hooks as hook_store
from cdp.sources.store import sources as source_store
from cdp.sources.store.hooks import StoredHook


def set_hook(
    context: Context,
    name: str,
    scheme: SignatureScheme,
    *,
    mapping: str,
    secrets: Sequence[str],
    window_seconds: int = WINDOW_SECONDS_DEFAULT,
    actor: str = "operator",
) -> Hook:
    """Give a source a webhook, in place of the one that it had; without secrets, those of before stay valid.

    Services follow within `KEY_SECONDS_MAX`. Faults: `unknown_source` (404), `hook_needs_server`, `invalid_window`, those of
    `read_hook_mapping`, `check_mapping` and `check_secrets`.
    """
    _check_window(window_seconds)
    for part in read_hook_mapping("mapping", mapping.encode()):
        check_mapping(part, context.policy)
    now = context.clock.now()
    with context.database.transaction() as tx:
        source = _server_source(tx, name)
        before = hook_store.hook_for_update(tx, source.source_id)
        kept = opened_secrets(tx, context, [before])[before.key_id] if before is not None and not secrets else ()
        valid = check_secrets(scheme, secrets or kept)
        key_id, sealed = seal_secrets(tx, context, valid)
        hook = Hook(
            source_id=source.source_id,
            scheme=scheme,
            mapping=mapping,
            window_seconds=window_seconds,
            secrets=len(valid),
            created_at=now if before is None else before.hook.created_at,
            changed_at=now,
        )
        _put(tx, context, StoredHook(hook, key_id, sealed), before=before)
        _log(tx, "source.hook_set", source.source_id, actor=actor, now=now)
    return hook


def replace_secret(context: Context, name: str, secret: str, *, actor: str = "operator") -> Hook:
    """Add a secret to the webhook of a source; the one that was valid stays so until `end_previous_secret`.

    An earlier one ends. Faults: `unknown_source` and `unknown_hook` (404), those of `check_secrets`.
    """
    return _change_secrets(context, name, secret, actor=actor)


def end_previous_secret(context: Context, name: str, *, actor: str = "operator") -> Hook:
    """End the secret that was replaced. Faults: `unknown_source` and `unknown_hook` (404), `no_previous_secret` (409)."""
    return _change_secrets(context, name, None, actor=actor)


def delete_hook(context: Context, name: str, *, actor: str = "operator") -> None:
    """Delete the webhook of a source and shred its secrets. Faults: `unknown_source` and `unknown_hook` (404).

    Deliveries are refused in every service within `KEY_SECONDS_MAX`.
    """
    now = context.clock.now()
    with context.database.transaction() as tx:
        source = _source(tx, name)
        key_id = hook_store.delete_hook(tx, source.source_id)
        if key_id is None:
            raise unknown_hook()
        context.vault.subject_keys.throw_away(tx, [key_id])
        _log(tx, "source.hook_deleted", source.source_id, actor=actor, now=now)


def show_hook(context: Context, name: str) -> Hook:
    """The webhook of a source, without its secrets. Faults: `unknown_source` and `unknown_hook` (404)."""
    with context.database.transaction(read_only=True) as tx:
        hook = hook_store.hook_of(tx, _source(tx, name).source_id)
    if hook is None:
        raise unknown_hook()
    return hook


def unknown_hook() -> Fault:
    """The fault for a source that has no webhook."""
    return Fault(
        "unknown_hook",
        "The source has no webhook",
        "`cdp source hook set NAME` gives it one.",
        status=404,
    )


def _change_secrets(context: Context, name: str, added: str | None, *, actor: str) -> Hook:
    """The webhook with one more secret, or without the earlier one."""
    now = context.clock.now()
    with context.database.transaction() as tx:
        source = _source(tx, name)
        before = hook_store.hook_for_update(tx, source.source_id)
        if before is None:
            raise unknown_hook()
        present = opened_secrets(tx, context, [before])[before.key_id]
        if added is None and len(present) == 1:
            raise Fault(
                "no_previous_secret", "There is no earlier secret", "Only one secret is valid already.", status=409
            )
        wanted = present[:1] if added is None else (added, *present)
        valid = check_secrets(before.hook.scheme, tuple(dict.fromkeys(wanted))[:SECRETS_MAX])
        key_id, sealed = seal_secrets(tx, context, valid)
        hook = replace(before.hook, secrets=len(valid), changed_at=now)
        _put(tx, context, StoredHook(hook, key_id, sealed), before=before)
        _log(tx, "source.hook_secret_changed", source.source_id, actor=actor, now=now)
    return hook


def _put(tx: Transaction, context: Context, stored: StoredHook, *, before: StoredHook | None) -> None:
    """Store a webhook; the secrets of before can be opened no longer, in no backup of a later epoch either."""
    hook_store.put_hook(tx, stored)
    if before is not None:
        context.vault.subject_keys.throw_away(tx, [before.key_id])


def _source(tx: Transaction, name: str) -> Source:
    source = source_store.source_named(tx, name)
    if source is None:
        raise unknown_source()
    return source


def _server_source(tx: Transaction, name: str) -> Source:
    source = _source(tx, name)
    if source.kind is not SourceKind.SERVER:
        raise Fault(
            "hook_needs_server",
            "A browser source cannot have a webhook",
            "A webhook speaks for people as a server does: create a source with `--kind server` for it.",
            status=422,
        )
    return source


def _check_window(seconds: int) -> None:
    if not WINDOW_SECONDS_MIN <= seconds <= WINDOW_SECONDS_MAX:
        raise Fault(
            "invalid_window",
            "The replay window is invalid",
            f"Give {WINDOW_SECONDS_MIN} to {WINDOW_SECONDS_MAX:,} seconds.",
            status=422,
        )


def _log(tx: Transaction, kind: str, source_id: SourceId, *, actor: str, now: datetime) -> None:
    fact_store.append(tx, {"kind": kind, "actor": actor, "source": int(source_id)}, now)
