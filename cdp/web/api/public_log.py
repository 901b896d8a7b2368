"""The public log: checkpoint and tiles in the formats of C2SP tlog-tiles, for independent verification."""

from typing import Annotated, Final

from fastapi import APIRouter, Path, Response

from cdp.flows.audit import report
from cdp.web.platform.deps import InContext, problems

router = APIRouter(prefix="/audit/log", tags=["audit log"])

_FOR_EVER: Final = {"Cache-Control": "public, max-age=31536000, immutable"}
_FRESH: Final = {"Cache-Control": "no-cache"}


@router.get(
    "/checkpoint",
    response_class=Response,
    responses={200: {"description": "A signed note", "content": {"text/plain": {}}}, **problems(404)},
    operation_id="log_checkpoint",
)
def checkpoint(context: InContext) -> Response:
    """Return the newest signed checkpoint."""
    return Response(report.public_checkpoint(context.database), media_type="text/plain", headers=_FRESH)


@router.get(
    "/key",
    response_class=Response,
    responses={200: {"description": "A verifier key (vkey)", "content": {"text/plain": {}}}, **problems(404)},
    operation_id="log_key",
)
def key(context: InContext) -> Response:
    """Return the key that verifies checkpoints. Obtain and keep it separately: a key delivered with a receipt proves little."""
    return Response(report.public_key(context) + "\n", media_type="text/plain", headers=_FRESH)


@router.get(
    "/tile/{path:path}",
    response_class=Response,
    responses={200: {"description": "Hashes or entries", "content": {"application/octet-stream": {}}}, **problems(404)},
    operation_id="log_tile",
)
def tile(
    path: Annotated[str, Path(description="`<L>/<N>`, `<L>/<N>.p/<W>` or `entries/<N>`, as in C2SP tlog-tiles.")],
    context: InContext,
) -> Response:
    """Return a tile of hashes, or a bundle of entries."""
    return Response(
        report.public_tile(context.database, path), media_type="application/octet-stream", headers=_FOR_EVER
    )
