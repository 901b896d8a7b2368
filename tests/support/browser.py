"""A browser without scripts: it follows the links and fills the forms that it reads from pages."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import httpx

from tests.support.service import RunningService
from tests.support.waits import PATIENCE_SECONDS


@dataclass
class Form:
    action: str
    fields: list[tuple[str, str]] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    labeled: set[str] = field(default_factory=set)


class Reader(HTMLParser):
    """What a page holds: forms with their prefilled fields, links, headings, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.links: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._is_in_label = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append((tag, values))
        if tag == "form":
            self.forms.append(Form(values.get("action") or ""))
        if tag == "a":
            self.links.append(values["href"] or "")
        if tag == "label":
            self._is_in_label += 1
        name = values.get("name")
        if tag in ("input", "select", "textarea") and self.forms and name:
            if self._is_in_label or values.get("type") == "hidden":
                self.forms[-1].labeled.add(name)
            self.forms[-1].names.add(name)
            if values.get("type") != "checkbox":
                self.forms[-1].fields.append((name, values.get("value") or ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == "label":
            self._is_in_label -= 1

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def words(self) -> str:
        return " ".join(self.text.split())


class Browser:
    """One visitor: a cookie jar, and the last page."""

    def __init__(self, service: RunningService) -> None:
        self.client = httpx.Client(base_url=service.url, timeout=PATIENCE_SECONDS, follow_redirects=True)
        self.page = Reader("")
        self.answer = httpx.Response(200)

    def open(self, path: str, expected: int = 200, **query: Any) -> Reader:
        return self._read(self.client.get(path, params=query or None), expected)

    def send(self, action: str, expected: int = 200, **values: Any) -> Reader:
        """Fill the form of the present page that goes to `action`, and send it."""
        form = next(each for each in self.page.forms if each.action == action)
        filled: dict[str, Any] = {}
        for name, value in form.fields:
            filled.setdefault(name, []).append(value)
        filled |= {name: value if isinstance(value, list) else [value] for name, value in values.items()}
        return self._read(self.client.post(action.partition("#")[0], data=filled), expected)

    def _read(self, answer: httpx.Response, expected: int) -> Reader:
        assert answer.status_code == expected, answer.text
        self.answer = answer
        self.page = Reader(answer.text)
        return self.page
