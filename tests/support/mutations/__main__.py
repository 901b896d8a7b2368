"""Remove every check of consent, one at a time, and say which of them no test notices: `python -m tests.support.mutations [KEY…]`."""

import sys
import time

from tests.support.mutations.run import run_mutated, run_unchanged
from tests.support.mutations.table import MUTATIONS


def main(keys: list[str]) -> int:
    chosen = [mutation for mutation in MUTATIONS if not keys or mutation.key in keys]
    if not chosen:
        sys.stderr.write("There is no such mutation.\n")
        return 2
    began = time.monotonic()
    found = run_unchanged(sorted({test for mutation in chosen for test in mutation.tests}))
    for mutation in chosen:
        survived = run_mutated(mutation)
        sys.stdout.write(f"{'SURVIVED' if survived else 'noticed '}  {mutation.key}\n")
        sys.stdout.flush()
        found += survived
    cells = {(mutation.stage, basis) for mutation in chosen for basis in mutation.bases}
    sys.stdout.write("\n".join(["", *found, ""]))
    sys.stdout.write(f"{len(chosen)} checks in {len(cells)} cells, {time.monotonic() - began:.0f} s\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
