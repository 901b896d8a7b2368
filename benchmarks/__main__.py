"""All benchmarks one after another; their tables also go to `benchmarks/results.md`.

make bench                              # or: python -m benchmarks
make bench ARGS="ingest erase"          # some of them
python -m benchmarks.ingest --help      # one of them, with its options
"""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

_HERE = Path(__file__).parent
_RESULTS = _HERE / "results.md"


def main() -> None:
    """Run each benchmark in its own process, show its output, and write it to the results."""
    known = sorted(path.stem for path in _HERE.glob("*.py") if not path.stem.startswith("_"))
    requested = sys.argv[1:] or known
    wrong = [name for name in requested if name not in known]
    if wrong:
        raise SystemExit(f"There is no benchmark {', '.join(wrong)}; there are {', '.join(known)}.")
    report = [f"# Benchmarks, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC\n"]
    for name in requested:
        command = [sys.executable, "-m", f"benchmarks.{name}"]
        print(f"== {name}", flush=True)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=_HERE.parent) as child:
            assert child.stdout is not None
            lines = []
            for line in child.stdout:
                print(line, end="", flush=True)
                lines.append(line)
        if child.returncode:
            raise SystemExit(child.returncode)
        output = "".join(lines).strip()
        report.append(output + "\n" if output.startswith("#") else f"## {name}\n\n```text\n{output}\n```\n")
    _RESULTS.write_text("\n".join(report))
    print(f"Kept in {_RESULTS.relative_to(_HERE.parent)}.")


if __name__ == "__main__":
    main()
