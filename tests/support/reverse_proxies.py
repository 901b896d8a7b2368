"""Reverse proxies as operators run them: nginx, HAProxy and Caddy, with the configuration that the documentation gives."""

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import pytest

from tests.support.commands import ROOT
from tests.support.waits import PATIENCE_SECONDS, until

PAGE: Final = ROOT / "docs" / "how-to" / "run-in-production.md"
PROGRAMS: Final = ("nginx", "haproxy", "caddy")
_SERVICE: Final = "127.0.0.1:8000"
"""The address of the service in the documentation."""
_NGINX: Final = """\
USER
daemon off;
pid nginx.pid;
error_log stderr;
worker_processes 1;
events {}
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {
        listen 127.0.0.1:PORT;
        listen [::1]:PORT;
LOCATION
    }
}
"""
_HAPROXY: Final = """\
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend clients
    bind 127.0.0.1:PORT
    bind [::1]:PORT
    default_backend cdp
BACKEND
"""
_CADDY: Final = """\
{
    admin off
    auto_https off
}
http://:PORT {
    bind 127.0.0.1 [::1]
DIRECTIVES
}
"""
_DEFAULTS: Final = {
    "nginx": f"location / {{ proxy_pass http://{_SERVICE}; }}",
    "haproxy": f"backend cdp\n    server cdp {_SERVICE}",
    "caddy": f"reverse_proxy {_SERVICE}",
}
"""The least with which each forwards requests."""


def documented(program: str) -> str:
    """The configuration of a program in the documentation."""
    language = "text" if program == "haproxy" else program  # the site's highlighter does not know HAProxy's
    found = re.search(rf"```{language}\n(.+?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None, f"{PAGE.name} has no configuration of {program}"
    return found[1]


def by_default(program: str) -> str:
    """A configuration that names the service, and nothing else."""
    return _DEFAULTS[program]


@contextmanager
def reverse_proxy(program: str, configuration: str, *, to: str, folder: Path) -> Iterator[str]:
    """Run a proxy in front of `to` (host:port) on a free port of 127.0.0.1 and ::1; yields `host:port`.

    Skips the test where the program is not installed, but fails it where `.ci/run` has installed it.
    """
    path = shutil.which(program)
    if path is None:
        missing = f"{program} is not installed (Debian: apt-get install nginx-light haproxy caddy)"
        assert not os.environ.get("REVERSE_PROXIES_INSTALLED"), missing
        pytest.skip(missing)
    folder = folder / program
    folder.mkdir(parents=True)
    port = _free_port()
    text = configuration.replace(_SERVICE, to)
    match program:
        case "nginx":
            text = _NGINX.replace("LOCATION", text).replace("USER", "user root;" if os.geteuid() == 0 else "")
            arguments = [path, "-p", str(folder), "-e", "stderr", "-c", "configuration"]
        case "haproxy":
            text = _HAPROXY.replace("BACKEND", text)
            arguments = [path, "-f", "configuration"]
        case _:
            inner = re.search(r"example\.com \{\n(.+)\n\}", text, re.DOTALL)
            text = _CADDY.replace("DIRECTIVES", text if inner is None else inner[1])
            arguments = [path, "run", "--adapter", "caddyfile", "--config", "configuration"]
    (folder / "configuration").write_text(text.replace("PORT", str(port)))
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            arguments, cwd=folder, env={"HOME": str(folder), "PATH": "/usr/bin"}, stdout=output, stderr=output
        )
    try:
        until(lambda: process.poll() is not None or _is_open(port), f"the start of {program}")
        assert process.poll() is None, log.read_text()
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _is_open(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
