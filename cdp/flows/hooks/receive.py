"""The use case of receiving: which webhooks there are, and what a request to one of them delivers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache

from cdp.flows.context import Context
from cdp.flows.hooks.delivery import Delivery, DeliveryReader
from cdp.flows.hooks.mapping import HookMapping, read_hook_mapping
from cdp.flows.hooks.rows import TooManyRows
from cdp.flows.hooks.secrets import opened_secrets
from cdp.flows.imports.messages import check_mapping
from cdp.kit.errors import Fault
from cdp.sources.hook import WINDOW_SECONDS_DEFAULT, SignatureScheme, secret_key
from cdp.sources.model import Source
from cdp.sources.store import hooks as hook_store
from cdp.wire.document import read_document
from cdp.wire.limits import Unreadable
from cdp.wire.message import Invalid, Message
from cdp.wire.signatures import SignedRequest, VerifiedSender, verify


@dataclass(frozen=True, slots=True)
class ActiveHook:
    """A webhook that receives. Without a `reader`, its mapping does not fit the policy in force: `fault` says why."""

    source: Source
    scheme: SignatureScheme
    keys: tuple[bytes, ...] = field(repr=False)
    window_seconds: int
    reader: DeliveryReader | None
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class Received:
    """What a delivery states, to be stored together. `is_unread` marks one that cannot be read at all; it is counted."""

    messages: list[Message | Invalid]
    is_unread: bool = False


def active_hooks(context: Context) -> Mapping[str, ActiveHook]:
    """Every webhook of a source that is not disabled, by the name of the source."""
    with context.database.transaction(read_only=True) as tx:
        found = hook_store.active_hooks(tx)
        secrets = opened_secrets(tx, context, [stored for _, stored in found])
    hooks = {}
    for source, stored in found:
        keys = tuple(secret_key(stored.hook.scheme, secret) for secret in secrets.get(stored.key_id, ()))
        reader, fault = _reader(context, source, stored.hook.scheme, mapping=stored.hook.mapping)
        hooks[source.name] = ActiveHook(
            source, stored.hook.scheme, keys, stored.hook.window_seconds, reader=reader, fault=fault
        )
    return hooks


def verify_request(hook: ActiveHook | None, request: SignedRequest, now: datetime) -> VerifiedSender | None:
    """Whether the sender of a request knows a secret of the webhook; without one, the same work is done for nothing."""
    if hook is None:
        verify(SignatureScheme.SHOPIFY, (), request, window_seconds=WINDOW_SECONDS_DEFAULT, now=now)
        return None
    return verify(hook.scheme, hook.keys, request, window_seconds=hook.window_seconds, now=now)


def read_request(hook: ActiveHook, request: SignedRequest, verified: VerifiedSender, *, now: datetime) -> Received:
    """The messages of a request whose sender is known. Raises the fault of a webhook that cannot be used now."""
    if hook.reader is None:
        raise hook.fault or _unusable("")
    content_type = request.headers.get(b"content-type", b"")
    try:
        document = read_document(request.body, content_type)
    except Unreadable as unreadable:
        bare = Delivery(request.headers, request.body, None, verified)
        return Received([hook.reader.unread(bare, unreadable.reason.value)], is_unread=True)
    delivery = Delivery(request.headers, request.body, document, verified)
    try:
        return Received([row.message for row in hook.reader.read(delivery, now)])
    except TooManyRows:
        return Received([hook.reader.unread(delivery, "delivery_too_large")], is_unread=True)


def _reader(
    context: Context, source: Source, scheme: SignatureScheme, *, mapping: str
) -> tuple[DeliveryReader | None, Fault | None]:
    try:
        parts = _parsed(mapping)
        for part in parts:
            check_mapping(part, context.policy)
    except Fault as fault:
        return None, _unusable(f"{source.name}: {fault.detail}")
    return DeliveryReader(source, scheme, parts), None


@lru_cache(maxsize=256)
def _parsed(text: str) -> tuple[HookMapping, ...]:
    return read_hook_mapping("mapping", text.encode())


def _unusable(detail: str) -> Fault:
    return Fault(
        "hook_unusable",
        "The mapping of the webhook does not fit the policy",
        f"{detail} Correct it with `cdp source hook set`; until then, deliveries are refused and the platform repeats them.",
        status=503,
        retry_after_seconds=60,
        caller_detail="Nothing of this delivery was stored. Send it again after the given time.",
    )
