"""One word per thing: no identifier of the service uses a forbidden synonym of the glossary."""

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatch

import pytest

from tests.support.source_tree import Source, read, service

# What we say instead of each word. The plural counts too.
SAY = {
    "namespace": "identifier type",
    "stitch": "merge or link",
    "dedupe": "merge",
    "unify": "merge",
    "hit": "event",
    "activity": "event",
    "boost": "weight",
    "freshness": "half-life",
    "mart": "projection",
    "blacklist": "suppression",
    "blocklist": "suppression",
    "whitelist": "a name for what is listed",
    "dsar": "subject request",
    "dsr": "subject request",
    "ticket": "subject request",
    "requester": "subject",
    "remove": "delete, erase, expire or sever",
    "purge": "delete, erase, expire or scrub",
    "wipe": "erase or scrub",
    "forget": "erase, drop or shred",
    "certificate": "receipt",
    "ttl": "keep_for",
    "cleanup": "sweep",
    "integration": "destination",
    "sink": "destination",
    "connector": "destination",
    "journal": "audit log",
    "blockchain": "audit log",
    "customer": "profile or subject",
    "user": "profile or subject",
    "contact": "profile",
    "account": "profile",
    "opted": "permitted",
    "permission": "verdict",
    "preference": "consent record",
    "manager": "the noun it manages",
    "service": "use case or component",
    "handler": "flow or the verb",
    "repository": "store",
    "helper": "what it does",
    "util": "what it does",
    "utility": "what it does",
    "throttle": "frequency cap or limit",
    "portal": "preference center",
    "blacklisted": "suppressed",
    "common": "what it is",
    "core": "what it is",
}

# Pictures and the words of an earlier dialect. The plural counts too.
SAY |= {
    "house": "context",
    "room": "component",
    "desk": "context",
    "door": "endpoint, request or application",
    "floor": "layer",
    "visit": "open_for_command, session",
    "visitor": "session",
    "guest": "session",
    "familiar": "cached",
    "stranger": "uncached or unknown",
    "born": "origin",
    "birth": "origin",
    "rebirth": "reassign_origin",
    "newborn": "new",
    "told": "shown, stated or notified",
    "tell": "show, notify or subscribe",
    "landed": "placed or stored",
    "landing": "placement",
    "land": "process or place",
    "noes": "opt-outs",
    "strongroom": "vault",
    "sight": "snapshot",
    "trail": "log",
    "scene": "state",
    "settle": "the verb it is: fix, apply, close, decide",
    "anew": "again",
    "barrier": "pending suppression",
    "journey": "use case, until marketing journeys are built",
    "oddity": "notice",
    "hers": "own or person",
    "gate": "request limits",
    "entrance": "login",
    "forget": "evict, erase or shred",
}

# Names that others gave. Each line: where, the word, and whose word it is there.
FOREIGN = [
    ("cdp/postgres/*.py", "account", "an account of the operating system"),
    ("cdp/postgres/*.py", "user", "PostgreSQL's single-user mode"),
    ("cdp/kit/logs.py", "handler", "the logging module's word"),
    ("cdp/policy/signals.py", "user", "Google consent mode's ad_user_data"),
    ("cdp/consent/model.py", "opted", "the opt-out right of the CCPA"),
    ("cdp/consent/signals/*.py", "preference", "Segment's consent preferences event"),
    ("cdp/consent/signals/tcf/*.py", "service", "IsServiceSpecific of the IAB's TC strings"),
    ("cdp/kit/db.py", "core", "SQLAlchemy Core"),
    ("cdp/vault/cache.py", "hit", "a cache hit"),
    ("cdp/wire/*.py", "user", "userId of the wire format"),
    ("cdp/wire/*.py", "integration", "integrations of the wire format"),
    ("cdp/flows/ingest/*.py", "account", "the verb: to count every message"),
    ("cdp/web/api/access.py", "oddity", "a key of the API's answers"),
    ("cdp/flows/operations/startup.py", "service", "the running service, as users of the command line know it"),
    ("cdp/cli/*.py", "user", "userId of the wire format"),
    ("cdp/demo/*.py", "user", "userId of the wire format"),
]


def words(name: str) -> list[str]:
    """The words of snake_case and CamelCase, lower case, plurals also as singulars."""
    parts = [part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]
    singular = [part[:-3] + "y" if part.endswith("ies") else part[:-1] for part in parts if part.endswith("s")]
    return parts + singular


def names(source: Source) -> Iterator[tuple[str, int]]:
    """Every name that the file itself gives to something."""
    yield source.path.rsplit("/", 1)[-1].removesuffix(".py"), 1
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno


def forbidden(source: Source) -> list[str]:
    allowed = {word for pattern, word, _whose in FOREIGN if fnmatch(source.path, pattern)}
    return [
        f"{source.path}:{line}: {name} says {word}; say {SAY[word]}"
        for name, line in names(source)
        for word in words(name)
        if word in SAY and word not in allowed
    ] + [f"{source.path}:{line}: `each` is not a name; say the noun" for name, line in names(source) if name == "each"]


def test_no_identifier_uses_a_forbidden_synonym() -> None:
    findings = [finding for source in service() for finding in forbidden(source)]
    assert not findings, "\n".join(findings)


@pytest.mark.parametrize(
    "text",
    [
        "def purge_profiles(): ...",
        "class EventHandler: ...",
        "customers = 1",
        "self.ttlDays = 3",
        "def f(user_id): ...",
        "for each in []: ...",
        "stranger = 0",
    ],
)
def test_a_forbidden_synonym_is_found(text: str) -> None:
    assert len(forbidden(read("cdp/rights/x.py", text))) == 1


def test_names_of_files_count() -> None:
    assert len(forbidden(read("cdp/rights/helpers.py", ""))) == 1
