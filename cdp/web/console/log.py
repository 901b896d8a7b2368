"""The auditor's page: whether the log is intact, its figures, and its entries."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from cdp.access.model import Role
from cdp.audit.fact import KINDS
from cdp.web.api import audit as routes
from cdp.web.console.page import page
from cdp.web.console.session import CONSOLE_PATH, InContext, Session, for_roles
from cdp.web.platform.deps import Now

router = APIRouter(prefix=f"{CONSOLE_PATH}/log", include_in_schema=False)

_SHOWN = 50


@router.get("")
def log(
    context: InContext,
    now: Now,
    session: Annotated[Session, Depends(for_roles(Role.AUDITOR))],
    *,
    kind: Annotated[str, Query(max_length=60)] = "",
    before: Annotated[int | None, Query(ge=1, le=2**62)] = None,
) -> Response:
    """Figures recomputed from facts that were checked against the log, and the newest entries."""
    wanted = [kind] if kind in KINDS else None
    return page(
        "log",
        session,
        report=routes.report(context, now, session.caller),
        found=routes.entries(context, now, session.caller, kind=wanted, before=before, limit=_SHOWN),
        kinds=sorted(KINDS),
        kind=kind,
    )
