"""The long form of the proof: as many rounds as are asked for, each with its fault and what was found.

make test-faults                                  # 1,000 rounds
make test-faults ARGS="--rounds 100 --seed 7"
"""

import argparse
import secrets
import sys
import time
from contextlib import suppress

from tests.support.faults.checker import summary
from tests.support.faults.deployment import deployed
from tests.support.faults.rounds import Run


def main() -> None:
    """Run the rounds; ends with code 1 when something is wrong after one."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=1_000)
    arguments.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000), help="a random one if not given")
    options = arguments.parse_args()
    print(f"{options.rounds} rounds with --seed {options.seed}", flush=True)
    begun, wrong = time.monotonic(), list[str]()
    with deployed() as deployment:
        for kept in deployment.degraded:
            print(f"not possible here: {kept}")
        run = Run(deployment, options.seed)
        done = 0
        with suppress(KeyboardInterrupt):  # ends the run with what was found until then
            for result in run.rounds(options.rounds):
                done, wrong = result.number, result.wrong
                counts = f"{result.acknowledged} acts acknowledged, {result.unknown} unknown"
                print(f"{done:5}  {result.fault:38} {counts}, {result.seconds:.1f} s", flush=True)
    minutes = (time.monotonic() - begun) / 60
    print(f"{done} rounds in {minutes:.0f} minutes: {run.history.acknowledged()} acts acknowledged")
    for what, count in summary(run.history.acts).items():
        print(f"{count:8,} {what}")
    if wrong:
        print(*wrong, f"The history is in {run.failed_file(done)}.", sep="\n")
        sys.exit(1)
    print("Nothing lost, nothing double.")


if __name__ == "__main__":
    main()
