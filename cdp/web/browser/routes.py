"""The browser client `cdp.js`, for the pages of any site of the operator."""

from hashlib import sha256
from importlib.resources import files
from typing import Annotated, Final

from fastapi import APIRouter, Header, Response

CLIENT: Final = files(__package__).joinpath("cdp.js").read_bytes()
_HEADERS: Final = {
    "ETag": f'"{sha256(CLIENT).hexdigest()[:32]}"',
    "Cache-Control": "public, max-age=3600",
    # Pages of other hosts load it, also with `integrity`, for which browsers ask as for any cross-origin request.
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
}

router = APIRouter(include_in_schema=False)


@router.get("/cdp.js", response_class=Response)
def client(if_none_match: Annotated[str | None, Header()] = None) -> Response:
    """The script, the same for every site: its settings are attributes of the element that loads it."""
    if if_none_match == _HEADERS["ETag"]:
        return Response(status_code=304, headers=_HEADERS)
    return Response(CLIENT, media_type="text/javascript", headers=_HEADERS)
