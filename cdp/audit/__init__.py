"""The ledger: an append-only, provable log of what was done, free of personal data."""
