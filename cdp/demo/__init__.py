"""The demonstration: real orders sent through an unmodified SDK, and every step from consent to a verifiable erasure."""
