"""The audit log: append-only, verifiable, and without personal data."""
