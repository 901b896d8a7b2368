"""The demonstration: real orders sent through an unmodified SDK, and a walk from consent to a provable erasure."""
