"""Secrets of webhooks, sealed under a key of their own."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from cdp.flows.context import Context
from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.kit.ids import new_id
from cdp.sources.hook import SECRETS_MAX, SignatureScheme, UnusableSecret, secret_key
from cdp.sources.store.hooks import StoredHook
from cdp.vault.seal import SealedColumn
from cdp.vault.vault import Item

_PLACE: Final = SealedColumn("sources.hook", "sealed")
_decode: Final = msgspec.json.Decoder(list[str]).decode


def check_secrets(scheme: SignatureScheme, secrets: Sequence[str]) -> tuple[str, ...]:
    """The secrets, each once. Faults: `secret_missing`, `too_many_secrets`, `unusable_secret`."""
    given = tuple(dict.fromkeys(secrets))
    if not given:
        raise Fault(
            "secret_missing", "There is no secret", "Give the secret with which the platform signs.", status=422
        )
    if len(given) > SECRETS_MAX:
        raise Fault(
            "too_many_secrets",
            "There are too many secrets",
            "At most two are valid at once: the present one and the one that it replaces.",
            status=422,
        )
    for secret in given:
        try:
            secret_key(scheme, secret)
        except UnusableSecret as unusable:
            raise Fault("unusable_secret", "The secret cannot be used", str(unusable), status=422) from None
    return given


def seal_secrets(tx: Transaction, context: Context, secrets: Sequence[str]) -> tuple[int, bytes]:
    """A new key, and the secrets sealed under it."""
    key_id = new_id()
    keys = context.vault.subject_keys.create(tx, [key_id], is_cached=False)
    sealed = context.vault.seal_many(keys, _PLACE, [Item(key_id, key_id, msgspec.json.encode(list(secrets)))])
    return key_id, sealed[0]


def opened_secrets(tx: Transaction, context: Context, stored: Sequence[StoredHook]) -> Mapping[int, tuple[str, ...]]:
    """The secrets by the id of their key. One statement."""
    keys = context.vault.subject_keys.keys_once(tx, [hook.key_id for hook in stored])
    opened = context.vault.open_many(keys, _PLACE, [Item(hook.key_id, hook.key_id, hook.sealed) for hook in stored])
    return {
        hook.key_id: tuple(_decode(secrets))
        for hook, secrets in zip(stored, opened, strict=True)
        if secrets is not None
    }
