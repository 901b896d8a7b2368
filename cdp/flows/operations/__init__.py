"""Use cases of operation: start, apply a policy, sweep, rotate keys, sources, tokens, accounting."""
