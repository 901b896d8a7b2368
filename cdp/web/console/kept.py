"""The page of what is kept although nobody uses it: legal holds and severed events, read for a stated reason."""

from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Form, Response

from cdp.access.model import Role
from cdp.rights.model import ReadReason
from cdp.web.api import kept as routes
from cdp.web.console.page import page
from cdp.web.console.session import CONSOLE_PATH, InContext, Session, for_roles, submitted_by
from cdp.web.platform.deps import Now

router = APIRouter(prefix=f"{CONSOLE_PATH}/kept", include_in_schema=False)

_MAY_READ = (Role.PRIVACY, Role.AUDITOR)
Sender = Annotated[Session, Depends(submitted_by(*_MAY_READ))]


@dataclass(frozen=True, slots=True)
class ReadForm:
    """The class to read, why, and how many rows at most."""

    retention_class: Annotated[str, Form(max_length=60)]
    reason: Annotated[
        Literal["tax_audit", "authority_order", "legal_claim", "subject_inquiry", "internal_control"], Form()
    ]
    limit: Annotated[int, Form(ge=1, le=1000)] = 100

    def body(self) -> routes.KeptInput:
        """The form as the API takes it."""
        return routes.KeptInput(retention_class=self.retention_class, reason=self.reason, limit=self.limit)


@router.get("")
def counts(context: InContext, session: Annotated[Session, Depends(for_roles(*_MAY_READ))]) -> Response:
    """How many legal holds there are, and the forms that read what is kept."""
    return _kept(context, session)


@router.post("/holds")
def holds(context: InContext, now: Now, session: Sender, *, form: Annotated[ReadForm, Depends(ReadForm)]) -> Response:
    """The opened legal holds of a class."""
    found = routes.open_holds(form.body(), context, now, caller=session.caller).holds
    return _kept(context, session, asked=form, holds=found)


@router.post("/severed")
def severed(context: InContext, now: Now, session: Sender, *, form: Annotated[ReadForm, Depends(ReadForm)]) -> Response:
    """What remains of severed events of a class."""
    found = routes.severed(form.body(), context, now, caller=session.caller).severed
    return _kept(context, session, asked=form, severed=found)


def _kept(
    context: InContext,
    session: Session,
    *,
    asked: ReadForm | None = None,
    holds: list[routes.HoldShown] | None = None,
    severed: list[routes.SeveredShown] | None = None,
) -> Response:
    classes = context.policy.retention.classes
    return page(
        "kept",
        session,
        counts=routes.holds(context, session.caller).holds,
        classes=list(classes),
        reasons=[reason.value for reason in ReadReason],
        asked=asked,
        holds=holds,
        severed=severed,
    )
