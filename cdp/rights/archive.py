"""The archive of an access request: a ZIP with the data for machines and a page for people. Pure."""

import html
import io
import json
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

DATA: Final = "data.json"
PAGE: Final = "page.html"

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #1c1c1c }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin-top: 2.5rem; border-bottom: 1px solid #ccc }
table { border-collapse: collapse; width: 100%; font-size: .9rem } th, td { text-align: left; vertical-align: top;
padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #e5e5e5 } td { overflow-wrap: anywhere } .none { color: #666 }
@media (prefers-color-scheme: dark) { body { background: #161616; color: #eee } th, td { border-color: #333 } }
"""


@dataclass(frozen=True, slots=True)
class Archive:
    """A file to hand over. The name says nothing of the person."""

    name: str
    content: bytes


def archive(name: str, document: Mapping[str, Any], made_at: datetime) -> Archive:
    """The ZIP of an export document."""
    written = io.BytesIO()
    stamp = (made_at.year, made_at.month, made_at.day, made_at.hour, made_at.minute, made_at.second)
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as file:
        for entry, text in ((DATA, to_json(document)), (PAGE, page(document))):
            file.writestr(zipfile.ZipInfo(entry, stamp), text, zipfile.ZIP_DEFLATED)
    return Archive(name, written.getvalue())


def to_json(document: Mapping[str, Any]) -> str:
    """The document as people can read it too: indented UTF-8."""
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def page(document: Mapping[str, Any]) -> str:
    """The document as one page that needs nothing else: no script, no picture, no network."""
    request = _text(document["request"]["id"])
    made = f"<p>Made on {_text(document['made_at'])} for request {request}. {DATA} beside this page has it for machines.</p>"
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width, initial-scale=1'>",
        "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>Your data</title><style>{_STYLE}</style><h1>Your data</h1>",
        made,
    ]
    for name, title in _TITLES.items():
        parts.append(f"<h2>{title}</h2>{_table(document[name])}")
    for table, rows in document["data"].items():
        parts.append(f"<h2>{_text(_plain_title(table))}</h2>{_table(rows)}")
    return "".join(parts) + "</html>\n"


_TITLES: Final = {
    "about": "Who this is about",
    "purposes": "What it is used for, and on which legal basis",
    "retention": "How long it is kept, and why",
    "sources": "Where it came from",
    "recipients": "Who received it",
    "held_but_not_shown": "What is held but not shown",
}


def _plain_title(table: str) -> str:
    room, _, name = table.partition(".")
    return f"{name.replace('_', ' ').capitalize()} ({room})"


def _table(rows: Iterable[Mapping[str, Any]]) -> str:
    listed = list(rows)
    if not listed:
        return "<p class=none>Nothing.</p>"
    names = list(dict.fromkeys(name for row in listed for name in row))
    head = "".join(f"<th>{_text(name.replace('_', ' '))}</th>" for name in names)
    body = "".join("<tr>" + "".join(f"<td>{_cell(row.get(name))}</td>" for name in names) + "</tr>" for row in listed)
    return f"<table><tr>{head}</tr>{body}</table>"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return "<br>".join(f"{_text(name)}: {_cell(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return ", ".join(_cell(inner) for inner in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _text(value)


def _text(value: Any) -> str:
    return html.escape(str(value))
