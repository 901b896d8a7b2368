"""Routes of the webhooks of sources; deliveries themselves are received by the ingest endpoint."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, status
from pydantic import BaseModel, Field, StrictBool, StrictInt, StringConstraints

from cdp.flows.hooks import manage
from cdp.sources.hook import (
    MAPPING_BYTES_MAX,
    SECRETS_MAX,
    WINDOW_SECONDS_DEFAULT,
    WINDOW_SECONDS_MAX,
    WINDOW_SECONDS_MIN,
    Hook,
    SignatureScheme,
)
from cdp.web.api.access import IsAdmin, Name
from cdp.web.api.schemas import RequestBody
from cdp.web.platform.deps import InContext, problems

router = APIRouter(prefix="/api/v1", tags=["access"])

_Secret = Annotated[str, StringConstraints(min_length=1, max_length=512)]


class HookInput(RequestBody):
    """The webhook of a source: how deliveries are signed, and the text of the mapping file that makes messages of them."""

    signature: SignatureScheme = Field(examples=["shopify"], strict=False)
    mapping: str = Field(min_length=1, max_length=MAPPING_BYTES_MAX, description="The text of a mapping file (YAML).")
    secrets: list[_Secret] = Field(
        default_factory=list,
        max_length=SECRETS_MAX,
        description="The secrets of the platform, the present one first; without any, those of before stay valid.",
    )
    window_seconds: StrictInt = Field(
        default=WINDOW_SECONDS_DEFAULT,
        ge=WINDOW_SECONDS_MIN,
        le=WINDOW_SECONDS_MAX,
        description="For how long before and after its signed time a delivery is accepted.",
    )


class HookSecretInput(RequestBody):
    """Either a new secret, or the end of the one that it replaced."""

    secret: _Secret | None = None
    end_previous: StrictBool = False


class HookShown(BaseModel):
    """The webhook of a source; `secrets` is how many are valid. They are never shown."""

    source: str
    path: str
    signature: str
    secrets: int
    window_seconds: int
    mapping: str
    created_at: datetime
    changed_at: datetime


@router.put("/sources/{name}/hook", responses=problems(404), operation_id="set_source_hook")
def set_source_hook(
    name: Annotated[Name, Path()], body: HookInput, *, context: InContext, caller: IsAdmin
) -> HookShown:
    """Let a platform deliver to a source by webhook, in place of the webhook that it had. Services follow within a second."""
    found = manage.set_hook(
        context,
        name,
        body.signature,
        mapping=body.mapping,
        secrets=body.secrets,
        window_seconds=body.window_seconds,
        actor=caller.actor,
    )
    return _shown(name, found)


@router.get("/sources/{name}/hook", responses=problems(404), operation_id="get_source_hook")
def get_source_hook(name: Annotated[Name, Path()], context: InContext, _caller: IsAdmin) -> HookShown:
    """Get the webhook of a source, without its secrets."""
    return _shown(name, manage.show_hook(context, name))


@router.post("/sources/{name}/hook/rotate", responses=problems(404, 409), operation_id="rotate_hook_secret")
def rotate_hook_secret(
    name: Annotated[Name, Path()], body: HookSecretInput, *, context: InContext, caller: IsAdmin
) -> HookShown:
    """Replace the secret of a webhook. The one of before stays valid until a request with `end_previous`."""
    if body.end_previous:
        return _shown(name, manage.end_previous_secret(context, name, actor=caller.actor))
    return _shown(name, manage.replace_secret(context, name, body.secret or "", actor=caller.actor))


@router.delete(
    "/sources/{name}/hook",
    responses=problems(404),
    operation_id="delete_source_hook",
    status_code=status.HTTP_204_NO_CONTENT,
)
def delete_source_hook(name: Annotated[Name, Path()], context: InContext, caller: IsAdmin) -> None:
    """Delete the webhook of a source, and destroy its secrets. Deliveries are refused within a second."""
    manage.delete_hook(context, name, actor=caller.actor)


def _shown(name: str, found: Hook) -> HookShown:
    return HookShown(
        source=name,
        path=f"/v1/hook/{name}",
        signature=found.scheme.value,
        secrets=found.secrets,
        window_seconds=found.window_seconds,
        mapping=found.mapping,
        created_at=found.created_at,
        changed_at=found.changed_at,
    )
