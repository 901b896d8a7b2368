"""The page that withdraws a consent by the token of its receipt: no sign-in, one button, no script.

Opening it changes nothing, so that a program which follows links in a mailbox withdraws nothing. A person who pressed
the button gets the receipt of the withdrawal. A program that asks for JSON gets it in the answer.
"""

import json
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request, Response

from cdp.consent.receipt import WITHDRAWAL_PATH
from cdp.flows.consent import receipts
from cdp.kit.errors import Fault
from cdp.web.center.rendering import HTML, PAGES
from cdp.web.platform.deps import InContext
from cdp.web.platform.errors import problem_of

router = APIRouter(prefix=WITHDRAWAL_PATH, include_in_schema=False)

Token = Annotated[str, Path(max_length=200)]
_JSON: Final = "application/json"
_NO_STORE: Final = {"Cache-Control": "no-store"}


@router.get("/{token}")
def ask(token: Token, context: InContext) -> Response:
    """What the token withdraws, and the button that does it."""
    try:
        found = receipts.withdrawable(context, token)
    except Fault as fault:
        return _refused(fault)
    return _page("withdraw.html", token=token, consent=found)


@router.post("/{token}")
def withdraw(token: Token, context: InContext, request: Request) -> Response:
    """Withdraw, and say so: as a page, or for `Accept: application/json` as an object with the receipt."""
    wants_json = _JSON in request.headers.get("accept", "")
    try:
        consent, done = receipts.withdrawable(context, token), receipts.withdraw(context, token)
    except Fault as fault:
        if wants_json or fault.status != 404:
            return problem_of(fault)
        return _refused(fault)
    if wants_json:
        return _json({"withdrawn": done.is_withdrawn, "receipt": done.receipt})
    return _page("withdrawn.html", token=token, consent=consent, done=done)


@router.post("/{token}/receipt")
def download(token: Token, context: InContext) -> Response:
    """The receipt of the withdrawal as a file, or the page where none can be issued; it withdraws too, if that has not been done."""
    try:
        consent, done = receipts.withdrawable(context, token), receipts.withdraw(context, token)
    except Fault as fault:
        return problem_of(fault)
    if done.receipt is None:
        return _page("withdrawn.html", token=token, consent=consent, done=done)
    answer = _json(done.receipt)
    answer.headers["Content-Disposition"] = 'attachment; filename="withdrawal-receipt.json"'
    return answer


def _refused(fault: Fault) -> Response:
    return _page("withdraw_unknown.html", status=fault.status, title=fault.title, detail=fault.caller_detail)


def _page(template: str, *, status: int = 200, **values: Any) -> Response:
    return Response(PAGES.get_template(template).render(**values), status, media_type=HTML, headers=_NO_STORE)


def _json(value: Any) -> Response:
    text = json.dumps(value, ensure_ascii=False, indent=2) + "\n"
    return Response(text, media_type=_JSON, headers=_NO_STORE)
