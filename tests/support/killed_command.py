"""`cdp` in a process that is killed before its n-th write to a state store or its n-th commit of something written."""

import signal
import subprocess
import sys
from typing import Final

from tests.support.commands import ROOT, Shell
from tests.support.waits import PATIENCE_SECONDS

_STORE_WRITES: Final = """
import os, signal, sys
from cdp.kit.state import StateFolder
from cdp.kit.state_database import StateDatabase
from cdp.cli.main import main
left = [int(sys.argv.pop(1))]
def counted(kind, verb, is_write=lambda _: True):
    act = getattr(kind, verb)
    def step(*arguments, **named):
        if is_write(arguments[0]):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return act(*arguments, **named)
    setattr(kind, verb, step)
for kind in (StateFolder, StateDatabase):
    for verb in ("create", "append", "replace", "destroy"):
        counted(kind, verb)
"""
_COMMITS: Final = """
import psycopg
def has_written(connection):
    with connection.cursor(row_factory=psycopg.rows.tuple_row) as cursor:
        return cursor.execute("SELECT pg_current_xact_id_if_assigned()").fetchone()[0] is not None
counted(psycopg.Connection, "commit", has_written)
"""


def is_killed_at(shell: Shell, step: int, arguments: tuple[str, ...], *, with_commits: bool = False) -> bool:
    """Run a command and kill it before its `step`-th write, counted from 1; False if it ended by itself, with success."""
    done = subprocess.run(
        [sys.executable, "-c", _STORE_WRITES + (_COMMITS if with_commits else "") + "main()", str(step), *arguments],
        cwd=ROOT,
        env=shell.environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0
