"""Use cases: start, apply a policy, sweep, rotate keys, sources, tokens, accounting."""
