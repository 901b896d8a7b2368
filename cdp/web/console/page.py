"""Page rendering: templates that escape every value, and problems as pages instead of problem documents."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from fastapi import Request, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import ValidationError

from cdp.access.model import Role
from cdp.flows.operations.meanings import value_text
from cdp.policy.controller import NOT_NAMED
from cdp.web.console.session import CONSOLE_PATH, COOKIE, Session, clear_session_cookie
from cdp.web.console.sign_in_form import SignInForm
from cdp.web.platform.errors import ProblemResponse, internal_error, invalid_request

_FOLDER: Final = Path(__file__).parent / "templates"
_TYPE: Final = "text/html; charset=utf-8"
_KEPT_HEADERS: Final = ("retry-after", "allow")

MENU: Final = (
    (f"{CONSOLE_PATH}/messages", "Messages", "the outcome of every message", frozenset({Role.ADMIN, Role.AUDITOR})),
    (f"{CONSOLE_PATH}/segments", "Segments", "groups of people, by purpose and consent", frozenset({Role.MARKETER})),
    (
        f"{CONSOLE_PATH}/people",
        "People",
        "the data held about one person",
        frozenset({Role.PRIVACY, Role.ADMIN, Role.MARKETER}),
    ),
    (
        f"{CONSOLE_PATH}/requests",
        "Data requests",
        "requests from data subjects and their deadlines",
        frozenset({Role.PRIVACY}),
    ),
    (
        f"{CONSOLE_PATH}/readers",
        "Readers",
        "who looked at a person",
        frozenset({Role.PRIVACY, Role.AUDITOR}),
    ),
    (
        f"{CONSOLE_PATH}/kept",
        "Legal holds",
        "what a law requires to keep, and what remains of severed events",
        frozenset({Role.PRIVACY, Role.AUDITOR}),
    ),
    (f"{CONSOLE_PATH}/log", "Audit log", "recorded actions, and whether the log is intact", frozenset({Role.AUDITOR})),
)
"""Path, name, description, and the roles that may open it."""


def _number(value: float) -> str:
    return f"{value:,}"


def _instant(value: datetime | None) -> str:
    return "–" if value is None else f"{value:%Y-%m-%d %H:%M} UTC"


def _spaced(value: str) -> str:
    return value.replace("_", " ")


_PAGES: Final = Environment(
    loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_PAGES.filters |= {"number": _number, "instant": _instant, "words": _spaced, "plain": value_text}
_PAGES.globals["not_named"] = NOT_NAMED

STYLE: Final = (_FOLDER / "console.css").read_text(encoding="utf-8")


def page(name: str, session: Session | None, *, status: int = 200, **values: Any) -> Response:
    """Render a template with `values`; browsers must not store the page."""
    menu = [] if session is None else [item for item in MENU if session.role in item[3]]
    text = _PAGES.get_template(f"{name}.html").render(
        session=session, menu=menu, root=CONSOLE_PATH, current=name, **values
    )
    return Response(text, status, media_type=_TYPE, headers={"Cache-Control": "no-store"})


def refuse(request: Request, problem: ProblemResponse) -> Response:
    """A problem as a page below /console, elsewhere as a problem document."""
    path = request.url.path
    if path != CONSOLE_PATH and not path.startswith(f"{CONSOLE_PATH}/"):
        return problem
    session: Session | None = getattr(request.state, "session", None)
    shown = page("problem", session, status=problem.status_code, problem=json.loads(bytes(problem.body)))
    shown.headers.update({name: problem.headers[name] for name in _KEPT_HEADERS if name in problem.headers})
    return shown


def show_invalid(request: Request, error: Exception) -> Response:
    """422 for a form whose values fail validation; elsewhere a validation error is an internal error."""
    if not isinstance(error, ValidationError) or not request.url.path.startswith(f"{CONSOLE_PATH}/"):
        return refuse(request, internal_error(error))
    return refuse(request, invalid_request(error.errors()))


def login_page(request: Request, refused: str | None = None, *, status: int = 401) -> Response:
    """The page that asks for a token; `refused` is the message about a token that was refused."""
    form = SignInForm(request)
    answer = page("login", None, status=status, refused=refused, form_key=form.key)
    form.keep(answer)
    return answer


def show_login(request: Request, _error: Exception) -> Response:
    """The login page, for requests without a session; a token that is no longer valid is deleted."""
    answer = login_page(request)
    if COOKIE in request.cookies:
        clear_session_cookie(answer, request)
    return answer
