"""What limits readers: the purposes of their role, and how many single people they look up."""

import math
from collections.abc import Iterable

from cdp.access.model import TokenId
from cdp.access.store import lookups as lookup_store
from cdp.flows.context import Context
from cdp.kit.errors import Fault
from cdp.kit.wording import counted


def check_reads(context: Context, purposes: Iterable[str], *, actor: str) -> None:
    """Check that a reader role reads people for all of these purposes. Raises the fault `purpose_not_readable` (403).

    Commands and staff read segments as marketers do.
    """
    role = context.policy.readers.role_of(actor)
    readable = context.policy.purposes_read_by(role)
    others = sorted(set(purposes) - readable)
    if others:
        allowed = f"It reads {', '.join(sorted(readable))}." if readable else "It reads none."
        raise Fault(
            "purpose_not_readable",
            "This role does not read people for this purpose",
            f"The role {role} does not read {', '.join(others)}. {allowed} policies/readers.yaml defines this.",
            status=403,
        )


def count_lookup(context: Context, token: int | None, *, actor: str) -> None:
    """Count the look-up of one person by a token of a reader role, found or not. Raises the fault `too_many_lookups` (429).

    Commands have no token and are not limited: who runs them holds the database.
    """
    if token is None:
        return
    now = context.clock.now()
    limit = context.policy.readers.role(context.policy.readers.role_of(actor)).lookups_per_hour
    with context.database.transaction() as tx:
        lookups, ends_at = lookup_store.count_lookup(tx, TokenId(token), now)
    if lookups > limit:
        raise Fault(
            "too_many_lookups",
            "Too many people were looked up",
            f"A token of this role may look up {counted(limit, 'person', 'people')} in an hour; lists are not limited. "
            "policies/readers.yaml defines this.",
            status=429,
            retry_after_seconds=max(1, math.ceil((ends_at - now).total_seconds())),
        )
