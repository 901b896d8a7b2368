"""Every page of the console, added to an application."""

from fastapi import FastAPI
from pydantic import ValidationError

from cdp.web.console import kept, log, login, messages, people, readers, requests, segments
from cdp.web.console.page import show_invalid, show_login
from cdp.web.console.session import NotSignedIn


def add_pages(app: FastAPI) -> None:
    """Add the routes and error handlers of every page."""
    app.add_exception_handler(NotSignedIn, show_login)
    app.add_exception_handler(ValidationError, show_invalid)
    for part in (login, messages, segments, people, requests, readers, kept, log):
        app.include_router(part.router)
