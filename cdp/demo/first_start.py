"""The demonstration at the first start of a service."""

import logging
import os
import socket
import subprocess
import sys
import threading
import time
from importlib import metadata
from typing import Final
from urllib.parse import urlsplit

from cdp.demo.notes import read_notes
from cdp.kit.config import Config
from cdp.kit.errors import Fault

_LOOK_SECONDS: Final = 0.5
_INTERRUPTED: Final = 130
_PACKAGES: Final = ("httpx", "segment-analytics-python")


def require_demo() -> None:
    """Raise the fault `demo_not_installed` when a package that the demonstration asks or sends with is missing."""
    try:
        for package in _PACKAGES:
            metadata.version(package)
    except metadata.PackageNotFoundError:
        raise Fault(
            "demo_not_installed",
            "The demonstration is not installed",
            f"It sends through an SDK. Install cdp with its extra `demo`, that is the packages {' and '.join(_PACKAGES)}.",
            status=500,
        ) from None


def run_first_demo(config: Config, url: str, *, is_empty: bool) -> None:
    """Run the demonstration in a separate process, so that it does not slow the service; return when it ends.

    Does nothing when it was completed before, or in a store that was in use before it. It ends with the service.
    Meanwhile the service logs only warnings and errors, so that their output does not mix.
    """
    notes = read_notes(config.home)
    if notes.is_erased if notes is not None else not is_empty:
        return
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.WARNING)
    try:
        command = [sys.executable, "-m", "cdp", "demo", "--url", url, "--until-input-ends"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE)  # noqa: S603 - this program itself
        while process.poll() is None:
            time.sleep(_LOOK_SECONDS)
            if not _is_listening(url):
                process.terminate()
                process.wait()
    finally:
        root.setLevel(level)


def end_with_input() -> None:
    """End this process when its standard input ends, because the process that started it has ended."""

    def watch() -> None:
        # Not through sys.stdin: its lock, held by a waiting thread, would break the end of the process.
        while os.read(0, 4096):
            pass
        os._exit(_INTERRUPTED)

    threading.Thread(target=watch, name="cdp-demo-watch", daemon=True).start()


def _is_listening(url: str) -> bool:
    """Whether a server still listens there."""
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 80), timeout=_LOOK_SECONDS):
            return True
    except ConnectionRefusedError:
        return False
    except OSError:
        return True
