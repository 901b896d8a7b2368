"""A real Chromium, and pages for it from another origin than the service."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import pytest

NODE: Final = Path(sys.prefix) / "node-sdk" / "node_modules"
_DRIVER: Final = Path(__file__).resolve().parents[1] / "sdk" / "browse.cjs"


@dataclass(slots=True)
class Chromium:
    """One browser; everything in it shares its storage, as the tabs of one person do."""

    process: "subprocess.Popen[str]"

    def ask(self, command: str, **given: Any) -> Any:
        """The answer of the driver; fails the test with what went wrong."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"command": command, **given}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "the browser ended"
        answer = json.loads(line)
        assert "error" not in answer, answer
        return answer["value"]

    def open(self, url: str, **how: Any) -> "Tab":
        """A new tab with a page that is loaded."""
        return Tab(self, self.ask("open", url=url, **how))

    def requests(self) -> list[dict[str, str]]:
        """Every request of every page until now: its URL, its kind and its body."""
        return list(self.ask("requests"))

    def lines(self) -> list[str]:
        """What pages printed to their console."""
        return list(self.ask("lines"))


@dataclass(frozen=True, slots=True)
class Tab:
    """One tab."""

    browser: Chromium
    number: int

    def run(self, code: str) -> Any:
        """What JavaScript returns in the page; it may wait."""
        return self.browser.ask("evaluate", tab=self.number, code=code)

    def go(self, url: str) -> None:
        """Leave the page for another."""
        self.browser.ask("go", tab=self.number, url=url)

    def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        self.browser.ask("press", tab=self.number, keys=keys)

    def offline(self, value: bool) -> None:
        """Take the network away, or give it back."""
        self.browser.ask("offline", tab=self.number, value=value)

    def picture(self, file: Path) -> None:
        """Save what a person would see."""
        self.browser.ask("picture", tab=self.number, file=str(file))


@contextmanager
def chromium() -> Iterator[Chromium]:
    """Start Chromium. Skips the test where it is not installed, but fails it where `.ci/run` has installed it."""
    path, node = shutil.which("chromium"), shutil.which("node")
    if path is None or node is None or not (NODE / "puppeteer-core").exists():
        missing = "Chromium or Node is not installed (Debian: apt-get install chromium nodejs npm)"
        assert not os.environ.get("CHROMIUM_INSTALLED"), missing
        pytest.skip(missing)
    process = subprocess.Popen(
        [node, str(_DRIVER), path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "NODE_PATH": str(NODE)},
        text=True,
    )
    try:
        yield Chromium(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(60)


@dataclass(slots=True)
class Site:
    """Pages of another origin: each path has a page with these elements in its head."""

    url: str
    pages: dict[str, str] = field(default_factory=dict)
    policy: str = ""


@contextmanager
def serving_site(pages: Mapping[str, str], policy: str) -> Iterator[Site]:
    """Serve pages with a content security policy."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            head = site.pages.get(self.path.partition("?")[0])
            self.send_response(200 if head is not None else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Security-Policy", site.policy)
            self.end_headers()
            self.wfile.write(
                f"<!doctype html><html lang=en><head><title>Shop</title>{head or ''}</head><body><h1>Shop</h1></body></html>".encode()
            )

        def log_message(self, format: str, *_arguments: object) -> None:  # noqa: A002 - the name that it has
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site = Site(f"http://localhost:{server.server_port}", dict(pages), policy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield site
    finally:
        server.shutdown()
