"""A certificate authority for tests, and a server that it knows by the name `localhost`."""

import subprocess
from pathlib import Path
from typing import Final

_REQUEST: Final = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30")


def make_authority(folder: Path) -> Path:
    """Write `ca.pem`, and `server.pem` with `server.key` for localhost, signed by it; returns the first."""
    _openssl(folder, *_REQUEST, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Tests")
    _openssl(
        folder, *_REQUEST, "-CA", "ca.pem", "-CAkey", "ca.key", "-keyout", "server.key", "-out", "server.pem",
        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE",
    )  # fmt: skip
    return folder / "ca.pem"


def _openssl(folder: Path, *arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
