"""Problem documents (RFC 9457): every error response, in one shape, without personal data."""

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from cdp.kit.errors import Fault, lacks_resources
from cdp.kit.ids import encode_id, new_id

PROBLEM_TYPE: Final = "application/problem+json"
_FIELD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,40}")
_LISTED_MAX: Final = 10
_RETRY_AFTER_SECONDS: Final = 5
# Messages of the validator that would repeat the values that were sent.
_REPEATING: Final = frozenset({"union_tag_invalid", "value_error", "assertion_error"})
_log = logging.getLogger(__name__)


class Problem(BaseModel):
    """What is wrong and what is expected; `code` is stable. `position`, `message` and `hint` point into the text of a segment."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=["about:blank"])
    title: str
    status: int
    detail: str
    code: str = Field(examples=["unknown_profile"])


class ProblemResponse(Response):
    """A response with a problem document."""

    media_type = PROBLEM_TYPE

    def __init__(
        self,
        status: int,
        code: str,
        title: str,
        *,
        detail: str,
        extra: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        document = {
            **(extra or {}),
            "type": "about:blank",
            "title": title,
            "status": status,
            "detail": detail or title,
            "code": code,
        }
        super().__init__(
            json.dumps(document, ensure_ascii=False, default=str).encode(), status, headers=dict(headers or {})
        )


RespondWith = Callable[[Request, ProblemResponse], Response]
"""How a problem is presented to the sender of this request."""


def problem_of(fault: Fault) -> ProblemResponse:
    """The response to a fault. What its text says to operators is logged and not sent."""
    headers = {} if fault.retry_after_seconds is None else {"Retry-After": str(fault.retry_after_seconds)}
    if fault.status == 500:
        return internal_error(fault)
    if fault.is_for_operators:
        _log.warning("request_not_completed", exc_info=fault)
    return ProblemResponse(
        fault.status, fault.code, fault.title, detail=fault.caller_detail, extra=fault.extra, headers=headers
    )


def internal_error(error: BaseException) -> ProblemResponse:
    """500 with an incident id, under which the log holds the location of the error; 503 if the process lacks something."""
    incident = new_id()
    _log.error("request_failed", exc_info=error, extra={"record_id": encode_id("inc", incident)})
    if lacks_resources(error):
        return ProblemResponse(
            503,
            "service_unavailable",
            "The service lacks a file, a connection, memory or a thread",
            detail="The request was not completed; send it again after the given time. The log has details under the incident id.",
            extra={"incident": encode_id("inc", incident)},
            headers={"Retry-After": str(_RETRY_AFTER_SECONDS)},
        )
    return ProblemResponse(
        500,
        "internal_error",
        "Internal error",
        detail="The request was not completed. Changes that it committed before the error remain. The log has details under the incident id.",
        extra={"incident": encode_id("inc", incident)},
    )


def unauthorized(detail: str) -> ProblemResponse:
    """401: no token, or an invalid one."""
    return ProblemResponse(
        401,
        "unauthorized",
        "A valid token is required",
        detail=detail,
        headers={"WWW-Authenticate": 'Bearer realm="cdp"'},
    )


def install(app: FastAPI, respond: RespondWith) -> None:
    """Turn every fault, HTTP error and failed validation into a problem document, presented by `respond`."""

    @app.exception_handler(Fault)
    async def _fault(request: Request, fault: Fault) -> Response:
        return respond(request, problem_of(fault))

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        return respond(request, invalid_request(error.errors()))

    @app.exception_handler(Exception)
    async def _broken(request: Request, error: Exception) -> Response:
        return respond(request, internal_error(error))

    @app.exception_handler(HTTPException)
    async def _refused(request: Request, error: HTTPException) -> Response:
        return respond(request, _of_status(error))


def invalid_request(errors: Sequence[Any]) -> ProblemResponse:
    """422, or 400 for invalid JSON, naming the fields and what is expected, never the values that were sent."""
    if any(error["type"] == "json_invalid" for error in errors):
        return ProblemResponse(400, "invalid_json", "The body is not JSON", detail="Send one JSON object in UTF-8.")
    listed = [{"where": _where(error), "message": _message(error)} for error in errors[:_LISTED_MAX]]
    detail = "; ".join(f"{problem['where']}: {problem['message']}" for problem in listed)
    return ProblemResponse(422, "invalid_request", "The request is invalid", detail=detail, extra={"errors": listed})


def _where(error: Mapping[str, Any]) -> str:
    """The path of a problem. Only names that could be field names are repeated."""
    return ".".join(str(part) if isinstance(part, int) or _FIELD.fullmatch(str(part)) else "…" for part in error["loc"])


def _message(error: Mapping[str, Any]) -> str:
    if error["type"] == "extra_forbidden":
        return "unknown field"
    if error["type"].startswith(("datetime", "timezone")):
        return "give an instant with its zone, such as 2026-01-31T12:00:00Z"
    if error["type"] in _REPEATING:
        return "the value is not allowed here"
    text = str(error["msg"])
    return text[:1].lower() + text[1:]


def _of_status(error: HTTPException) -> ProblemResponse:
    code, title, detail = TITLES.get(error.status_code, ("", "", ""))
    if not code:
        phrase = HTTPStatus(error.status_code).phrase
        code, title, detail = phrase.lower().replace(" ", "_").replace("-", "_"), phrase, phrase
    return ProblemResponse(error.status_code, code, title, detail=detail, headers=error.headers)


TITLES: Final = {
    400: ("invalid_body", "The body cannot be read", "Send one JSON object in UTF-8."),
    404: ("unknown_path", "There is no such path", "GET /openapi.json lists every path."),
    405: (
        "method_not_allowed",
        "Method not allowed for this path",
        "GET /openapi.json lists the methods of every path.",
    ),
    408: ("request_timeout", "The body did not arrive in time", "Send the request again."),
    413: ("body_too_large", "The body is too large", "A request has at most one megabyte."),
}
