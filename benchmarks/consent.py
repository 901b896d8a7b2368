"""Consent: decoding signals beside the IAB's reference decoders, ingest of messages with and without signals, withdrawals under load.

    python -m benchmarks.consent                  # some minutes
    python -m benchmarks.consent --only decode --strings 400

Needs Node, and the packages that `make setup` installs for the tests.
"""

import argparse
import os
from collections.abc import Callable
from typing import Final

from benchmarks._decode import gpp_strings, tc_strings
from benchmarks._stage import table
from benchmarks._with_signals import with_signals
from benchmarks._withdrawals import withdrawals


def main() -> None:
    """Measure, and print tables."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--strings", type=int, default=200, help="of each writer")
    arguments.add_argument("--people", type=int, default=2_000)
    arguments.add_argument("--messages", type=int, default=5_000, help="a round of ingest")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--withdrawals", type=int, default=300, help="ten a second, without and beside messages")
    arguments.add_argument("--only", choices=_PARTS, action="append")
    options = arguments.parse_args()
    print("## Consent\n")
    machine = [("processor cores", str(os.cpu_count())), ("load before", f"{os.getloadavg()[0]:.1f}")]
    print(table(["", ""], machine), end="\n\n", flush=True)
    for part in options.only or _PARTS:
        print(_PARTS[part](options), end="\n\n", flush=True)


_PARTS: Final[dict[str, Callable[[argparse.Namespace], str]]] = {
    "decode": lambda options: "\n\n".join(
        (tc_strings(options.strings, options.rounds), gpp_strings(options.strings, options.rounds))
    ),
    "ingest": lambda options: with_signals(options.people, options.messages, options.rounds),
    "withdrawals": lambda options: withdrawals(options.people, options.withdrawals),
}


if __name__ == "__main__":
    main()
