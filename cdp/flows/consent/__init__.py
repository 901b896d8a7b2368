"""Use cases and steps of consent: record an act, look up, recompute, clear withdrawals, put verdicts in force."""
