"""Whatever shows something about a person leaves an entry: every route, every page and every command is walked.

What an answer shows is found in its text: the identifiers and names of the people of the test, and ids of people, requests
and readers. A route, page or command that is in no table fails, so that a new one cannot be forgotten.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click
import pytest

from cdp.cli.main import cdp
from cdp.flows.segments import memberships
from cdp.web.app import describe, openapi_of
from cdp.web.console import kept, log, login, messages, people, readers, requests, segments
from tests.api.test_roles import PUBLIC
from tests.support.browser import Browser
from tests.support.commands import Shell
from tests.support.messages import identify, track
from tests.support.people import ADA_IDENTIFIER
from tests.support.policies import documents_of, shipped
from tests.support.service import RunningService

pytestmark = pytest.mark.postgres

BOB = {"type": "email", "value": "bob@example.com"}
NAMES: Final = ("ada@example.com", "bob@example.com")
PERSONAL: Final = re.compile(
    "|".join([*map(re.escape, NAMES), r"\b(?:prf|req|idn|clm|con|rec)_[0-9a-hjkmnp-tv-z]{13}\b"])
)


class Store:
    """The service with two people, their requests, a segment that has both, and what they are called."""

    def __init__(self, service: RunningService) -> None:
        self.service = service
        service.add_person("ada@example.com", "ada", country="DE")
        service.add_person("bob@example.com", "bob")
        service.send(identify(anonymousId="tablet", traits={"email": "ada@example.com"}), key=service.browser_key)
        for name in ("ada", "bob"):
            service.send(track("Order Completed", userId=name, anonymousId="kiosk", properties={"revenue": 5}))
        definition = {"key": "buyers", "name": "Buyers", "purpose": "analytics", "where": 'did("Order Completed")'}
        service.post("marketer", "/api/v1/segments", definition, 201)
        memberships.refresh(service.context, "buyers")
        self.access = self.opened("access")
        self.erased = self.opened("erasure", identifiers=[{"type": "user_id", "value": "gone"}])
        service.post("privacy", f"/api/v1/subject-requests/{self.erased}/run", {})
        service.sign()

    def opened(self, kind: str, **more: Any) -> str:
        """The id of a verified request."""
        body = {"kind": kind, "regime": "gdpr", "identifiers": [ADA_IDENTIFIER], **more}
        number: str = self.service.post("privacy", "/api/v1/subject-requests", body, 201)["id"]
        self.service.post("privacy", f"/api/v1/subject-requests/{number}/verify", {})
        return number

    def received(self) -> str:
        """The id of a request that waits for verification."""
        body = {"kind": "access", "regime": "gdpr", "identifiers": [BOB]}
        number: str = self.service.post("privacy", "/api/v1/subject-requests", body, 201)["id"]
        return number

    def record(self) -> str:
        """The id of a consent record of a person."""
        found = self.service.post("auditor", "/api/v1/consents/lookup", {"identifier": ADA_IDENTIFIER})
        return str(found["records"][0]["record"])

    def pseudonyms(self) -> set[str]:
        with self.service.context.database.transaction(read_only=True) as tx:
            return {value for (value,) in tx.execute("SELECT reader_pseudonym FROM consent.permitted")}

    def pseudonym(self) -> str:
        """A member of the segment, as marketers know it."""
        with self.service.context.database.transaction(read_only=True) as tx:
            rows = tx.execute("SELECT min(reader_pseudonym) FROM consent.permitted WHERE purpose = 'analytics'")
        return str(rows[0][0])

    def entries(self) -> tuple[int, int]:
        """How many entries the log has, and how many of them are reads."""
        with self.service.context.database.transaction(read_only=True) as tx:
            rows = tx.execute("SELECT count(*), count(*) FILTER (WHERE kind = 'data.read') FROM audit.fact")
        return rows[0][0], rows[0][1]

    def shows(self, text: str) -> list[str]:
        """What a text shows about people."""
        return sorted({*PERSONAL.findall(text), *(value for value in self.pseudonyms() if value in text)})


@pytest.fixture(scope="module")
def store(service: RunningService) -> Store:
    return Store(service)


@contextmanager
def watched(store: Store, name: str, missing: dict[str, list[str]], *, acts: bool) -> Iterator[list[str]]:
    """Note under `name` what the texts of the block show, if it leaves no entry, or for a mere look no entry of a read."""
    texts: list[str] = []
    before = store.entries()
    yield texts
    after = store.entries()
    shown = store.shows("\n".join(texts))
    if shown and after[0 if acts else 1] == before[0 if acts else 1]:
        missing[name] = shown


RULES: Final = documents_of(shipped())["identifiers.yaml"]
ACTING: Final = ("verify", "ask", "extend", "withdraw", "deny", "review", "run")


def calls(store: Store) -> dict[tuple[str, str], tuple[str, str, Any, bool]]:
    """Every route: with which role, path and body it is called, and whether it acts, so that its act is the entry."""
    api = "/api/v1"
    request = f"{api}/subject-requests"
    read: dict[tuple[str, str], tuple[str, str, Any]] = {
        ("POST", f"{api}/profiles/lookup"): ("privacy", f"{api}/profiles/lookup", {"identifier": ADA_IDENTIFIER}),
        ("POST", f"{api}/profiles/explain"): ("privacy", f"{api}/profiles/explain", {"a": ADA_IDENTIFIER, "b": BOB}),
        ("GET", f"{api}/identity/shared"): ("privacy", f"{api}/identity/shared", None),
        ("GET", f"{api}/identity/review"): ("privacy", f"{api}/identity/review", None),
        ("GET", f"{api}/identity/quarantined"): ("privacy", f"{api}/identity/quarantined", None),
        ("POST", f"{api}/consents/lookup"): ("privacy", f"{api}/consents/lookup", {"identifier": ADA_IDENTIFIER}),
        ("POST", f"{api}/consents/receipt"): ("privacy", f"{api}/consents/receipt", {"record": store.record()}),
        ("GET", f"{api}/segments"): ("marketer", f"{api}/segments", None),
        ("GET", f"{api}/segments/{{key}}"): ("marketer", f"{api}/segments/buyers", None),
        ("POST", f"{api}/segments/preview"): (
            "marketer",
            f"{api}/segments/preview",
            {"purpose": "analytics", "where": 'did("Order Completed")'},
        ),
        ("GET", f"{api}/segments/{{key}}/members"): ("marketer", f"{api}/segments/buyers/members", None),
        ("POST", f"{api}/segments/{{key}}/explain"): (
            "marketer",
            f"{api}/segments/buyers/explain",
            {"profile": store.pseudonym()},
        ),
        ("GET", request): ("privacy", request, None),
        ("GET", f"{request}/{{request_id}}"): ("privacy", f"{request}/{store.access}", None),
        ("GET", f"{request}/{{request_id}}/export"): (
            "privacy",
            f"{request}/{store.opened('access')}/export?draft=true",
            None,
        ),
        ("GET", f"{request}/{{request_id}}/receipt"): ("privacy", f"{request}/{store.erased}/receipt", None),
        ("GET", f"{request}/{{request_id}}/scrub-receipt"): (
            "privacy",
            f"{request}/{store.erased}/scrub-receipt",
            None,
        ),
        ("GET", f"{api}/holds"): ("privacy", f"{api}/holds", None),
        ("POST", f"{api}/holds/open"): (
            "privacy",
            f"{api}/holds/open",
            {"retention_class": "transactions", "reason": "tax_audit"},
        ),
        ("POST", f"{api}/severed/read"): (
            "privacy",
            f"{api}/severed/read",
            {"retention_class": "transactions", "reason": "tax_audit"},
        ),
        ("GET", f"{api}/ingest/accounting"): ("auditor", f"{api}/ingest/accounting", None),
        ("GET", f"{api}/sources/{{name}}/recent"): ("admin", f"{api}/sources/server/recent", None),
        ("GET", f"{api}/audit/entries"): ("auditor", f"{api}/audit/entries?limit=1000", None),
        ("GET", f"{api}/audit/report"): ("auditor", f"{api}/audit/report", None),
        ("GET", f"{api}/audit/sessions"): ("auditor", f"{api}/audit/sessions", None),
        ("POST", f"{api}/audit/readers"): ("auditor", f"{api}/audit/readers", {"identifier": ADA_IDENTIFIER}),
        ("GET", f"{api}/sources"): ("admin", f"{api}/sources", None),
        ("GET", f"{api}/tokens"): ("admin", f"{api}/tokens", None),
        ("GET", "/metrics"): ("admin", "/metrics", None),
    }
    acts: dict[tuple[str, str], tuple[str, str, Any]] = {
        ("POST", f"{api}/profiles/unmerge"): (
            "privacy",
            f"{api}/profiles/unmerge",
            {"keep": {"type": "user_id", "value": "ada"}, "sever": ADA_IDENTIFIER, "dry_run": True},
        ),
        ("POST", f"{api}/identity/simulate"): ("admin", f"{api}/identity/simulate", {"rules": RULES}),
        ("POST", f"{api}/consents"): (
            "privacy",
            f"{api}/consents",
            {"identifier": BOB, "purpose": "advertising", "act": "refuse"},
        ),
        ("POST", f"{api}/segments"): (
            "marketer",
            f"{api}/segments",
            {"key": "other", "name": "O", "purpose": "analytics", "where": 'did("Order Completed")'},
        ),
        ("PUT", f"{api}/segments/{{key}}"): (
            "marketer",
            f"{api}/segments/other",
            {"name": "O", "purpose": "analytics", "where": 'not did("Order Completed")'},
        ),
        ("DELETE", f"{api}/segments/{{key}}"): ("marketer", f"{api}/segments/other", None),
        ("POST", request): ("privacy", request, {"kind": "access", "regime": "gdpr", "identifiers": [BOB]}),
        ("POST", f"{api}/suppressions/lift"): (
            "privacy",
            f"{api}/suppressions/lift",
            {"identifiers": [{"type": "user_id", "value": "gone"}], "is_verified": True},
        ),
        ("POST", f"{api}/restrictions/end"): ("privacy", f"{api}/restrictions/end", {"identifiers": [BOB], "is_informed": True}),
        ("POST", f"{api}/sources"): ("admin", f"{api}/sources", {"name": "another"}),
        ("POST", f"{api}/sources/{{name}}/defer"): ("admin", f"{api}/sources/another/defer", {"defer": True}),
        ("PUT", f"{api}/sources/{{name}}/hook"): (
            "admin",
            f"{api}/sources/server/hook",
            {"signature": "github", "mapping": "identifiers: {user_id: id}\nevent: A", "secrets": ["0123456789abcdef"]},
        ),
        ("GET", f"{api}/sources/{{name}}/hook"): ("admin", f"{api}/sources/server/hook", None),
        ("POST", f"{api}/sources/{{name}}/hook/rotate"): (
            "admin",
            f"{api}/sources/server/hook/rotate",
            {"secret": "fedcba9876543210"},
        ),
        ("DELETE", f"{api}/sources/{{name}}/hook"): ("admin", f"{api}/sources/server/hook", None),
        ("POST", f"{api}/sources/{{name}}/rotate"): ("admin", f"{api}/sources/another/rotate", None),
        ("POST", f"{api}/sources/{{name}}/disable"): ("admin", f"{api}/sources/another/disable", None),
        ("POST", f"{api}/tokens"): ("admin", f"{api}/tokens", {"name": "another", "role": "auditor"}),
        ("POST", f"{api}/tokens/{{token_id}}/revoke"): ("admin", f"{api}/tokens/5/revoke", None),
        **{
            ("POST", f"{request}/{{request_id}}/{verb}"): (
                "privacy",
                f"{request}/{store.received() if verb in ('verify', 'ask') else store.opened('access')}/{verb}",
                {"deny": {"reason": "exempt"}, "review": {"excludes_rest": True}, "run": {"dry_run": True}}.get(verb),
            )
            for verb in ACTING
        },
    }  # fmt: skip
    return {key: (*call, False) for key, call in read.items()} | {key: (*call, True) for key, call in acts.items()}


NOTHING_TO_SHOW: Final = {
    ("GET", "/api/v1/subject-requests/{request_id}/scrub-receipt"): 409,
    ("POST", "/api/v1/restrictions/end"): 409,
}
"""Routes that have nothing to show in this store, with the status that says so."""


def test_every_route_that_shows_a_person_leaves_an_entry(store: Store) -> None:
    document = openapi_of(describe())
    routes = {(method.upper(), path) for path, operations in document["paths"].items() for method in operations}
    table = calls(store)
    assert set(table) == {(method, path) for method, path in routes if path not in PUBLIC}
    missing: dict[str, list[str]] = {}
    showing: set[str] = set()
    for (method, path), (role, address, body, acts) in table.items():
        with watched(store, f"{method} {path}", missing, acts=acts) as texts:
            answer = store.service.call(role, method, address, body)
            expected = NOTHING_TO_SHOW.get((method, path))
            assert answer.status_code == expected if expected else answer.status_code < 300, (path, answer.text)
            texts.append(answer.content.decode("latin-1"))
        showing |= {path} if store.shows(texts[0]) else set()
    assert missing == {}
    assert len(showing) >= 17, showing


def test_every_page_that_shows_a_person_leaves_an_entry(store: Store) -> None:
    service = store.service
    number = store.access
    pages: dict[str, tuple[str, str]] = {
        "/console": ("privacy", "/console"),
        "/console/console.css": ("privacy", "/console/console.css"),
        "/console/kept": ("auditor", "/console/kept"),
        "/console/log": ("auditor", "/console/log"),
        "/console/messages": ("auditor", "/console/messages"),
        "/console/people": ("privacy", "/console/people"),
        "/console/readers": ("auditor", "/console/readers"),
        "/console/readers/sessions": ("auditor", "/console/readers/sessions"),
        "/console/requests": ("privacy", "/console/requests"),
        "/console/requests/{request_id}": ("privacy", f"/console/requests/{number}"),
        "/console/requests/{request_id}/export": (
            "privacy",
            f"/console/requests/{store.opened('access')}/export?draft=true",
        ),
        "/console/requests/{request_id}/receipt": ("privacy", f"/console/requests/{store.erased}/receipt"),
        "/console/requests/{request_id}/scrub-receipt": ("privacy", ""),
        "/console/segments": ("marketer", "/console/segments"),
        "/console/segments/{key}": ("marketer", "/console/segments/buyers"),
        "/console/segments/{key}/members": ("marketer", "/console/segments/buyers/members"),
    }
    forms: dict[str, tuple[str, str, dict[str, Any]]] = {
        "/console/people": ("privacy", "/console/people", ADA_IDENTIFIER),
        "/console/readers": ("auditor", "/console/readers", ADA_IDENTIFIER),
        "/console/kept/holds": ("auditor", "/console/kept", {"retention_class": "transactions", "reason": "tax_audit"}),
        "/console/kept/severed": (
            "privacy",
            "/console/kept",
            {"retention_class": "transactions", "reason": "tax_audit"},
        ),
        "/console/people/explain": (
            "privacy",
            "/console/people",
            {"a_type": "email", "a_value": "ada@example.com", "b_type": "user_id", "b_value": "ada"},
        ),
        "/console/segments/try": (
            "marketer",
            "/console/segments",
            {"purpose": "analytics", "where": 'did("Order Completed")'},
        ),
        "/console/segments/{key}/explain": (
            "marketer",
            "/console/segments/buyers/members",
            {"profile": store.pseudonym()},
        ),
        "/console/requests/{request_id}/plan": ("privacy", f"/console/requests/{store.opened('erasure')}", {}),
    }
    acts = {
        "enter", "leave", "keep", "lift", "end", "run", "review", "deny", "{step}", "requests",
    }  # fmt: skip
    parts = (kept, log, login, messages, people, readers, requests, segments)
    walked = {(method, path) for part in parts for route in part.router.routes for method, path in named(route)}
    assert {path for method, path in walked if method == "GET"} == set(pages)
    assert {path for method, path in walked if method == "POST" and path.rsplit("/", 1)[1] not in acts} == set(forms)
    browsers: dict[str, Browser] = {}
    for role in ("privacy", "marketer", "auditor"):
        browsers[role] = Browser(service)
        browsers[role].open("/console", 401)
        browsers[role].send("/console/enter", token=service.tokens[role])
    missing: dict[str, list[str]] = {}
    showing: set[str] = set()
    for path, (role, address) in pages.items():
        if address:
            with watched(store, f"GET {path}", missing, acts=False) as texts:
                browsers[role].open(address)
                texts.append(browsers[role].answer.content.decode("latin-1"))
                showing |= {path} if store.shows(texts[0]) else set()
    for path, (role, address, values) in forms.items():
        browsers[role].open(address)
        action = next(form.action for form in browsers[role].page.forms if matches(path, form.action))
        with watched(store, f"POST {path}", missing, acts=False) as texts:
            browsers[role].send(action, **values)
            texts.append(browsers[role].answer.text)
            showing |= {path} if store.shows(texts[0]) else set()
    for browser in browsers.values():
        browser.client.close()
    assert missing == {}
    assert len(showing) >= 9, sorted(showing)


def named(route: Any) -> Iterator[tuple[str, str]]:
    for method in route.methods:
        yield method, route.path


def matches(path: str, action: str) -> bool:
    return re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), action.partition("#")[0]) is not None


# --- commands -------------------------------------------------------------------------------------------------------

SHOWS_NOBODY: Final = frozenset(
    [
        "audit check-log",
        "audit report",
        "audit sessions",
        "audit verify",
        "backup",
        "consume",
        "demo",
        "docs",
        "doctor",
        "init",
        "keys check-provider",
        "keys destroy",
        "keys destroy-epoch",
        "keys rotate",
        "logins",
        "migrate",
        "openapi",
        "policy apply",
        "policy check",
        "policy history",
        "policy plan",
        "policy ropa",
        "policy show",
        "replay",
        "restore",
        "retention sweep",
        "scrub",
        "consent try",
        "segment check",
        "serve",
        "source accounting",
        "source recent",
        "source create",
        "source disable",
        "source hook delete",
        "source hook rotate",
        "source hook set",
        "source hook show",
        "source hook try",
        "source list",
        "source rotate",
        "source update",
        "token create",
        "token list",
        "token revoke",
        "worker",
        "identity rebuild",
        "retention holds",
        "state discard",
        "state move",
    ]
)
"""Commands that run the service, act on the whole store, or show figures, keys or policy: none of them shows a person."""
ACTS: Final = frozenset(
    [
        "consent record",
        "import",
        "identity accept",
        "identity reject",
        "identity simulate",
        "request ask",
        "request deny",
        "request extend",
        "request open",
        "request review",
        "request run",
        "request verify",
        "request withdraw",
        "restriction end",
        "suppression lift",
        "profile unmerge",
    ]
)
"""Commands that decide or change something about a person: the act is the entry (`test_audit_kinds.py`)."""


def commands(group: click.Group, *before: str) -> Iterator[str]:
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        if isinstance(found, click.Group):
            yield from commands(found, *before, name)
        elif found is not None and not found.hidden:
            yield " ".join((*before, name))


def test_every_command_that_shows_a_person_leaves_an_entry(store: Store, tmp_path: Path) -> None:
    looks: dict[str, list[str]] = {
        "audit readers": ["email:ada@example.com"],
        "consent receipt": [store.record()],
        "consent show": ["email:ada@example.com"],
        "identity quarantined": [],
        "identity review": [],
        "identity shared": [],
        "profile explain": ["email:ada@example.com", "user_id:ada"],
        "profile show": ["email:ada@example.com"],
        "request export": [store.opened("access"), "--draft", "--out", str(tmp_path / "archive.zip")],
        "request list": [],
        "request receipt": [store.erased, "--out", str(tmp_path / "receipt.json")],
        "request show": [store.access],
        "retention open-holds": ["transactions", "--reason", "tax_audit"],
        "retention severed": ["transactions", "--reason", "tax_audit"],
        "segment explain": ["buyers", "email:ada@example.com"],
        "segment list": [],
        "segment members": ["buyers"],
        "segment preview": ["buyers"],
    }
    assert {*looks, *SHOWS_NOBODY, *ACTS} == set(commands(cdp))
    context = store.service.context
    url = context.database.engine.url.render_as_string(hide_password=False)
    shell = Shell(context.home, {"CDP_DATABASE_URL": url})
    missing: dict[str, list[str]] = {}
    showing: set[str] = set()
    for name, arguments in looks.items():
        with watched(store, f"cdp {name}", missing, acts=False) as texts:
            texts.append(shell.run(*name.split(), *arguments).stdout)
            showing |= {name} if store.shows(texts[0]) else set()
    assert missing == {}
    assert len(showing) >= 7, sorted(showing)
