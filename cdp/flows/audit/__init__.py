"""Use cases: check the log, read it, report."""
