"""`python -m cdp` is the command `cdp`."""

from cdp.cli.main import main

main()
