"""A separate program: drops privileges, asks to be stopped when the parent dies, and becomes the server.

Started as `python -I -S launch.py PARENT UID:GID:GROUPS|- PROGRAM ARGUMENT…`; it imports nothing of cdp, because it
runs between fork and exec, where a process with threads must not run its own code.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(parent: int, drop: str, command: list[str]) -> None:
    """Never returns: the process becomes `command`, or ends with code 126."""
    if drop != "-":
        uid, gid, groups = drop.split(":")
        os.setgroups([int(group) for group in groups.split(",") if group])
        os.setgid(int(gid))
        os.setuid(int(uid))
    os.umask(0o077)
    if sys.platform == "linux":
        # After the change of account, which clears it. SIGINT is PostgreSQL's fast and clean shutdown.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)
        if os.getppid() != parent:
            sys.exit(126)
    os.execv(command[0], command)  # noqa: S606 - deliberately without a shell


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
