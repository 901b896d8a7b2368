"""Create or update `.venv` from the lock files: `python3 tools/setup.py run|dev|docs|supply`.

`run` installs what the service and its demonstration need; `dev` adds what the tests and checks need, and the SDKs they
send through; `docs` and `supply` create environments of their own: `.venv/docs-site` for the documentation site, and `.venv/supply`
for bills of materials and advisories.
Nothing is done when the locks have not changed. Only the standard library is used, because nothing is installed yet.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
NODE_FILES = [ROOT / "tests" / "sdk" / "package.json", ROOT / "tests" / "sdk" / "package-lock.json"]
LOCKS = {
    "run": ["requirements-demo.txt", "requirements-build.txt"],
    "dev": ["requirements-dev.txt"],
    "docs": ["requirements-docs.txt"],
    "supply": ["requirements-supply.txt"],
}
APART = {"docs": "docs-site", "supply": "supply"}
"""Levels with an environment of their own, and its name."""
LEGACY = "requirements-legacy-sdk.txt"


def main(level: str) -> None:
    """Bring `.venv` to the level, unless it has it already."""
    if sys.version_info < (3, 11):
        sys.exit(
            f"cdp needs Python 3.11 or newer; this is {sys.version.split()[0]}. Try: make PYTHON=/path/to/python3.11"
        )
    VENV.mkdir(exist_ok=True)
    with (VENV / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not works():
            make_venv()
        if level == "run" and is_done("dev"):
            return
        if not is_done(level):
            install(level)
            stamp(level).write_text(wanted(level))


def stamp(level: str) -> Path:
    """Where it is noted which locks are installed."""
    return VENV / f".installed-{level}"


def wanted(level: str) -> str:
    """What the stamp says when nothing is left to do: the locks, this folder and the interpreter."""
    names = [*LOCKS[level], *(["pyproject.toml"] if level not in APART else []), *([LEGACY] if level == "dev" else [])]
    files = [ROOT / name for name in names] + (NODE_FILES if level == "dev" else [])
    digest = hashlib.sha256(str(ROOT).encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def is_done(level: str) -> bool:
    """True when the level was installed from these locks."""
    return stamp(level).exists() and stamp(level).read_text() == wanted(level)


def works() -> bool:
    """True when `.venv` is complete and was created in this folder."""
    note = VENV / ".made-in"
    if not PYTHON.exists() or not note.exists() or note.read_text() != str(ROOT):
        return False
    return subprocess.run([PYTHON, "-c", "import pip"], capture_output=True, check=False).returncode == 0


def make_venv() -> None:
    """Create an empty `.venv` with pip, also where the distribution packages Python without `ensurepip`."""
    say("creating .venv")
    for left in VENV.iterdir():
        if left.name != ".lock":
            shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
    plain = run([sys.executable, "-m", "venv", VENV], quiet=True)
    if plain != 0:
        bare = run([sys.executable, "-m", "venv", "--without-pip", VENV], quiet=True)
        has_pip = (
            bare == 0 and run([sys.executable, "-m", "pip", "--python", PYTHON, "install", "pip"], quiet=True) == 0
        )
        if not has_pip and run([sys.executable, "-m", "virtualenv", "--clear", VENV], quiet=True) != 0:
            sys.exit(
                f"{sys.executable} cannot create virtual environments: its modules venv and ensurepip are not complete.\n"
                "On Debian and Ubuntu: apt-get install python3-venv. Or name another Python: make PYTHON=/path/to/python3.11"
            )
    (VENV / ".made-in").write_text(str(ROOT))


def install(level: str) -> None:
    """Install the locked packages, each checked against its hash, and cdp itself as a link to this folder."""
    say(f"installing {' and '.join(LOCKS[level])} (the first time takes a minute or two)")
    locks = [argument for name in LOCKS[level] for argument in ("-r", name)]
    if level in APART:
        site = VENV / APART[level]
        shutil.rmtree(site, ignore_errors=True)
        must([PYTHON, "-m", "venv", "--without-pip", site])
        must([*pip(site / "bin" / "python"), "install", "--require-hashes", *locks])
        return
    must([*pip(), "install", "--require-hashes", *locks])
    must([*pip(), "install", "--no-deps", "--no-build-isolation", "--no-index", "--editable", "."])
    if level == "dev":
        legacy = VENV / "legacy-sdk"
        shutil.rmtree(legacy, ignore_errors=True)
        must([*pip(), "install", "--no-warn-conflicts", "--require-hashes", "--target", legacy, "-r", LEGACY])
        install_node_clients()


def install_node_clients() -> None:
    """Install the Node clients for the tests that need them, where Node is installed."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        say("node and npm are not installed: tests with the Node clients are left out")
        return
    folder = VENV / "node-sdk"
    folder.mkdir(exist_ok=True)
    for file in NODE_FILES:
        shutil.copy(file, folder)
    arguments = ["ci", "--ignore-scripts", "--no-update-notifier", "--no-audit", "--no-fund", "--loglevel=error"]
    if not has_home():
        arguments.append(f"--cache={VENV / 'npm-cache'}")
    must([npm, *arguments], cwd=folder)


def pip(target: Path | None = None) -> list[str | Path]:
    """The pip of `.venv`, quiet, for another environment when named, and without a cache where no home can keep one."""
    cache = [] if has_home() else ["--no-cache-dir"]
    other = [] if target is None else ["--python", target]
    return [PYTHON, "-m", "pip", *other, "--quiet", "--no-input", "--disable-pip-version-check", *cache]


def has_home() -> bool:
    """True when HOME is a folder that we may write."""
    home = os.environ.get("HOME", "")
    return bool(home) and Path(home).is_dir() and os.access(home, os.W_OK)


def environment() -> dict[str, str]:
    """The environment of this process, without what would make Python or pip read or install elsewhere."""
    redirecting = {
        "PYTHONPATH",
        "PYTHONHOME",
        "PIP_USER",
        "PIP_TARGET",
        "PIP_PREFIX",
        "PIP_REQUIRE_VIRTUALENV",
        "VIRTUAL_ENV",
    }
    kept = {name: value for name, value in os.environ.items() if name not in redirecting}
    return kept if has_home() else kept | {"HOME": str(VENV)}


def run(command: list[str | Path], *, quiet: bool = False, cwd: Path = ROOT) -> int:
    """Run a command and return its exit code."""
    output = subprocess.DEVNULL if quiet else None
    return subprocess.run(command, cwd=cwd, env=environment(), stdout=output, stderr=output, check=False).returncode


def must(command: list[str | Path], *, cwd: Path = ROOT) -> None:
    """Run a command that has to succeed."""
    code = run(command, cwd=cwd)
    if code != 0:
        sys.exit(f"setup stopped: {' '.join(map(str, command))} ended with code {code}")


def say(text: str) -> None:
    """Report a step that takes a while."""
    print(f"setup: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in LOCKS:
        sys.exit(__doc__)
    main(sys.argv[1])
