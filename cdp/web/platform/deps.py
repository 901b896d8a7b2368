"""Dependencies of every route: the context and the current instant."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import Depends, Request

from cdp.access.model import Role
from cdp.flows.context import Context
from cdp.flows.operations.startup import PolicyWatcher
from cdp.web.platform.auth import CALLER, Caller
from cdp.web.platform.errors import PROBLEM_TYPE

PROBLEM_REFERENCE: Final = {"$ref": "#/components/schemas/Problem"}
_ALWAYS: Final = (400, 401, 403, 413, 422, 429, 500, 503)
_MEANINGS: Final = {
    400: "The request cannot be read",
    401: "No token, or an invalid one",
    403: "The token's role may not do this",
    404: "Not found",
    409: "Not possible in the present state",
    410: "No longer available",
    413: "The body is too large",
    422: "A value is not allowed; the problem names the field and what is expected",
    429: "Too many wrong tokens, or too many people were looked up; Retry-After is the number of seconds to wait",
    500: "An internal error, with an incident id",
    503: "The database is not available right now; Retry-After says when to try again",
}


def context_for(request: Request, role: Role | None) -> Context:
    """The context under the policy in force, with the database of the part that serves a role."""
    watchers: Mapping[Role, PolicyWatcher] = request.app.state.part_watchers
    watcher: PolicyWatcher = request.app.state.policy_watcher
    return (watcher if role is None else watchers.get(role, watcher)).context


def context(request: Request) -> Context:
    """The context of the caller's role; that of the service for requests without a caller, such as those of public pages.

    A source may do one thing that privacy staff do, record consents, over their part.
    """
    caller: Caller | None = getattr(request.state, CALLER, None)
    if caller is None:
        return context_for(request, None)
    return context_for(request, Role.PRIVACY if caller.source is not None else caller.role)


def present(request: Request) -> datetime:
    """The current instant."""
    return context(request).clock.now()


InContext = Annotated[Context, Depends(context)]
Now = Annotated[datetime, Depends(present)]


def problems(*more: int) -> dict[int | str, dict[str, Any]]:
    """The documented error responses of a route: those of every route, and `more`."""
    return {
        status: {"description": _MEANINGS[status], "content": {PROBLEM_TYPE: {"schema": PROBLEM_REFERENCE}}}
        for status in sorted({*_ALWAYS, *more})
    }
