"""How pages are made: templates that escape every value, and refusals as pages instead of problem documents."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from fastapi import Request, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import ValidationError

from cdp.access.model import Role
from cdp.flows.operations.meanings import value_text
from cdp.web.console.session import HOME, Visitor
from cdp.web.platform.errors import ProblemResponse, internal_error, invalid_request

_FOLDER: Final = Path(__file__).parent / "templates"
_TYPE: Final = "text/html; charset=utf-8"

MENU: Final = (
    (f"{HOME}/messages", "Messages", "what became of every message", frozenset({Role.ADMIN, Role.AUDITOR})),
    (f"{HOME}/segments", "Segments", "questions about people who agreed to be asked about", frozenset({Role.MARKETER})),
    (f"{HOME}/people", "People", "what is held about one person", frozenset({Role.PRIVACY, Role.ADMIN, Role.MARKETER})),
    (f"{HOME}/requests", "Requests", "what people asked for, and until when", frozenset({Role.PRIVACY})),
    (f"{HOME}/log", "Audit log", "who did what, and whether the log is whole", frozenset({Role.AUDITOR})),
)
"""Address, name, what is there, and for whom."""


def _number(value: float) -> str:
    return f"{value:,}"


def _instant(value: datetime | None) -> str:
    return "–" if value is None else f"{value:%Y-%m-%d %H:%M} UTC"


def _words(value: str) -> str:
    return value.replace("_", " ")


_PAGES: Final = Environment(
    loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_PAGES.filters |= {"number": _number, "instant": _instant, "words": _words, "plain": value_text}

STYLE: Final = (_FOLDER / "console.css").read_text(encoding="utf-8")


def page(name: str, visitor: Visitor | None, *, status: int = 200, **values: Any) -> Response:
    """One page; `values` are what its template names. Nothing of it is kept by the browser."""
    menu = [] if visitor is None else [each for each in MENU if visitor.role in each[3]]
    text = _PAGES.get_template(f"{name}.html").render(visitor=visitor, menu=menu, home=HOME, here=name, **values)
    return Response(text, status, media_type=_TYPE, headers={"Cache-Control": "no-store"})


def refuse(request: Request, problem: ProblemResponse) -> Response:
    """A problem as a page, where pages are asked for; otherwise as it is."""
    path = request.url.path
    if path != HOME and not path.startswith(f"{HOME}/"):
        return problem
    visitor: Visitor | None = getattr(request.state, "visitor", None)
    return page("refusal", visitor, status=problem.status_code, problem=json.loads(bytes(problem.body)))


def show_invalid(request: Request, error: Exception) -> Response:
    """What a page was sent does not make the request that it stands for; elsewhere that is a fault of ours."""
    if not isinstance(error, ValidationError) or not request.url.path.startswith(f"{HOME}/"):
        return refuse(request, internal_error(error))
    return refuse(request, invalid_request(error.errors()))


def entrance(refused: str | None = None, *, status: int = 401) -> Response:
    """The page that asks for a token; `refused` says what was wrong with the one that was shown."""
    return page("entrance", None, status=status, refused=refused)


def show_entrance(_request: Request, _error: Exception) -> Response:
    """What whoever is not signed in sees instead of a page."""
    return entrance()
